//! A child process in its own process group, with its output in a log file, killed when dropped.

use std::fs::{self, File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;

use crate::wait::wait_for;
use crate::watchdog;

/// Number of log lines shown in errors.
const TAIL_LINES: usize = 30;

/// A running child process and its log. Dropping it kills its process group.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` and appends its stdout and stderr to `log`.
    pub fn start(name: &str, command: Command, log: &Path) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(log);
        let out = out.with_context(|| format!("cannot open the log file {}", log.display()))?;
        Self::spawn(name, command, log, (out.try_clone()?, out))
    }

    /// Like [`Process::start`], but writes output to `out`; `log` is used for error messages only.
    pub fn start_into(name: &str, command: Command, log: &Path, out: File) -> Result<Self> {
        Self::spawn(name, command, log, (out.try_clone()?, out))
    }

    fn spawn(name: &str, mut command: Command, log: &Path, out: (File, File)) -> Result<Self> {
        let child = command
            .stdin(Stdio::null())
            .stdout(out.0)
            .stderr(out.1)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        watchdog::watch_group(child.id());
        Ok(Self {
            name: name.to_owned(),
            child,
            log: log.to_owned(),
            status: None,
        })
    }

    /// The process id, which is also its process group id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the exit status, or `None` while the process is running. Does not wait.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        if self.status.is_none() {
            self.status = self.child.try_wait()?;
            if self.status.is_some() {
                watchdog::forget_group(self.id());
            }
        }
        Ok(self.status)
    }

    /// Sends SIGKILL and waits for the exit.
    pub fn kill(&mut self) -> Result<()> {
        if self.ended()?.is_none() {
            self.signal(Signal::KILL)?;
            self.status = Some(self.child.wait()?);
            watchdog::forget_group(self.id());
        }
        Ok(())
    }

    /// Sends SIGSTOP: the process keeps its files and connections but does nothing until
    /// [`Process::thaw`]. It can still be killed.
    pub fn freeze(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    /// Sends SIGTERM and waits for the exit.
    ///
    /// # Errors
    /// If it is still running after `limit`; it is left running.
    pub async fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        if self.ended()?.is_none() {
            self.signal(Signal::TERM)?;
        }
        self.wait(limit).await
    }

    /// Waits for the process to exit.
    ///
    /// # Errors
    /// If it is still running after `limit`; the error includes its last log lines.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to exit", self.name);
        let end = wait_for(&what, limit, async || {
            self.ended()?.ok_or_else(|| anyhow!("it is still running"))
        });
        end.await
            .map_err(|error| anyhow!("{error:#}\n{}", self.log_tail()))
    }

    /// The last log lines under a heading, for error messages.
    pub fn log_tail(&self) -> String {
        log_tail(&self.log)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = i32::try_from(self.id()).ok().and_then(Pid::from_raw) else {
            bail!("{} has the invalid process id {}", self.name, self.id());
        };
        kill_process_group(pid, signal).with_context(|| format!("cannot signal {}", self.name))
    }
}

/// The last lines of a log under a heading, for error messages.
pub fn log_tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    format!(
        "last lines of {}:\n    {}",
        log.display(),
        tail.join("\n    ")
    )
}

/// A program that has exited, and its output.
#[derive(Clone, Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a program that is expected to exit.
///
/// # Errors
/// If it is still running after `limit`; it is then killed.
pub async fn run(name: &str, command: Command, limit: Duration) -> Result<Finished> {
    let (out, err) = (NamedTempFile::new()?, NamedTempFile::new()?);
    let files = (out.reopen()?, err.reopen()?);
    let status = Process::spawn(name, command, err.path(), files)?
        .wait(limit)
        .await?;
    let (stdout, stderr) = (
        fs::read_to_string(out.path())?,
        fs::read_to_string(err.path())?,
    );
    Ok(Finished {
        status,
        stdout,
        stderr,
    })
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command, &dir.join("log")).unwrap()
    }

    /// Its state according to `ps`; empty if it does not exist.
    fn state(pid: u32) -> Vec<u8> {
        let output = Command::new("ps")
            .args(["-o", "stat=", "-p", &pid.to_string()])
            .output();
        output.unwrap().stdout
    }

    /// Whether a process with this id exists and is not a zombie.
    fn lives(pid: u32) -> bool {
        let state = state(pid);
        !state.is_empty() && !state.starts_with(b"Z")
    }

    #[tokio::test]
    async fn drop_kills_the_whole_process_group() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("sleep 1000 & echo $!; wait", dir.path());
        let grandchild = wait_for("the grandchild", Duration::from_secs(5), async || {
            Ok(fs::read_to_string(dir.path().join("log"))?
                .trim()
                .parse::<u32>()?)
        });
        let grandchild = grandchild.await.unwrap();
        assert!(lives(grandchild));
        drop(process);
        let gone = wait_for("its exit", Duration::from_secs(5), async || {
            anyhow::ensure!(!lives(grandchild), "it is still running");
            Ok(())
        });
        gone.await.unwrap();
    }

    #[tokio::test]
    async fn frozen_process_can_be_thawed_and_is_killed_by_drop() {
        let dir = tempfile::tempdir().unwrap();
        let process = shell("exec sleep 1000", dir.path());
        let pid = process.id();
        let becomes = async |frozen: bool| {
            let what = format!("frozen to be {frozen}");
            wait_for(&what, Duration::from_secs(5), async || {
                anyhow::ensure!(state(pid).starts_with(b"T") == frozen, "its state differs");
                Ok(())
            })
            .await
        };
        process.freeze().unwrap();
        becomes(true).await.unwrap();
        process.thaw().unwrap();
        becomes(false).await.unwrap();
        process.freeze().unwrap();
        becomes(true).await.unwrap();
        drop(process);
        assert!(!lives(pid));
    }

    #[tokio::test]
    async fn terminate_returns_the_exit_code() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell(
            "trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done",
            dir.path(),
        );
        let up = wait_for("the trap", Duration::from_secs(5), async || {
            anyhow::ensure!(process.log_tail().contains("up"), "not up");
            Ok(())
        });
        up.await.unwrap();
        let status = process.terminate(Duration::from_secs(5)).await.unwrap();
        assert_eq!(status.code(), Some(7));
    }

    #[tokio::test]
    async fn wait_timeout_error_includes_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let mut process = shell("echo stubborn; sleep 1000", dir.path());
        let error = process.wait(Duration::from_millis(200)).await.unwrap_err();
        assert!(format!("{error:#}").contains("stubborn"), "{error:#}");
    }

    #[tokio::test]
    async fn run_returns_the_status_and_output_of_the_program() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo yes; echo no >&2; exit 3"]);
        let finished = run("shell", command, Duration::from_secs(5)).await.unwrap();
        assert_eq!(finished.status.code(), Some(3));
        assert_eq!(
            (finished.stdout.as_str(), finished.stderr.as_str()),
            ("yes\n", "no\n")
        );
    }
}
