//! Named points at which a debug build of ampd aborts, for crash tests.
//!
//! `AMPD_ABORT_AT=stored` aborts the process when it reaches the point `stored` for the first time,
//! `AMPD_ABORT_AT=stored:3` at the third time. In a release build all functions do nothing.

use std::fmt;
use std::sync::OnceLock;

pub mod panics;

/// A point at which a node can be made to abort: as a receiver, as a sender, or while it closes a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// LDK has reported an HTLC; nothing is decided yet.
    BeforeStored,
    /// The row of a held HTLC is on disk, but nothing that follows from it.
    Stored,
    /// A set is decided; its rows are queued and most likely not on disk yet.
    Decided,
    /// The decision is on disk, but not passed to LDK.
    DecisionStored,
    /// One HTLC of the set is claimed and the claim is on disk; the others are not claimed.
    BetweenClaims,
    /// LDK has reported that an HTLC is claimed; the peer may know the preimage.
    BeforeClaimed,
    /// A commit has written a delta of the channel manager, and is not complete. This and the next two count
    /// only once an HTLC has been reported: how many commits a start takes depends on the machine.
    ManagerDelta,
    /// A commit has deleted the deltas of the channel manager to replace its base, and is not complete.
    ManagerDeltasDeleted,
    /// A commit has replaced the base of the channel manager, and is not complete.
    ManagerBase,
    /// A payment is on disk, but none of it has been sent.
    PaymentStored,
    /// The row of a new attempt is on disk, but the attempt is not passed to LDK.
    AttemptStored,
    /// An attempt is passed to LDK, whose state with it is most likely not on disk yet.
    AttemptSent,
    /// LDK has reported a failed attempt; nothing about it is recorded.
    BeforeFailed,
    /// An attempt's failure is on disk; its amount has not been sent again.
    FailureStored,
    /// An attempt is settled while others are in flight; its row is queued and most likely not on disk yet.
    Settled,
    /// Like [`Self::Settled`], with the row on disk.
    SettledStored,
    /// That no attempt is in flight any more is on disk; the payment's final state is not.
    BeforeEnd,
    /// The final state of a payment is on disk, but has not been reported.
    EndStored,
    /// A force-close is requested from LDK; the commit that contains it is lost.
    ForceClosed,
    /// A claim is requested from LDK; the commit that contains it is lost.
    Claimed,
    /// LDK has requested a fee bump; nothing has been done about it.
    FeeAsked,
    /// A fee-bumping transaction waits for its commit.
    FeeRaised,
    /// Outputs are passed to LDK's sweeper, most likely not on disk yet.
    Sweeping,
    /// A closing transaction has both signatures and is most likely not on disk yet.
    CloseAgreed,
    /// A closing transaction with both signatures is on disk, but has not been broadcast.
    CloseStored,
}

impl Point {
    /// The points of receivers, in the order in which a payment passes them.
    pub const OF_RECEIVERS: [Self; 9] = [
        Self::BeforeStored,
        Self::Stored,
        Self::Decided,
        Self::DecisionStored,
        Self::BetweenClaims,
        Self::BeforeClaimed,
        Self::ManagerDelta,
        Self::ManagerDeltasDeleted,
        Self::ManagerBase,
    ];

    /// The points of senders, in the order in which a payment passes them.
    pub const OF_SENDERS: [Self; 9] = [
        Self::PaymentStored,
        Self::AttemptStored,
        Self::AttemptSent,
        Self::BeforeFailed,
        Self::FailureStored,
        Self::Settled,
        Self::SettledStored,
        Self::BeforeEnd,
        Self::EndStored,
    ];

    /// The points passed while channels are closed or their outputs claimed on chain.
    pub const OF_CLOSERS: [Self; 7] = [
        Self::ForceClosed,
        Self::Claimed,
        Self::FeeAsked,
        Self::FeeRaised,
        Self::Sweeping,
        Self::CloseAgreed,
        Self::CloseStored,
    ];

