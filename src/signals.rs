//! Unix signals from the terminal, the service manager and the operator.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Signal handlers, active from construction.
///
/// SIGINT and SIGTERM stop the node, and so does SIGHUP if the controlling terminal was closed. Any other
/// SIGHUP, SIGUSR1 and SIGUSR2 are logged and ignored: by default they would kill the process without a
/// log line and without a final commit.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: [Signal; 2],
    terminal: Terminal,
}

impl Signals {
    /// # Errors
    /// If the operating system cannot install a handler.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            user: [
                signal(SignalKind::user_defined1())?,
                signal(SignalKind::user_defined2())?,
            ],
            terminal: Terminal::of_this_process(),
        })
    }

    /// Waits for a signal to shut down and returns the reason, for the log.
    pub async fn told_to_stop(&mut self) -> &'static str {
        let [first, second] = &mut self.user;
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "received SIGINT",
                _ = self.terminate.recv() => return "received SIGTERM",
                _ = self.hangup.recv() => {
                    if self.terminal.is_closed() {
                        return "the terminal was closed";
                    }
                    tracing::info!("ignoring SIGHUP: ampd does not reload its config");
                }
                _ = first.recv() => tracing::info!("ignoring SIGUSR1"),
                _ = second.recv() => tracing::info!("ignoring SIGUSR2"),
            }
        }
    }

    /// Waits for Ctrl-C.
    pub async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }
}

/// Whether stdin, stdout and stderr were terminals at startup.
struct Terminal([bool; 3]);

impl Terminal {
    fn of_this_process() -> Self {
        Self(terminals())
    }

    /// On a closed terminal every ioctl fails with an I/O error, so `is_terminal` returns false.
    fn is_closed(&self) -> bool {
        let now = terminals();
        self.0.iter().zip(now).any(|(before, now)| *before && !now)
    }
}

fn terminals() -> [bool; 3] {
    [
        io::stdin().is_terminal(),
        io::stdout().is_terminal(),
        io::stderr().is_terminal(),
    ]
}
