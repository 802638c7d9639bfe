//! Named places at which a debug build panics, for the tests: `AMPD_PANIC_AT=chain`.

/// Where a debug build can be made to panic, for the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the task that follows the chain, with a new block.
    Chain,
    /// In the handler of LDK's events, when an HTLC came in.
    Event,
    /// In the thread that writes to the database, with a monitor update.
    Writer,
    /// In the answer to a caller who adds an invoice.
    Call,
}

impl Place {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Chain, Self::Event, Self::Writer, Self::Call];

    /// As in the environment variable.
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

/// Panics if this is the place that the environment names. A release build never does.
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
