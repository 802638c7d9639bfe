//! Named places at which a debug build of ampd panics, for tests: `AMPD_PANIC_AT=chain`.

/// A place at which a debug build can be made to panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The task that follows the chain, on a new block.
    Chain,
    /// The handler of LDK's events, on an incoming HTLC.
    Event,
    /// The thread that writes to the database, on a monitor update.
    Writer,
    /// The RPC handler that adds an invoice.
    Call,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 4] = [Self::Chain, Self::Event, Self::Writer, Self::Call];

    /// Returns the name used in the environment variable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Chain => "chain",
            Self::Event => "event",
            Self::Writer => "writer",
            Self::Call => "call",
        }
    }
}

/// The environment variable that names a [`Place`].
pub const VARIABLE: &str = "AMPD_PANIC_AT";

/// Panics if the environment names this place. Does nothing in a release build.
#[cfg_attr(
    debug_assertions,
    expect(clippy::panic, reason = "a test asked for it")
)]
pub fn at(place: Place) {
    #[cfg(debug_assertions)]
    {
        static CHOSEN: std::sync::LazyLock<Option<String>> =
            std::sync::LazyLock::new(|| std::env::var(VARIABLE).ok());
        if CHOSEN.as_deref() == Some(place.name()) {
            panic!("{VARIABLE}={}", place.name());
        }
    }
    #[cfg(not(debug_assertions))]
    let _ = place;
}
