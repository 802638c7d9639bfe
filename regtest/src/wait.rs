//! Polling: repeats a check until it succeeds or a deadline passes.

use std::error::Error;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Interval between two checks, short so that tests hardly wait longer than necessary.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Reports that the condition can never be met: [`wait_for`] then fails at once.
#[derive(Debug)]
pub struct Hopeless(pub String);

impl fmt::Display for Hopeless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Hopeless {}

/// Polls until `question` returns `Ok`, for at most `limit`.
///
/// # Errors
/// Names what was waited for, the limit and the last error. [`Hopeless`] ends the wait early.
pub async fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut question: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let mut last = String::from("no result yet");
    loop {
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, question()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) if error.is::<Hopeless>() => {
                return Err(error.context(format!("gave up waiting for {what}")));
            }
            Ok(Err(error)) => last = format!("{error:#}"),
            // The check itself was cancelled by the timeout.
            Err(_) => {}
        }
        if start.elapsed() >= limit {
            bail!("timed out after {limit:?} waiting for {what}; last result: {last}");
        }
        tokio::time::sleep(POLL_INTERVAL.min(limit.saturating_sub(start.elapsed()))).await;
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{anyhow, ensure};

    use super::*;

    #[tokio::test]
    async fn polls_until_the_check_succeeds() {
        let mut polls = 0;
        let answer = wait_for("three questions", Duration::from_secs(5), async || {
            polls += 1;
            ensure!(polls == 3, "polled only {polls} times");
            Ok(polls)
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn timeout_error_names_the_last_result() {
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
    async fn hanging_check_is_cancelled_at_the_deadline() {
        let never: Result<()> = wait_for("silence", Duration::from_millis(50), async || {
            std::future::pending::<()>().await;
            Ok(())
        })
        .await;
        assert!(never.is_err());
    }

    #[tokio::test]
    async fn hopeless_ends_the_wait_at_once() {
        let start = Instant::now();
        let dead: Result<()> = wait_for("the dead", Duration::from_secs(60), async || {
            Err(Hopeless("it exited".to_owned()).into())
        })
        .await;
        assert!(format!("{:#}", dead.unwrap_err()).contains("it exited"));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
