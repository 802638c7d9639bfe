//! Aborts the process on a panic.
//!
//! If one thread or task panics, the others keep running without it: blocks are no longer processed, or
//! events no longer handled, while peers keep adding HTLCs. LDK panics deliberately where continuing could
//! lose funds, and a panic while holding one of LDK's locks makes every later user of that lock panic. The
//! node is crash-safe, so it aborts at once, and its supervisor restarts it.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::logging;

/// Installs a panic hook that logs one line and aborts, even for panics that tokio or `catch_unwind`
/// would catch. With RUST_BACKTRACE set, a backtrace follows.
pub fn abort_on_panic() {
    std::panic::set_hook(Box::new(|info| {
        static FIRST: AtomicBool = AtomicBool::new(true);
        if !FIRST.swap(false, Ordering::Relaxed) {
            // Another thread is about to abort the process. A panic within the hook also aborts it.
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
    // The log may be off, or its writer thread may have panicked.
    if tracing::enabled!(tracing::Level::ERROR) && !logging::is_written_here() {
        tracing::error!("{line}");
    } else {
        logging::say(&format!("ampd: {line}"));
    }
    let backtrace = std::backtrace::Backtrace::capture();
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        logging::say(&backtrace.to_string());
    }
    // Bounded: the process must abort even if nobody reads the log.
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
