//! Limits the number of log lines that peers can cause.
//!
//! LDK logs every invalid message of a peer, and some of our modules do as well; a peer can send 14,000 of
//! them per second. Therefore lines are counted per call site and per peer in windows of one minute. Lines
//! above the limits are suppressed, and at the end of the window one line per call site reports how many.
//! Lines below `info` are not limited: `debug` is meant to show everything.
//!
//! A window ends on time even if the writer thread is blocked because the log is not read; its suppressed
//! lines are then reported later.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::cut::beginning;
use super::{Shared, ldk};
use crate::sync::lock;

/// Duration of a window; the counts restart after it.
const WINDOW: Duration = Duration::from_secs(60);
/// Maximum lines per window from one call site about one peer.
const MAX_PER_PEER: u32 = 10;
/// Maximum lines per window from one call site.
const MAX_PER_SITE: u32 = 60;
/// The same for the modules in [`BUSY`], which log every API call and payment.
const MAX_PER_BUSY_SITE: u32 = 1_000;
/// Maximum lines per window from LDK, except errors; also the maximum of our own lines that name a peer.
const MAX_PER_KIND: u32 = 150;
/// Maximum errors per window from LDK. Warnings do not use up this budget. It is limited because peers can
/// cause errors as well.
const MAX_LDK_ERRORS: u32 = 100;
/// Lines per window from each call site that are exempt from the limit of their kind, so that a new fault is
/// visible during a flood of other lines.
const MIN_PER_SITE: u32 = 3;
/// Length of the example in the line about suppressed lines, in bytes.
const EXAMPLE_LEN: usize = 120;
/// Length of a node id in hex.
const NODE_ID_LEN: usize = 66;

/// Modules without a limit: the last lines before a process ends, and the log's own lines.
pub(super) const UNLIMITED: [&str; 3] = ["crash_points", "ampd::logging", "ampd::panics"];
/// Modules that log API calls, outgoing payments and payments received.
pub(super) const BUSY: [&str; 6] = [
    "ampd::invoices::cancel",
    "ampd::invoices::hold",
    "ampd::invoices::settled",
    "ampd::node::outbound_htlcs",
    "ampd::payments",
    "ampd::rpc",
];

/// Lines that share a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LdkError,
    Ldk,
    /// Our own lines that name a peer, except errors: peers must not be able to suppress our errors.
    Peer,
    /// Our other lines; limited per call site only.
    Own,
}

/// The properties of a log event that the limits depend on.
struct Line {
    /// Hash of the call site.
    site: u64,
    level: Level,
    kind: Kind,
    max_per_site: u32,
    peer: Option<String>,
    example: String,
}

/// Counts of a call site in the current window.
struct Site {
    level: Level,
    example: String,
    written: u32,
    /// Written lines per peer; bounded by `written`.
    by_peer: HashMap<String, u32>,
    suppressed: u64,
    peers: Peers,
}

/// The peers that suppressed lines name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Peers {
    Unnamed,
    One(String),
    Several,
}

/// The suppressed lines of one call site.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Suppressed {
    pub level: Level,
    pub example: String,
    pub lines: u64,
    pub peers: Peers,
    /// The number of windows; more than one if they could not be reported earlier.
    pub windows: u32,
}

/// Counts of the current window. Memory is bounded by the number of call sites in the source.
#[derive(Default)]
pub(super) struct Counts {
    hasher: RandomState,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    sites: HashMap<u64, Site>,
    ldk_errors: u32,
    ldk_lines: u32,
    peer_lines: u32,
    /// Suppressed lines of past windows, by call site.
    unreported: HashMap<u64, Suppressed>,
}

impl Counts {
    /// Counts the line; returns true if it may be written.
    fn admit(&self, line: Line, now: Instant) -> bool {
        let mut window = self.window();
        let window = &mut *window;
        if window.is_over(now) {
            window.end();
        }
        window.since.get_or_insert(now);
        let site = window.sites.entry(line.site).or_insert_with(|| Site {
            level: line.level,
            example: line.example,
            written: 0,
            by_peer: HashMap::new(),
            suppressed: 0,
            peers: Peers::Unnamed,
        });
        let mut unlimited = 0;
        let (of_kind, max_per_kind) = match line.kind {
            Kind::LdkError => (&mut window.ldk_errors, MAX_LDK_ERRORS),
            Kind::Ldk => (&mut window.ldk_lines, MAX_PER_KIND),
            Kind::Peer => (&mut window.peer_lines, MAX_PER_KIND),
            Kind::Own => (&mut unlimited, MAX_PER_KIND),
        };
        let by_peer = line.peer.as_ref().and_then(|peer| site.by_peer.get(peer));
        let fits = by_peer.is_none_or(|written| *written < MAX_PER_PEER)
            && site.written < line.max_per_site
            && (*of_kind < max_per_kind || site.written < MIN_PER_SITE);
        if fits {
            *of_kind += 1;
            site.written += 1;
            if let Some(peer) = line.peer {
                *site.by_peer.entry(peer).or_default() += 1;
            }
        } else {
            site.suppressed += 1;
            site.peers.add(line.peer);
        }
        fits
    }

