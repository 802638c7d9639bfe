//! Tests with full or failing disks and killed processes.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::storage::sql::unsigned;

/// A row of the given size in bytes.
pub(super) struct Big(pub(super) usize);

impl Change for Big {
    fn apply(&self, db: &Connection) -> rusqlite::Result<()> {
        db.execute("INSERT INTO peers VALUES (?1, '')", [vec![1; self.0]])
            .map(|_| ())
    }
}

/// Blocks until a commit has failed and returns the error.
pub(super) fn wait_until_failing(store: &Store) -> String {
    wait_for_health(store, |health| match health {
        Health::Failing(why) => Some(why.clone()),
        Health::Writing => None,
    })
}

fn wait_for_health<T>(store: &Store, wanted: impl Fn(&Health) -> Option<T>) -> T {
    let mut health = store.health();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async {
        loop {
            if let Some(found) = wanted(&health.borrow_and_update()) {
                return found;
            }
            health.changed().await.unwrap();
        }
    })
}

fn wait_until_writing(store: &Store) {
    wait_for_health(store, |health| (*health == Health::Writing).then_some(()));
}

#[test]
fn full_disk_pauses_all_commits_until_space_is_free() {
    let (_dir, store) = temporary();
    let store = Arc::new(store);
    let node = FakeNode::attach(&store, Image::default());
    node.update_monitor(&store, 0);
    store.flush();
    let before = Image::read(&store);

    store.writer.queue.max_pages.store(1, Ordering::Relaxed);
    let big = store.submit(Big(1 << 20));
    let why = wait_until_failing(&store);
    assert!(why.contains("full"), "{why}");
    let completed = node.completed();
    node.update_monitor(&store, 1);
    node.handle_event(&store);
    let note = store.submit(Note(1));
    // Wait for at least one more failure: changes queued since must stay pending.
    std::thread::sleep(RETRY_INTERVAL + RETRY_INTERVAL / 4);
    assert_eq!(Image::read(&store), before);
    assert_eq!(node.completed(), completed, "no update may be completed");
    assert!(!store.is_durable(big) && !store.is_durable(note));
    assert!(matches!(&*store.health().borrow(), Health::Failing(_)));

    store
        .writer
        .queue
        .max_pages
        .store(UNLIMITED_PAGES, Ordering::Relaxed);
    wait_until_writing(&store);
    store.close().unwrap();
    assert!(store.is_durable(note));
    assert_eq!(Image::read(&store), node.image(), "no change may be lost");
    assert_eq!(node.completed(), node.image().monitors);
    assert_eq!(notes(&store), [1]);
}

#[test]
fn closing_on_a_full_disk_fails_within_seconds() {
    let (dir, store) = temporary();
    store.submit(Note(1));
    store.flush();
    store.writer.queue.max_pages.store(1, Ordering::Relaxed);
    let big = store.submit(Big(1 << 20));
    let started = Instant::now();
    let closed = store.close();
    assert!(matches!(closed, Err(StorageError::Unwritten(why)) if why.contains("full")));
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!store.is_durable(big));
    drop(store);
    assert_eq!(notes(&Store::open(dir.path()).unwrap()), [1]);
}

/// Environment variable with the data directory, set in the child process of a test.
const CHILD_DIRECTORY: &str = "AMPD_TEST_STORAGE_TASK";

/// Runs this test again in a child process with a file size limit. SIGXFSZ is ignored, so writes
/// beyond the limit fail with an I/O error instead of killing the process.
fn start(test: &str, directory: &Path, max_kib: &str) -> Child {
    let script = format!(r#"trap "" XFSZ; ulimit -S -f {max_kib}; exec "$0" "$@""#);
    Command::new("bash")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(CHILD_DIRECTORY, directory)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_directory() -> Option<std::path::PathBuf> {
    std::env::var_os(CHILD_DIRECTORY).map(Into::into)
}

/// Kills the child under load with `kill -9` and checks the database; the next round continues
/// from it.
#[test]
fn killed_process_leaves_a_consistent_snapshot() {
    if let Some(directory) = child_directory() {
        return run_load_forever(&directory);
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "storage::writer::tests::disk::killed_process_leaves_a_consistent_snapshot";
    let mut last = Image::default();
    for round in 0..8 {
        let mut child = start(name, dir.path(), "unlimited");
        wait_until_rows_exceed(dir.path(), last.rows, &mut child);
        std::thread::sleep(Duration::from_millis(7 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let image = Image::read(&store);
        image.check();
        assert!(image.rows > last.rows);
        last = image;
    }
}

fn run_load_forever(directory: &Path) {
    let store = Arc::new(Store::open(directory).unwrap());
    let node = FakeNode::attach(&store, restarted(Image::read(&store)));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| node.run(scope, &store, &stop));
}

/// Does what LDK does at startup: it repeats monitor updates that only the manager includes, and
/// events that the manager still replays.
fn restarted(image: Image) -> Image {
    Image {
        manager: image.monitors,
        rows: image.forgotten,
        ..image
    }
}

fn wait_until_rows_exceed(directory: &Path, rows: u64, child: &mut Child) {
    let path = Store::path_in(directory);
    loop {
        assert!(
            child.try_wait().unwrap().is_none(),
            "the child process ended early"
        );
        let found = schema::connect(&path)
            .and_then(|db| db.query_row(node::LAST_EVENT, [], |row| row.get(0).map(unsigned)));
        if found.is_ok_and(|found| found > rows) {
            return;
        }
        std::thread::yield_now();
    }
}

/// The operating system enforces a limit on the file size and later lifts it.
#[test]
#[cfg(target_os = "linux")]
fn io_error_pauses_all_commits_until_it_is_resolved() {
    if let Some(directory) = child_directory() {
        return run_into_the_limit(&directory);
    }
    let dir = tempfile::tempdir().unwrap();
    let name = "storage::writer::tests::disk::io_error_pauses_all_commits_until_it_is_resolved";
    let ended = start(name, dir.path(), "600").wait().unwrap();
    assert!(ended.success());
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(notes(&store), [1, 2, 3]);
    assert_eq!(Image::read(&store).monitors[1], 1);
}

fn run_into_the_limit(directory: &Path) {
    let store = Arc::new(Store::open(directory).unwrap());
    let node = FakeNode::attach(&store, Image::default());
    store.submit(Note(1));
    store.flush();
    let big = store.submit(Big(2 << 20));
    let why = wait_until_failing(&store);
    assert!(
        !why.contains("full"),
        "expected an I/O error of the operating system: {why}"
    );
    node.update_monitor(&store, 1);
    let note = store.submit(Note(2));
    std::thread::sleep(RETRY_INTERVAL + RETRY_INTERVAL / 4);
    assert_eq!(notes(&store), [1]);
    assert_eq!(node.completed()[1], 0);
    assert!(!store.is_durable(big) && !store.is_durable(note));
    let lifted = Command::new("prlimit")
        .args([
            "--fsize=unlimited:",
            "--pid",
            &std::process::id().to_string(),
        ])
        .status();
    assert!(lifted.unwrap().success());
    wait_until_writing(&store);
    store.submit(Note(3));
    store.close().unwrap();
    assert_eq!(node.completed()[1], 1);
}
