//! Tasks without which the node must not run on.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks by name. If one ends before the node is to stop, by itself or by a panic, the node
/// stops.
#[derive(Clone)]
pub(super) struct Vital {
    stop: CancellationToken,
    broken: Arc<OnceLock<Broken>>,
}

/// A part of the node ended by itself, so the node stopped. The log has said so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node stopped because this part of it ended: {0}")]
pub struct Broken(&'static str);

impl Vital {
    /// `stop` is cancelled when a task ends too early.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            broken: Arc::default(),
        }
    }

    /// Spawns a task that ends only after the node was told to stop.
    pub(super) fn spawn(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let end = End {
            vital: self.clone(),
            name,
            ended: false,
        };
        tracker.spawn(async move {
            // All of it moves into the task, to be dropped with it.
            let mut end = end;
            task.await;
            end.ended = true;
        });
    }

    /// The first part that ended too early.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.get().copied()
    }
}

/// Dropped when the task ends or panics, and when the runtime is shut down.
struct End {
    vital: Vital,
    name: &'static str,
    ended: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let by_itself = self.ended || std::thread::panicking();
        if !by_itself || self.vital.stop.is_cancelled() {
            return;
        }
        if self.vital.broken.set(Broken(self.name)).is_ok() {
            tracing::error!(
                "the node stops because a part of it ended: {}. This is a bug, please report it. \
                 Nothing is lost: it is safe to start ampd again",
                self.name
            );
        }
        self.vital.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn stopped_by(task: impl Future<Output = ()> + Send + 'static) -> Option<Broken> {
        let stop = CancellationToken::new();
        let vital = Vital::new(stop.clone());
        vital.spawn(&TaskTracker::new(), "pump", task);
        tokio::time::timeout(LIMIT, stop.cancelled()).await.ok()?;
        vital.broken()
    }

    #[tokio::test]
    async fn a_task_that_ends_or_panics_stops_the_node() {
        assert_eq!(stopped_by(async {}).await, Some(Broken("pump")));
        let panics = async { panic!("by this test") };
        assert_eq!(stopped_by(panics).await, Some(Broken("pump")));
    }

    #[tokio::test]
    async fn a_task_that_ends_after_the_stop_breaks_nothing() {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let vital = Vital::new(stop.clone());
        let ended = stop.clone();
        vital.spawn(&tracker, "pump", async move { ended.cancelled().await });
        stop.cancel();
        tracker.close();
        tokio::time::timeout(LIMIT, tracker.wait()).await.unwrap();
        assert_eq!(vital.broken(), None);
    }
}
