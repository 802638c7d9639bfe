//! The watchdog kills every process started by this one and removes its directories when this one
//! dies without cleaning up: after Ctrl-C, SIGTERM, abort, even after `kill -9`.
//!
//! It is one small shell per harness process that reads from a pipe held open only by the harness.
//! However the harness dies, the kernel closes the pipe and the shell reads end of file. This needs
//! neither signal handlers nor `unsafe`, and works on every Unix.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Commands: `group <pgid>`, `ended <pgid>`, `mount <path>`, `dir <path>`, one per line.
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

/// Registers the process group `pgid` to be killed when this process dies.
pub(crate) fn watch_group(pgid: u32) {
    tell(&format!("group {pgid}\n"));
}

/// Unregisters a process group that has ended, because its id may be reused.
pub(crate) fn forget_group(pgid: u32) {
    tell(&format!("ended {pgid}\n"));
}

/// Registers the file system at `dir` to be unmounted when this process dies. The path has no blanks.
pub(crate) fn watch_mount(dir: &Path) {
    tell(&format!("mount {}\n", dir.display()));
}

/// Registers a directory to be removed when this process dies.
pub(crate) fn watch_dir(dir: &Path) {
    tell(&format!("dir {}\n", dir.display()));
}

/// Ignores errors: the watchdog only matters if the harness itself is killed, so a watchdog that
/// cannot be started or was killed is no reason to fail.
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
        // In its own process group, so that Ctrl-C in the terminal does not reach it.
        .process_group(0)
        .spawn()
        .ok()?;
    child.stdin.take().map(Mutex::new)
}
