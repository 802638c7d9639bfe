//! Named points at which a debug build aborts, for the crash tests: `AMPD_ABORT_AT=stored` dies when
//! the point is reached first, `AMPD_ABORT_AT=stored:3` the third time. A release build has none.

use std::fmt;
use std::sync::OnceLock;

pub mod panics;

/// Where a node may die: a receiver, a sender, or a node that closes a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// LDK told of an HTLC, nothing is decided.
    BeforeStored,
    /// The row of a held HTLC is on disk, and nothing else of that moment.
    Stored,
    /// A set was decided; its rows are queued and hardly on disk yet.
    Decided,
    /// The decision is on disk, LDK was told nothing.
    DecisionStored,
    /// One HTLC of the set was claimed, which is on disk, too; the others were not.
    BetweenClaims,
    /// LDK tells that an HTLC is claimed for good; the peer may know the preimage.
    BeforeClaimed,
    /// A payment is on disk, nothing of it was sent.
    PaymentStored,
    /// The row of a new attempt is on disk, LDK was told nothing of it.
    AttemptStored,
    /// LDK was given an attempt, which is hardly on disk yet.
    AttemptSent,
    /// LDK tells that an attempt came back; nothing of that is noted.
    BeforeFailed,
    /// That an attempt failed is on disk; its amount was not sent again.
    FailureStored,
    /// An attempt is settled, others are in flight; the row is queued and hardly on disk yet.
    Settled,
    /// The same, and the row is on disk.
    SettledStored,
    /// No attempt is in flight any more, which is on disk; the payment's end is not.
    BeforeEnd,
    /// The end of a payment is on disk, nobody was told.
    EndStored,
    /// LDK was told to close a channel by force, and the commit with that fails to come.
    ForceClosed,
    /// LDK was told to claim a payment, and the commit with that fails to come.
    Claimed,
    /// LDK asked for a higher fee; nothing was done about it.
    FeeAsked,
    /// A transaction that raises a fee waits for its commit.
    FeeRaised,
    /// LDK's sweeper was given outputs, and hardly any of that is on disk.
    Sweeping,
    /// A closing transaction has both signatures, which is hardly on disk yet.
    CloseAgreed,
    /// A closing transaction with both signatures is on disk, it was not broadcast.
    CloseStored,
}

impl Point {
    /// Where receivers die, in the order in which a payment passes them.
    pub const OF_RECEIVERS: [Self; 6] = [
        Self::BeforeStored,
        Self::Stored,
        Self::Decided,
        Self::DecisionStored,
        Self::BetweenClaims,
        Self::BeforeClaimed,
    ];

    /// Where senders die, in the order in which a payment passes them.
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

    /// Where nodes die while channels are closed, on the chain or on the way there.
    pub const OF_CLOSERS: [Self; 7] = [
        Self::ForceClosed,
        Self::Claimed,
        Self::FeeAsked,
        Self::FeeRaised,
        Self::Sweeping,
        Self::CloseAgreed,
        Self::CloseStored,
    ];

    /// As in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStored => "before-stored",
            Self::Stored => "stored",
            Self::Decided => "decided",
            Self::DecisionStored => "decision-stored",
            Self::BetweenClaims => "between-claims",
            Self::BeforeClaimed => "before-claimed",
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

/// The environment variable.
pub const VARIABLE: &str = "AMPD_ABORT_AT";

/// Writes what the log still holds.
static FLUSH_LOG: OnceLock<fn()> = OnceLock::new();

/// Sets what writes the log's last lines before the process aborts.
pub fn flush_log_with(flush: fn()) {
    // Set once, when the log is opened; a second log of the same process flushes by the first.
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

    /// The point's name, and how often it is still to be passed.
    static CHOSEN: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let (name, passings) = text.split_once(':').unwrap_or((&text, "1"));
        Some((name.to_owned(), passings.parse::<u32>().ok()?.into()))
    });

    /// How long the commit is held up in whose place the process aborts: time for all that does not wait
    /// for it, such as a broadcast.
    const HELD_UP: Duration = Duration::from_secs(2);

    static ABORTS_IN_COMMIT: AtomicBool = AtomicBool::new(false);

    fn is_here(point: Point) -> bool {
        let chosen = CHOSEN.as_ref().filter(|(name, _)| name == point.name());
        chosen.is_some_and(|(_, passings)| passings.fetch_sub(1, Ordering::Relaxed) == 1)
    }

    /// Aborts, if this is the point.
    pub fn at(point: Point) {
        when_stored(point, || {});
    }

    /// Aborts, if this is the point, once everything that was queued is on disk. `flush` waits for the
    /// commit with the rows that were queued before it.
    ///
    /// Nothing else in an event handler waits for the disk, but it can: LDK handles events without any
    /// of its locks (they are asynchronous), so the writer's snapshot of the manager does not wait for
    /// us, and no row needs the registry's lock to be written. What LDK would have done next just
    /// does not happen.
    pub fn when_stored(point: Point, flush: impl Fn()) {
        if !is_here(point) {
            return;
        }
        // The writer takes monitor updates before it takes rows. The first flush may be in a batch
        // that was being filled and lacks our monitor updates; the second one is in a later batch.
        flush();
        flush();
        tracing::error!("aborting at {point}");
        super::flush_log();
        std::process::abort();
    }

    /// Aborts in place of the next commit, if this is the point. To be called before what is to be
    /// lost, so that it cannot be on disk.
    pub fn in_next_commit(point: Point) {
        if is_here(point) {
            tracing::error!("aborting at {point}, in the next commit");
            ABORTS_IN_COMMIT.store(true, Ordering::Relaxed);
        }
    }

    /// For the writer, before each commit.
    pub fn at_commit() {
        if ABORTS_IN_COMMIT.load(Ordering::Relaxed) {
            std::thread::sleep(HELD_UP);
            std::process::abort();
        }
    }
}

pub use here::{at, at_commit, in_next_commit, when_stored};