    /// Returns the name used in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStored => "before-stored",
            Self::Stored => "stored",
            Self::Decided => "decided",
            Self::DecisionStored => "decision-stored",
            Self::BetweenClaims => "between-claims",
            Self::BeforeClaimed => "before-claimed",
            Self::ManagerDelta => "manager-delta",
            Self::ManagerDeltasDeleted => "manager-deltas-deleted",
            Self::ManagerBase => "manager-base",
            Self::PaymentStored => "payment-stored",
            Self::AttemptStored => "attempt-stored",
            Self::AttemptSent => "attempt-sent",
            Self::BeforeFailed => "before-failed",
            Self::FailureStored => "failure-stored",
            Self::Settled => "settled",
            Self::SettledStored => "settled-stored",
            Self::BeforeEnd => "before-end",
            Self::EndStored => "end-stored",
            Self::ForceClosed => "force-closed",
            Self::Claimed => "claimed",
            Self::FeeAsked => "fee-asked",
            Self::FeeRaised => "fee-raised",
            Self::Sweeping => "sweeping",
            Self::CloseAgreed => "close-agreed",
            Self::CloseStored => "close-stored",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The environment variable that names a [`Point`].
pub const VARIABLE: &str = "AMPD_ABORT_AT";

/// Flushes buffered log lines.
static FLUSH_LOG: OnceLock<fn()> = OnceLock::new();

/// Sets the function that flushes the log before the process aborts.
pub fn flush_log_with(flush: fn()) {
    // Set when the log is opened; if a process opens a second log, the first function stays.
    let _ = FLUSH_LOG.set(flush);
}

#[cfg(debug_assertions)]
fn flush_log() {
    if let Some(flush) = FLUSH_LOG.get() {
        flush();
    }
}

#[cfg(not(debug_assertions))]
mod here {
    use super::Point;

    pub fn at(_: Point) {}

    pub fn when_stored(_: Point, _: impl Fn()) {}

    pub fn in_next_commit(_: Point) {}

    pub fn at_commit() {}
}

#[cfg(debug_assertions)]
mod here {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    use super::{Point, VARIABLE};

    /// The point's name and the remaining number of times to pass it, including the one that aborts.
    static CHOSEN: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, remaining) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), remaining.parse::<u32>().ok()?.into()))
    });

    /// Delay before the process aborts in place of a commit: time for actions that do not wait for the
    /// commit, such as a broadcast.
    const COMMIT_DELAY: Duration = Duration::from_secs(2);

    static ABORTS_IN_COMMIT: AtomicBool = AtomicBool::new(false);

    /// Whether LDK has reported an HTLC.
    static HTLC_REPORTED: AtomicBool = AtomicBool::new(false);

    fn is_here(point: Point) -> bool {
        match point {
            Point::BeforeStored => HTLC_REPORTED.store(true, Ordering::Relaxed),
            Point::ManagerDelta | Point::ManagerDeltasDeleted | Point::ManagerBase
                if !HTLC_REPORTED.load(Ordering::Relaxed) =>
            {
                return false;
            }
            _ => {}
        }
        let chosen = CHOSEN.as_ref().filter(|(name, _)| name == point.name());
        chosen.is_some_and(|(_, remaining)| remaining.fetch_sub(1, Ordering::Relaxed) == 1)
    }

    /// Aborts if this is the selected point.
    pub fn at(point: Point) {
        when_stored(point, || {});
    }

    /// Aborts if this is the selected point, after everything queued so far is on disk. `flush` waits
    /// for the commit with the rows that were queued before it.
    ///
    /// Event handlers do not otherwise wait for the disk, but doing so cannot deadlock: LDK holds none
    /// of its locks while an asynchronous event handler runs, so the writer can take its snapshot of
    /// the channel manager, and writing rows does not need the registry's lock. Whatever LDK would
    /// have done next does not happen.
    pub fn when_stored(point: Point, flush: impl Fn()) {
        if !is_here(point) {
            return;
        }
        // The writer takes monitor updates before rows. The first flush may join a batch that was
        // already being filled and lacks our monitor updates; the second one is in a later batch.
        flush();
        flush();
        tracing::error!("aborting at crash point {point}");
        super::flush_log();
        std::process::abort();
    }

    /// Makes the process abort in place of the next commit if this is the selected point. Call it
    /// before the change that is to be lost, so that the change cannot be on disk.
    pub fn in_next_commit(point: Point) {
        if is_here(point) {
            tracing::error!("aborting in the next commit, at crash point {point}");
            ABORTS_IN_COMMIT.store(true, Ordering::Relaxed);
        }
    }

    /// Aborts if [`in_next_commit`] has requested it. The writer calls this before each commit.
    pub fn at_commit() {
        if ABORTS_IN_COMMIT.load(Ordering::Relaxed) {
            std::thread::sleep(COMMIT_DELAY);
            std::process::abort();
        }
    }
}

pub use here::{at, at_commit, in_next_commit, when_stored};
