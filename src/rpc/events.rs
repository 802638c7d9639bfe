//! Streams of what happens from now on.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

/// The next event.
///
/// # Errors
/// Unavailable if the node stops; ResourceExhausted if the caller was so slow that events are lost.
pub(super) async fn next<T: Clone>(events: &mut Receiver<T>) -> Result<T, Status> {
    events.recv().await.map_err(|error| match error {
        RecvError::Closed => Status::unavailable("the node stops"),
        RecvError::Lagged(lost) => Status::resource_exhausted(format!(
            "the client is too slow: {lost} events are lost, subscribe again"
        )),
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn who_is_too_slow_is_told_so() {
        let (sender, mut events) = broadcast::channel(2);
        for event in 0..3 {
            sender.send(event).unwrap();
        }
        let lost = next(&mut events).await.unwrap_err();
        assert_eq!(lost.code(), Code::ResourceExhausted);
        assert!(lost.message().contains("1 events are lost"));
        assert_eq!(next(&mut events).await.unwrap(), 1);
        drop(sender);
        assert_eq!(next(&mut events).await.unwrap(), 2);
        let end = next(&mut events).await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }
}
