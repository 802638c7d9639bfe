//! The watchdog ends every process that this one started, and removes its directories, when this
//! one dies without cleaning up: after Ctrl-C, SIGTERM, abort, even after `kill -9`.
//!
//! It is one small shell per harness process that reads from a pipe which only the harness holds
//! open. However the harness ends, the kernel closes the pipe and the shell sees its end. That
//! needs neither signal handlers nor `unsafe`, and works on every Unix.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Lines it understands: `group <pgid>`, `ended <pgid>`, `mount <path>`, `dir <path>`.
const SCRIPT: &str = r#"
trap '' INT TERM HUP QUIT
groups=''
mounts=''
while read -r verb what; do
    case $verb in
        group) groups="$groups $what" ;;
        ended)
            left=''
            for group in $groups; do
                [ "$group" = "$what" ] || left="$left $group"
            done
            groups=$left ;;
        mount) mounts="$mounts $what" ;;
        dir) set -- "$@" "$what" ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
for mount in $mounts; do umount -l "$mount"; done
[ $# -eq 0 ] || rm -rf -- "$@"
"#;

static PIPE: OnceLock<Option<Mutex<ChildStdin>>> = OnceLock::new();

/// From now on the process group `pgid` dies with this process.
pub fn watch_group(pgid: u32) {
    tell(&format!("group {pgid}\n"));
}

/// The process group is gone and its number may be given to others: forget it.
pub fn forget_group(pgid: u32) {
    tell(&format!("ended {pgid}\n"));
}

/// From now on what is mounted at `dir` goes with this process. The path has no blanks.
pub fn watch_mount(dir: &Path) {
    tell(&format!("mount {}\n", dir.display()));
}

/// From now on the directory is removed when this process ends.
pub fn watch_dir(dir: &Path) {
    tell(&format!("dir {}\n", dir.display()));
}

/// A watchdog that cannot be started or has been killed is no reason to fail: it only matters
/// when the harness itself is killed. So errors are dropped here.
fn tell(line: &str) {
    if let Some(pipe) = PIPE.get_or_init(start) {
        let mut pipe = pipe.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = pipe.write_all(line.as_bytes());
    }
}

fn start() -> Option<Mutex<ChildStdin>> {
    let mut child = Command::new("sh")
        .args(["-c", SCRIPT, "regtest-watchdog"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Its own group, so that Ctrl-C in the terminal does not reach it.
        .process_group(0)
        .spawn()
        .ok()?;
    child.stdin.take().map(Mutex::new)
}
