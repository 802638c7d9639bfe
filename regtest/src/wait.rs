//! Waiting by asking: a question is put again and again until it is answered or a deadline passes.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The pause between two questions. Short, so that a test waits hardly longer than it must.
const PAUSE: Duration = Duration::from_millis(20);

/// The answer will never come: [`wait_for`] ends at once instead of asking until the deadline.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Hopeless {}

/// Asks until `question` answers with `Ok`, at most for `limit`.
///
/// # Errors
/// Says what was waited for, how long, and why the last answer was not good enough. An answer of
/// [`Hopeless`] ends the wait early.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut question: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut last = String::from("no answer at all");
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is::<Hopeless>() => {
                return Err(error.context(format!("waiting for {what} is pointless")));
            }
            Ok(Err(error)) => last = format!("{error:#}"),
            // Cut off in the middle of a question.
            Err(_) => {}
        }
        if start.elapsed() >= limit {
            bail!("waited {limit:?} for {what}, in vain; last answer: {last}");
        }
        tokio::time::sleep(PAUSE.min(limit.saturating_sub(start.elapsed()))).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, ensure};

    use super::*;

    #[tokio::test]
    async fn asks_again_until_the_answer_is_good() {
        let mut asked = 0;
        let answer = wait_for("three questions", Duration::from_secs(5), async || {
            asked += 1;
            ensure!(asked == 3, "asked only {asked} times");
            Ok(asked)
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn names_the_last_answer_when_the_time_is_up() {
        let never: Result<()> = wait_for("the moon", Duration::from_millis(50), async || {
            Err(anyhow!("it is still day"))
        })
        .await;
        let text = never.unwrap_err().to_string();
        assert!(
            text.contains("the moon") && text.contains("it is still day"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn a_question_that_hangs_is_cut_off_at_the_deadline() {
        let never: Result<()> = wait_for("silence", Duration::from_millis(50), async || {
            std::future::pending::<()>().await;
            Ok(())
        })
        .await;
        assert!(never.is_err());
    }

    #[tokio::test]
    async fn gives_up_at_once_when_there_is_no_hope() {
        let start = Instant::now();
        let dead: Result<()> = wait_for("the dead", Duration::from_secs(60), async || {
            Err(Hopeless("it exited".to_owned()).into())
        })
        .await;
        assert!(format!("{:#}", dead.unwrap_err()).contains("it exited"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
