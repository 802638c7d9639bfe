//! Logging to stderr, rate-limited and non-blocking.
//!
//! `limit` suppresses lines with which peers could fill the disk, `cut` truncates long lines, and
//! `queue` passes them to a writer thread. [`ldk`] forwards LDK's lines.

mod cut;
pub mod ldk;
mod limit;
mod queue;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry, reload};

pub use self::cut::cut;

use self::limit::{Counts, Limit, Peers, Suppressed};
use self::queue::{Queue, Urgency};
use crate::config::{Log, LogFormat};
use crate::log_levels::LogLevels;

/// Target of the lines about the log itself, which are never dropped.
const TARGET: &str = module_path!();
/// Name of the writer thread.
const WRITER_THREAD: &str = "log";
/// How often the writer thread reports suppressed and dropped lines.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Maximum time to write the remaining lines when the process exits.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum time to write the remaining lines before an abort; shorter, because peers stay connected until
/// then.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log-level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot start the log's writer thread: {0}")]
    Thread(#[from] io::Error),
    #[error("cannot start the log: {0}")]
    Started(#[from] tracing_subscriber::util::TryInitError),
}

type Shared = Arc<State>;

#[derive(Default)]
struct State {
    queue: Queue,
    counts: Counts,
}

/// The log of this process, for [`say`], [`finish`] and [`flush`].
static STARTED: OnceLock<Shared> = OnceLock::new();

/// Starts logging to stderr; the levels can be changed through the returned [`LogLevels`]. Lines that cannot
/// be written are lost, and the node continues.
///
/// # Errors
/// [`LogError`], also if logging was started before.
pub fn start(log: &Log) -> Result<LogLevels, LogError> {
    let shared = Shared::default();
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.filter)?);
    let lines = fmt::layer()
        // tracing would report a failed write on stderr, and panic if that fails as well.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(Lines(shared.clone()));
    let lines: Box<dyn Layer<_> + Send + Sync> = match log.format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    registry()
        .with(filter)
        .with(Limit(shared.clone()))
        .with(lines)
        .try_init()?;
    let writer = shared.clone();
    thread::Builder::new()
        .name(WRITER_THREAD.to_owned())
        .spawn(move || writer.write(&mut io::stderr()))?;
    // Cannot be set yet: a second start fails in try_init.
    let _ = STARTED.set(shared);
    Ok(LogLevels::new(&log.filter, move |filter| {
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

/// Queues text that is not a log line for stderr, after all lines logged before. Never blocks.
pub fn say(text: &str) {
    match started() {
        Some(log) => {
            let text = format!("{text}\n");
            log.queue.push(text.as_bytes(), Urgency::Required);
        }
        // A failed write cannot be reported: stderr is the only output.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Queues the last line, if any, and waits until everything is written, at most three seconds. Call it when
/// the process exits.
pub fn finish(last: Option<&str>) {
    if let Some(log) = started() {
        log.report(true);
    }
    if let Some(last) = last {
        say(last);
    }
    if let Some(log) = started() {
        log.queue.flush(FINISH_TIMEOUT);
    }
}

/// Waits until everything is written, at most one second. Call it before an abort.
pub fn flush() {
    if let Some(log) = started() {
        log.queue.flush(ABORT_TIMEOUT);
    }
}

/// Returns true on the writer thread. Lines that it queues when it panics are never written.
pub fn is_written_here() -> bool {
    thread::current().name() == Some(WRITER_THREAD)
}

fn started() -> Option<&'static Shared> {
    STARTED.get().filter(|_| !is_written_here())
}

impl State {
    fn write(&self, out: &mut impl Write) {
        loop {
            self.queue.write_next(out, REPORT_INTERVAL);
            self.report(false);
        }
    }

    /// Logs how many lines were suppressed or dropped. With `end`, also those of the current window.
    fn report(&self, end: bool) {
        for suppressed in self.counts.take_suppressed(Instant::now(), end) {
            metrics::counter!("ampd_log_lines_left_out_total").increment(suppressed.lines);
            suppressed.report();
        }
        let dropped = self.queue.take_dropped();
        if dropped > 0 {
            metrics::counter!("ampd_log_lines_dropped_total").increment(dropped);
            tracing::warn!(
                "{dropped} lines were dropped because the reader of the log is too slow"
            );
        }
    }
}

/// Logs at the level of the suppressed lines, so that every filter that shows them shows this line as well.
macro_rules! at_level {
    ($level:expr, $($line:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($line)*),
            tracing::Level::WARN => tracing::warn!($($line)*),
            _ => tracing::info!($($line)*),
        }
    };
}

impl Suppressed {
    fn report(&self) {
        let peers = match &self.peers {
            Peers::Unnamed => String::new(),
            Peers::One(peer) => format!(" about peer {peer}"),
            Peers::Several => " about several peers".to_owned(),
        };
        let within = match self.windows {
            1 => "a minute".to_owned(),
            windows => format!("{windows} minutes"),
        };
        let (lines, example) = (self.lines, &self.example);
        at_level!(
            self.level,
            "{lines} more lines{peers} suppressed within {within}, such as: {example}"
        );
    }
}

/// Creates a writer for each line.
struct Lines(Shared);

/// Queues one complete line.
struct LineWriter<'a> {
    queue: &'a Queue,
    urgency: Urgency,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            queue: &self.0.queue,
            urgency: Urgency::Droppable,
        }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> LineWriter<'a> {
        let is_own = meta.target() == TARGET;
        let urgency = if is_own {
            Urgency::Required
        } else {
            Urgency::Droppable
        };
        LineWriter {
            urgency,
            ..self.make_writer()
        }
    }
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        self.queue.push(cut::line(&text).as_bytes(), self.urgency);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
