//! Streamed responses and long-running calls; both end when the node shuts down.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Number of messages buffered for a slow client; when the buffer is full, the writer waits.
const STREAM_BUFFER_LEN: usize = 16;

/// A stream of response messages.
pub(in crate::rpc) type Answers<T> = ReceiverStream<Result<T, Status>>;

/// The sending half of a response stream.
pub(in crate::rpc) struct Writer<T>(mpsc::Sender<Result<T, Status>>);

impl<T> Writer<T> {
    /// Sends a message; waits while the buffer is full. [`stream`] detects a disconnected client.
    pub(in crate::rpc) async fn send(&self, message: T) {
        let _ = self.0.send(Ok(message)).await;
    }
}

/// Runs `write` in a task until it ends, the client disconnects or the node shuts down.
pub(in crate::rpc) fn stream<T, W, F>(stop: CancellationToken, write: W) -> Answers<T>
where
    T: Send + 'static,
    W: FnOnce(Writer<T>) -> F,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(STREAM_BUFFER_LEN);
    let work = write(Writer(sender.clone()));
    tokio::spawn(async move {
        let ended = tokio::select! {
            ended = work => ended,
            () = sender.closed() => return,
            () = stop.cancelled() => Err(shutting_down()),
        };
        let Err(status) = ended else { return };
        tokio::select! {
            biased;
            _ = sender.send(Err(status)) => {}
            // A client that does not read sees the stream end without the status.
            () = stop.cancelled() => {}
        }
    });
    ReceiverStream::new(receiver)
}

/// Waits for `work` unless the node shuts down first.
///
/// # Errors
/// Those of `work`; `Unavailable` on shutdown.
pub(in crate::rpc) async fn unless_stopped<T>(
    stop: &CancellationToken,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    tokio::select! {
        done = work => done,
        () = stop.cancelled() => Err(shutting_down()),
    }
}

/// Runs `work` on a blocking thread, for long database reads.
///
/// # Errors
/// Those of `work`; `Internal` if it panics.
pub(in crate::rpc) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Status> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Status::internal(format!("the call failed: {error}"))),
    }
}

fn shutting_down() -> Status {
    Status::unavailable("the node is shutting down")
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
    async fn shutdown_ends_an_idle_stream() {
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
    async fn shutdown_ends_a_stream_that_is_not_read() {
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
    async fn client_disconnect_ends_the_writer() {
        let (dropped_with_task, mut task_ended) = mpsc::channel::<()>(1);
        let answers: Answers<u8> = stream(CancellationToken::new(), |writer| async move {
            let _held = (writer, dropped_with_task);
            std::future::pending().await
        });
        drop(answers);
        assert!(task_ended.recv().await.is_none());
    }

    #[tokio::test]
    async fn shutdown_ends_a_waiting_call() {
        let stop = CancellationToken::new();
        stop.cancel();
        let status = unless_stopped::<()>(&stop, std::future::pending()).await;
        assert_eq!(status.unwrap_err().code(), Code::Unavailable);
    }
}
