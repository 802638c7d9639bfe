//! Logging to stderr, rate-limited and non-blocking.
//!
//! `limit` suppresses lines with which peers could fill the disk, `cut` truncates long lines, and
//! `queue` hands them to a writer thread.

mod cut;
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

pub use self::cut::{beginning, cut};

use self::limit::{Counts, LeftOut, Limit, Whom};
use self::queue::{Queue, Urgency};
use crate::config::{Log, LogFormat};
use crate::log_levels::LogLevels;

/// Our own lines about the log: they are never dropped.
const TARGET: &str = module_path!();
/// The name of the thread that writes.
const THREAD: &str = "log";
/// How often it looks for what is to be said about lines that were left out.
const TICK: Duration = Duration::from_secs(1);
/// Time to write the remaining lines when the process exits.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// Time to write the remaining lines before an abort; shorter, because peers stay connected until then.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// Why the log could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("log-level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("cannot start the thread that writes the log: {0}")]
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

/// The log of this process, for those that end it.
static STARTED: OnceLock<Shared> = OnceLock::new();

/// Sends the log to stderr from now on. If nobody reads it any more the lines are lost, and the node goes
/// on. What is logged can be changed later.
///
/// # Errors
/// [`LogError`], also if the process has a log already.
pub fn start(log: &Log) -> Result<LogLevels, LogError> {
    let shared = Shared::default();
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(&log.filter)?);
    let lines = fmt::layer()
        // tracing would report a line that cannot be written on stderr, and panic if that fails, too.
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
        .name(THREAD.to_owned())
        .spawn(move || writer.write(&mut io::stderr()))?;
    // Whoever set it first has started a log, too, and try_init would have failed.
    let _ = STARTED.set(shared);
    Ok(LogLevels::new(&log.filter, move |filter| {
        handle.reload(filter).map_err(|error| error.to_string())
    }))
}

/// Writes a text to stderr that is no line of the log: after all that was logged before, and without
/// waiting for a reader.
pub fn say(text: &str) {
    match started() {
        Some(log) => {
            let text = format!("{text}\n");
            log.queue.push(text.as_bytes(), Urgency::Needed);
        }
        // Without stderr there is nobody to tell.
        None => drop(writeln!(io::stderr(), "{text}")),
    }
}

/// Writes the last line, if there is one, and waits until all is written, for three seconds at most. For
/// the end of a process.
pub fn finish(last: Option<&str>) {
    if let Some(log) = started() {
        log.tell(true);
    }
    if let Some(last) = last {
        say(last);
    }
    if let Some(log) = started() {
        log.queue.flush(FINISH_TIMEOUT);
    }
}

/// Waits until all is written, for one second at most. For an abort.
pub fn flush() {
    if let Some(log) = started() {
        log.queue.flush(ABORT_TIMEOUT);
    }
}

/// Whether this is the thread that writes the log: if it panics, what it queues is not written any more.
pub fn is_written_here() -> bool {
    thread::current().name() == Some(THREAD)
}

fn started() -> Option<&'static Shared> {
    STARTED.get().filter(|_| !is_written_here())
}

impl State {
    fn write(&self, out: &mut impl Write) {
        loop {
            self.queue.write_next(out, TICK);
            self.tell(false);
        }
    }

    /// Says how many lines were left out or dropped.
    fn tell(&self, ends: bool) {
        for left_out in self.counts.take_left_out(Instant::now(), ends) {
            metrics::counter!("ampd_log_lines_left_out_total").increment(left_out.lines);
            left_out.tell();
        }
        let dropped = self.queue.take_dropped();
        if dropped > 0 {
            metrics::counter!("ampd_log_lines_dropped_total").increment(dropped);
            tracing::warn!("{dropped} lines were dropped: whoever reads the log is too slow");
        }
    }
}

/// At the level of the lines that were left out, so that it is shown where they are.
macro_rules! at_level {
    ($level:expr, $($line:tt)*) => {
        match $level {
            tracing::Level::ERROR => tracing::error!($($line)*),
            tracing::Level::WARN => tracing::warn!($($line)*),
            _ => tracing::info!($($line)*),
        }
    };
}

impl LeftOut {
    fn tell(&self) {
        let of = match &self.of {
            Whom::Nobody => String::new(),
            Whom::One(peer) => format!(" about peer {peer}"),
            Whom::Several => " about several peers".to_owned(),
        };
        let within = match self.windows {
            1 => "a minute".to_owned(),
            windows => format!("{windows} minutes"),
        };
        let (lines, example) = (self.lines, &self.example);
        at_level!(
            self.level,
            "{lines} more lines{of} within {within} were left out. They were like this one: {example}"
        );
    }
}

/// Makes the writer of a line.
struct Lines(Shared);

/// Takes one line, whole.
struct LineWriter<'a> {
    queue: &'a Queue,
    urgency: Urgency,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter {
            queue: &self.0.queue,
            urgency: Urgency::Ordinary,
        }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> LineWriter<'a> {
        let is_ours = meta.target() == TARGET;
        let urgency = if is_ours {
            Urgency::Needed
        } else {
            Urgency::Ordinary
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
