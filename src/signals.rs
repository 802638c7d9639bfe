//! The signals that a node gets from its terminal, its service manager and its operator.

use std::io::{self, IsTerminal};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens from the moment on at which it is made.
///
/// SIGINT and SIGTERM stop the node, and so does SIGHUP once the terminal that it was started from is
/// gone. Any other SIGHUP, SIGUSR1 and SIGUSR2 would end the process by default, without a line in the
/// log and without a last commit: they are logged, and the node goes on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    user: [Signal; 2],
    terminal: Terminal,
}

impl Signals {
    /// # Errors
    /// What the operating system says.
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

    /// Waits until the node is to stop, and says why.
    pub async fn told_to_stop(&mut self) -> &'static str {
        let [first, second] = &mut self.user;
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return "interrupted",
                _ = self.terminate.recv() => return "told to stop",
                _ = self.hangup.recv() => {
                    if self.terminal.is_closed() {
                        return "the terminal was closed";
                    }
                    tracing::info!("SIGHUP: nothing is read again, the node goes on");
                }
                _ = first.recv() => tracing::info!("SIGUSR1 means nothing to ampd"),
                _ = second.recv() => tracing::info!("SIGUSR2 means nothing to ampd"),
            }
        }
    }

    /// Waits for Ctrl-C.
    pub async fn interrupted(&mut self) {
        self.interrupt.recv().await;
    }
}

/// Which of stdin, stdout and stderr were terminals at the start.
struct Terminal([bool; 3]);

impl Terminal {
    fn of_this_process() -> Self {
        Self(terminals())
    }

    /// A terminal that was closed answers every question with an I/O error, so it is none any more.
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
