//! Forwarded payments.

/// The columns of a forward that lists and sums use; unknown values are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardRow {
    /// Nanoseconds since 1970.
    pub forwarded_at_ns: u64,
    pub scid_in: Option<u64>,
    pub scid_out: Option<u64>,
    pub amount_out_msat: Option<u64>,
    pub fee_msat: Option<u64>,
}

/// A filter for forwards.
#[derive(Debug, Clone, Default)]
pub struct ForwardQuery {
    /// The time range in nanoseconds since 1970, both ends inclusive.
    pub from_ns: u64,
    pub to_ns: u64,
    /// The number of matching forwards to skip.
    pub offset: u64,
    pub limit: u64,
    /// Incoming short channel ids; empty for all channels.
    pub incoming: Vec<u64>,
    /// Outgoing short channel ids; empty for all channels.
    pub outgoing: Vec<u64>,
}
