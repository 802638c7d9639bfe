//! Answers that come one after another, and calls that take long: both end when the node stops.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Messages that may wait for a slow client; the writer waits with them.
const BACKLOG: usize = 16;

/// A stream of answers.
pub(super) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// Where a call puts its answers.
pub(super) struct Writer<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Writer<T> {
    /// Waits until there is room. A client that has gone away is noticed elsewhere.
    pub(super) async fn send(&self, message: T) {
        let _ = self.0.send(Ok(message)).await;
    }
}

/// Runs `write` in a task until it ends, the client goes away or the node stops.
pub(super) fn stream<T, W, F>(stop: CancellationToken, write: W) -> Answers<T>
where
    T: Send + 'static,
    W: FnOnce(Writer<T>) -> F,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(BACKLOG);
    let work = write(Writer(sender.clone()));
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = work => ended,
            () = sender.closed() => return,
            () = stop.cancelled() => Err(stops()),
        };
        let Err(status) = ended else { return };
        tokio::select! {
            biased;
            _ = sender.send(Err(status)) => {}
            // A client that does not read gets the end without the reason.
            () = stop.cancelled() => {}
        }
    });
    ReceiverStream::new(receiver)
}

/// Waits for `work`, but not longer than the node runs.
///
/// # Errors
/// Those of `work`; Unavailable at the stop.
pub(super) async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(stops()),
    }
}

/// Runs `work` where it may read the database for long.
///
/// # Errors
/// Those of `work`.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Status::internal(format!("the call failed: {error}"))),
    }
}

fn stops() -> Status {
    Status::unavailable("the node stops")
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn stream_ends_with_its_writer() {
        let mut answers = stream(CancellationToken::new(), |writer| async move {
            writer.send(1).await;
            writer.send(2).await;
            Ok(())
        });
        assert_eq!(answers.next().await.unwrap().unwrap(), 1);
        assert_eq!(answers.next().await.unwrap().unwrap(), 2);
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn stop_ends_a_stream_that_waits() {
        let stop = CancellationToken::new();
        let mut answers: Answers<u8> = stream(stop.clone(), |writer| async move {
            let _writer = writer;
            std::future::pending().await
        });
        stop.cancel();
        let status = answers.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn stop_ends_a_stream_that_nobody_reads() {
        let stop = CancellationToken::new();
        let mut answers = stream(stop.clone(), |writer| async move {
            loop {
                writer.send(0).await;
            }
        });
        stop.cancel();
        while answers.next().await.is_some() {}
    }

    #[tokio::test]
    async fn client_that_goes_away_ends_the_writer() {
        let (gone, mut noticed) = mpsc::channel::<()>(1);
        let answers: Answers<u8> = stream(CancellationToken::new(), |writer| async move {
            let _held = (writer, gone);
            std::future::pending().await
        });
        drop(answers);
        assert!(noticed.recv().await.is_none());
    }

    #[tokio::test]
    async fn stop_ends_a_call_that_waits() {
        let stop = CancellationToken::new();
        stop.cancel();
        let status = unless_stopped::<()>(&stop, std::future::pending()).await;
        assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    }
}
