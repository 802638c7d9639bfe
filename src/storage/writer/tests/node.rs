//! A fake node that generates load and gives the writer the same guarantees as LDK.

use std::thread::Scope;

use super::*;
use crate::storage::manager_log;
use crate::storage::monitor_write::MonitorWrite;
use crate::storage::sql::{signed, unsigned};

pub(super) const CHANNELS: usize = 3;

/// Maximum number of updates per channel, or of events, that wait for the disk.
const MAX_IN_PROGRESS: u64 = 16;
/// Time between two updates or events.
pub(super) const UPDATE_INTERVAL: Duration = Duration::from_micros(100);

/// Reads the last event by its key, so that the query stays fast as the table grows.
pub(super) const LAST_EVENT: &str = "SELECT COALESCE((SELECT closed_at FROM closed_channels
     ORDER BY channel_id DESC LIMIT 1), 0)";

/// The state of a node, in memory or on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Image {
    /// The last update of each monitor.
    pub(super) monitors: [u64; CHANNELS],
    /// The last update of each monitor that the manager includes.
    pub(super) manager: [u64; CHANNELS],
    /// The last event that the manager no longer replays.
    pub(super) forgotten: u64,
    /// The last event whose row was queued.
    pub(super) rows: u64,
}

impl Image {
    /// Reads a consistent image from disk.
    pub(super) fn read(store: &Store) -> Self {
        store.read(Self::read_from).unwrap()
    }

    fn read_from(db: &Connection) -> rusqlite::Result<Self> {
        let tx = db.unchecked_transaction()?;
        let mut image = Self::default();
        for (channel, last) in image.monitors.iter_mut().enumerate() {
            *last = tx.query_row(
                "SELECT COALESCE(MAX(update_id), 0) FROM monitor_updates WHERE name = ?1",
                [channel.to_string()],
                |row| row.get(0).map(unsigned),
            )?;
        }
        image.rows = tx.query_row(LAST_EVENT, [], |row| row.get(0).map(unsigned))?;
        let manager = manager_log::read_in(&tx)?.unwrap();
        let numbers: Vec<u64> = manager
            .unwrap_or_else(|| vec![0; 8 * (CHANNELS + 1)])
            .chunks(8)
            .map(|chunk| u64::from_be_bytes(chunk.try_into().unwrap()))
            .collect();
        image.manager.copy_from_slice(&numbers[..CHANNELS]);
        image.forgotten = numbers[CHANNELS];
        Ok(image)
    }

    fn encode(&self) -> Vec<u8> {
        let numbers = self.manager.iter().chain([&self.forgotten]);
        numbers.flat_map(|number| number.to_be_bytes()).collect()
    }

    /// Asserts the invariant of every commit.
    pub(super) fn check(&self) {
        for (monitor, manager) in self.monitors.iter().zip(&self.manager) {
            assert!(
                monitor <= manager,
                "LDK would force-close the channel: {self:?}"
            );
            assert!(
                monitor >= manager,
                "LDK would not start, if it does not wait for the update: {self:?}"
            );
        }
        assert!(self.forgotten <= self.rows, "an event is lost: {self:?}");
    }
}

/// The row of an event.
struct Event(u64);

impl Change for Event {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.prepare_cached("INSERT OR REPLACE INTO closed_channels VALUES (?1, ?2, '')")?
            .execute(params![self.0.to_be_bytes(), signed(self.0)])
            .map(|_| ())
    }
}

pub(super) struct FakeNode {
    state: Mutex<Image>,
    completed: [AtomicU64; CHANNELS],
    /// To read the disk when updates are completed.
    store: std::sync::Weak<Store>,
}

impl FakeNode {
    /// Attaches a node that starts from `image`.
    pub(super) fn attach(store: &Arc<Store>, image: Image) -> Arc<Self> {
        let completed = image.monitors.map(AtomicU64::new);
        let node = Arc::new(Self {
            state: Mutex::new(image),
            completed,
            store: Arc::downgrade(store),
        });
        store.attach(node.clone());
        node
    }

