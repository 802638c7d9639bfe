//! A panic ends the process.
//!
//! A thread or task that panicked leaves the rest running without it: no block is seen any more, or no
//! event is handled, while peers go on adding HTLCs. LDK panics on purpose where going on could cost
//! money, and one panic under a lock of LDK's makes every later user of that lock panic, too. The node
//! loses nothing by a crash, so it ends at once, and whoever supervises it starts it again.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::logging;

/// Makes every panic of this process write one line to the log and abort, also those that tokio or a
/// `catch_unwind` would catch. With RUST_BACKTRACE set a backtrace follows.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        static FIRST: AtomicBool = AtomicBool::new(true);
        if !FIRST.swap(false, Ordering::Relaxed) {
            // Another thread is about to abort the process. A panic here in the hook aborts it, too.
            loop {
                std::thread::park();
            }
        }
        report(info);
        std::process::abort();
    }));
}

fn report(info: &PanicHookInfo<'_>) {
    let line = line(info);
    // The log may be switched off, or its own thread be what panicked.
    if tracing::enabled!(tracing::Level::ERROR) && !logging::is_written_here() {
        tracing::error!("{line}");
    } else {
        logging::say(&format!("ampd: {line}"));
    }
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        logging::say(&backtrace.to_string());
    }
    // If nobody reads the log, the process must end all the same.
    logging::flush();
}

fn line(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let message = text.unwrap_or("no message").replace('\n', " ");
    let place = info.location().map(ToString::to_string);
    let place = place.unwrap_or_else(|| "an unknown place".to_owned());
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    format!(
        "ampd panicked and ends: {message} (at {place}, thread {thread}). This is a bug, please \
         report it. Nothing is lost: it is safe to start ampd again"
    )
}