    /// Returns the unreported suppressed lines of past windows. With `end`, the current window ends now.
    pub(super) fn take_suppressed(&self, now: Instant, end: bool) -> Vec<Suppressed> {
        let mut window = self.window();
        if end || window.is_over(now) {
            window.end();
        }
        std::mem::take(&mut window.unreported)
            .into_values()
            .collect()
    }

    /// Counts a line of our own, always from the same call site; returns true if it may be written.
    #[cfg(test)]
    pub(super) fn admit_a_line(&self, now: Instant) -> bool {
        let line = Line {
            site: 1,
            level: Level::INFO,
            kind: Kind::Own,
            max_per_site: MAX_PER_SITE,
            peer: None,
            example: String::new(),
        };
        self.admit(line, now)
    }

    /// Returns the number of call sites and peers in memory.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let window = self.window();
        let sites = window.sites.values();
        let sites: usize = sites.map(|site| 1 + site.by_peer.len()).sum();
        sites + window.unreported.len()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        age.is_some_and(|age| age >= WINDOW)
    }

    /// Starts a new window; keeps the suppressed lines of this one until they are reported.
    fn end(&mut self) {
        let over = std::mem::take(self);
        self.unreported = over.unreported;
        for (number, site) in over.sites {
            if site.suppressed > 0 {
                let suppressed = self.unreported.entry(number).or_insert_with(|| Suppressed {
                    level: site.level,
                    example: site.example,
                    lines: 0,
                    peers: Peers::Unnamed,
                    windows: 0,
                });
                suppressed.lines += site.suppressed;
                suppressed.peers.merge(site.peers);
                suppressed.windows += 1;
            }
        }
    }
}

impl Peers {
    fn merge(&mut self, other: Self) {
        match other {
            Self::Unnamed => {}
            Self::One(peer) => self.add(Some(peer)),
            Self::Several => *self = Self::Several,
        }
    }

    fn add(&mut self, peer: Option<String>) {
        *self = match (std::mem::replace(self, Self::Several), peer) {
            (before, None) => before,
            (Self::Unnamed, Some(peer)) => Self::One(peer),
            (Self::One(known), Some(peer)) if known == peer => Self::One(known),
            (Self::One(_) | Self::Several, Some(_)) => Self::Several,
        };
    }
}

impl Line {
    /// Returns `None` if the line is not limited.
    fn of(event: &Event<'_>, hasher: &RandomState) -> Option<Self> {
        let meta = event.metadata();
        // In `tracing`, more verbose levels compare as greater.
        if *meta.level() > Level::INFO || is_under(meta, &UNLIMITED) {
            return None;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_error = *meta.level() == Level::ERROR;
        let (site, kind) = if meta.target() == ldk::TARGET {
            // Some of LDK's macros log at several levels on the same source line.
            let site = hasher.hash_one((meta.level(), &fields.module, fields.line));
            let kind = if is_error { Kind::LdkError } else { Kind::Ldk };
            (site, kind)
        } else if fields.peer.is_some() && !is_error {
            (hasher.hash_one(meta.callsite()), Kind::Peer)
        } else {
            (hasher.hash_one(meta.callsite()), Kind::Own)
        };
        let is_busy = is_under(meta, &BUSY);
        Some(Self {
            site,
            level: *meta.level(),
            kind,
            max_per_site: if is_busy {
                MAX_PER_BUSY_SITE
            } else {
                MAX_PER_SITE
            },
            peer: fields.peer,
            example: fields.message,
        })
    }
}

/// Returns true if the target is one of these modules or inside one.
fn is_under(meta: &Metadata<'_>, modules: &[&str]) -> bool {
    modules.iter().any(|module| {
        let rest = meta.target().strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The event's fields that the limits depend on.
#[derive(Default)]
struct Fields {
    message: String,
    module: String,
    line: u64,
    peer: Option<String>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => self.message = beginning(format_args!("{value:?}"), EXAMPLE_LEN).0,
            "peer" => self.peer = Some(beginning(format_args!("{value:?}"), NODE_ID_LEN).0),
            _ => {}
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => value.clone_into(&mut self.module),
            _ => self.record_debug(field, &format_args!("{value}")),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match field.name() {
            "line" => self.line = value,
            _ => self.record_debug(field, &value),
        }
    }
}

/// The layer that suppresses lines before they are formatted.
pub(super) struct Limit(pub(super) Shared);

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let counts = &self.0.counts;
        // Read the fields before taking the lock, because formatting them may panic.
        Line::of(event, &counts.hasher).is_none_or(|line| counts.admit(line, Instant::now()))
    }
}
