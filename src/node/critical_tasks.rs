//! Critical tasks: the node shuts down if one of them ends.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns named critical tasks. If one returns or panics before shutdown, the node shuts down.
#[derive(Clone)]
pub(super) struct CriticalTasks {
    stop: CancellationToken,
    broken: Arc<OnceLock<Broken>>,
}

/// The critical task whose unexpected end shut the node down. The log names it as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node shut down because a critical task ended: {0}")]
pub struct Broken(&'static str);

impl CriticalTasks {
    /// `stop` is cancelled when a task ends before shutdown.
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self {
            stop,
            broken: Arc::default(),
        }
    }

    /// Spawns a task that must not end before `stop` is cancelled.
    fn spawn(
        &self,
        tracker: &TaskTracker,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let end = End {
            critical: self.clone(),
            name,
            ended: false,
        };
        tracker.spawn(async move {
            // Moved as a whole into the task, so that it is dropped with it.
            let mut end = end;
            task.await;
            end.ended = true;
        });
    }

    /// Returns a group of such tasks, which `stop` ends.
    pub(super) fn group(&self, stop: CancellationToken) -> TaskGroup {
        TaskGroup {
            critical: self.clone(),
            tracker: TaskTracker::new(),
            stop,
        }
    }

    /// Returns the first task that ended before shutdown.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.broken.get().copied()
    }
}

/// Critical tasks that are stopped together.
pub(super) struct TaskGroup {
    critical: CriticalTasks,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl TaskGroup {
    /// Spawns a task. It is given the token whose cancellation must end it.
    pub(super) fn spawn<T: Future<Output = ()> + Send + 'static>(
        &self,
        name: &'static str,
        task: impl FnOnce(CancellationToken) -> T,
    ) {
        let task = task(self.stop.clone());
        self.critical.spawn(&self.tracker, name, task);
    }

    /// For tasks that may end at any time.
    pub(super) fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    /// The token whose cancellation ends the tasks.
    pub(super) fn token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Stops the tasks and waits until they have ended, for this long at most. Returns whether they
    /// have.
    pub(super) async fn stop(&self, limit: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait())
            .await
            .is_ok()
    }
}

/// Dropped when the task returns or panics, and when the runtime shuts down.
struct End {
    critical: CriticalTasks,
    name: &'static str,
    ended: bool,
}

impl Drop for End {
    fn drop(&mut self) {
        let ended_or_panicked = self.ended || std::thread::panicking();
        if !ended_or_panicked || self.critical.stop.is_cancelled() {
            return;
        }
        if self.critical.broken.set(Broken(self.name)).is_ok() {
            tracing::error!(
                "shutting down because a critical task ended: {}. This is a bug, please report it. \
                 No state is lost: it is safe to start ampd again",
                self.name
            );
        }
        self.critical.stop.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    async fn stopped_by(task: impl Future<Output = ()> + Send + 'static) -> Option<Broken> {
        let stop = CancellationToken::new();
        let critical = CriticalTasks::new(stop.clone());
        critical.spawn(&TaskTracker::new(), "pump", task);
        tokio::time::timeout(LIMIT, stop.cancelled()).await.ok()?;
        critical.broken()
    }

    #[tokio::test]
    async fn node_stops_when_a_critical_task_ends_or_panics() {
        assert_eq!(stopped_by(async {}).await, Some(Broken("pump")));
        let panics = async { panic!("expected by this test") };
        assert_eq!(stopped_by(panics).await, Some(Broken("pump")));
    }

    #[tokio::test]
    async fn task_ending_after_shutdown_is_not_an_error() {
        let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
        let critical = CriticalTasks::new(stop.clone());
        let ended = stop.clone();
        critical.spawn(&tracker, "pump", async move { ended.cancelled().await });
        stop.cancel();
        tracker.close();
        tokio::time::timeout(LIMIT, tracker.wait()).await.unwrap();
        assert_eq!(critical.broken(), None);
    }
}