    pub(super) fn image(&self) -> Image {
        self.state.lock().unwrap().clone()
    }

    pub(super) fn completed(&self) -> [u64; CHANNELS] {
        std::array::from_fn(|channel| self.completed[channel].load(Ordering::SeqCst))
    }

    /// Updates a monitor as LDK does: the manager includes the update before the monitor write is
    /// queued, both under a lock that the snapshot needs.
    pub(super) fn update_monitor(&self, store: &Store, channel: usize) {
        self.update_around(store, channel, || ());
    }

    /// Like [`Self::update_monitor`], but first calls `before` under the lock, as LDK broadcasts
    /// before it persists.
    pub(super) fn update_around<T>(
        &self,
        store: &Store,
        channel: usize,
        before: impl FnOnce() -> T,
    ) -> T {
        let mut state = self.state.lock().unwrap();
        let result = before();
        state.manager[channel] += 1;
        state.monitors[channel] += 1;
        store.submit_monitor(MonitorWrite::Update {
            name: channel.to_string(),
            bytes: vec![7; 100],
            update_id: state.monitors[channel],
            awaited_by: Some(channel_id(channel)),
        });
        result
    }

    /// Handles an event as an event handler does: queues its row, then the manager removes the event.
    /// Every other row is urgent.
    pub(super) fn handle_event(&self, store: &Store) -> u64 {
        let event = self.state.lock().unwrap().rows + 1;
        if event.is_multiple_of(2) {
            store.submit(Event(event));
        } else {
            store.submit_deferred(Event(event));
        }
        std::thread::yield_now();
        let mut state = self.state.lock().unwrap();
        (state.rows, state.forgotten) = (event, event);
        drop(state);
        store.manager_changed();
        event
    }

    /// Returns the number of updates of this channel that are not completed.
    fn in_progress(&self, channel: usize) -> u64 {
        self.image().monitors[channel] - self.completed()[channel]
    }

    /// Generates load until `stop`, with one thread per channel and one for events.
    pub(super) fn run<'scope>(
        self: &'scope Arc<Self>,
        scope: &'scope Scope<'scope, '_>,
        store: &'scope Arc<Store>,
        stop: &'scope AtomicBool,
    ) {
        for channel in 0..CHANNELS {
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    if self.in_progress(channel) < MAX_IN_PROGRESS {
                        self.update_monitor(store, channel);
                    }
                    std::thread::sleep(UPDATE_INTERVAL);
                }
            });
        }
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                // Without a bound the queue grows faster than a busy machine can write it.
                if self.image().rows < Image::read(store).rows + MAX_IN_PROGRESS {
                    self.handle_event(store);
                }
                std::thread::sleep(UPDATE_INTERVAL);
            }
        });
    }
}

pub(super) fn channel_id(channel: usize) -> ChannelId {
    ChannelId([channel as u8; 32])
}

impl SnapshotSource for FakeNode {
    fn manager_snapshot(&self, bytes: &mut Vec<u8>, cut: &mut dyn FnMut()) {
        // Let updates be queued between the writer's decision and the snapshot.
        std::thread::yield_now();
        let state = self.state.lock().unwrap();
        cut();
        bytes.extend(state.encode());
        drop(state);
        // Let other threads run between the snapshot and the rest of the batch.
        std::thread::yield_now();
    }

    fn monitors_written(&self, updates: &[(ChannelId, u64)]) {
        let on_disk = self.store.upgrade().map(|store| Image::read(&store));
        for (id, update) in updates {
            let channel = usize::from(id.0[0]);
            let last = self.completed[channel].swap(*update, Ordering::SeqCst);
            assert_eq!(
                last + 1,
                *update,
                "each update must complete once and in order"
            );
            if let Some(image) = &on_disk {
                assert!(
                    *update <= image.monitors[channel],
                    "the update completed before its commit"
                );
            }
        }
    }
}
