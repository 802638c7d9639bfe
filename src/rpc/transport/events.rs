//! Subscriptions to live events.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tonic::Status;

/// Waits for the next event.
///
/// # Errors
/// `Unavailable` if the node is shutting down; `ResourceExhausted` if the client was too slow and events
/// were lost.
pub(in crate::rpc) async fn next<T: Clone>(events: &mut Receiver<T>) -> Result<T, Status> {
    events.recv().await.map_err(|error| match error {
        RecvError::Closed => Status::unavailable("the node is shutting down"),
        RecvError::Lagged(lost) => Status::resource_exhausted(format!(
            "the client is too slow: {lost} events were lost; subscribe again"
        )),
    })
}

#[cfg(test)]
mod tests {
    use tokio::sync::broadcast;
    use tonic::Code;

    use super::*;

    #[tokio::test]
    async fn slow_subscriber_is_told_that_events_were_lost() {
        let (sender, mut events) = broadcast::channel(2);
        for event in 0..3 {
            sender.send(event).unwrap();
        }
        let lost = next(&mut events).await.unwrap_err();
        assert_eq!(lost.code(), Code::ResourceExhausted);
        assert!(lost.message().contains("1 events were lost"));
        assert_eq!(next(&mut events).await.unwrap(), 1);
        drop(sender);
        assert_eq!(next(&mut events).await.unwrap(), 2);
        let end = next(&mut events).await.unwrap_err();
        assert_eq!(end.code(), Code::Unavailable);
    }
}
