//! Bounds what strangers can write into the log.
//!
//! LDK logs each wrong message of a peer, and so do we in places; a peer can send 14,000 of them a second.
//! So lines are counted per call site and per peer, for a minute. What is above the limits is left out, and
//! one line for each call site says at the end of the minute how many were. Only lines at `info` and above
//! are counted: who asks for `debug` wants all of it.
//!
//! A minute ends also while nobody reads the log and the thread that writes it waits: what was left out is said
//! later.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt::{self, Write};
use std::hash::BuildHasher;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::Shared;
use crate::logger;

/// For so long lines are counted, then anew.
const WINDOW: Duration = Duration::from_secs(60);
/// Lines from one call site about one peer within a window.
const OF_PEER: u32 = 10;
/// Lines from one call site within a window.
const OF_SITE: u32 = 60;
/// The same where the owner's own calls and payments are logged, line by line.
const OF_BUSY_SITE: u32 = 1_000;
/// Lines of LDK within a window, but for errors, and as many of ours that name a peer.
const OF_KIND: u32 = 150;
/// LDK's errors within a window. What strangers make LDK warn of does not use them up; but they make it log
/// errors, too, so there is a limit.
const OF_ERRORS: u32 = 100;
/// So many lines from each call site are written even then: a new fault shows beside a flood of others.
const FIRST_OF_SITE: u32 = 3;
/// What is kept of a line's text to say what is like it, bytes.
const EXAMPLE: usize = 120;
/// A node id in hex.
const NODE_ID: usize = 66;

/// Written whatever happens: the last words of a process, and what this module says itself.
const UNLIMITED: [&str; 3] = ["crash_points", "ampd::logging", "ampd::panics"];
/// Calls and payments of the owner, and what they were paid.
const BUSY: [&str; 6] = [
    "ampd::invoices::cancel",
    "ampd::invoices::hold",
    "ampd::invoices::settled",
    "ampd::node::outbound",
    "ampd::payments",
    "ampd::rpc",
];

/// Whose lines are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    LdkError,
    Ldk,
    /// Ours, about a peer. Not errors: what we call an error is not left out for what peers do elsewhere.
    Peer,
    Own,
}

/// What counts of an event.
struct Line {
    /// The call site.
    site: u64,
    level: Level,
    kind: Kind,
    of_site: u32,
    peer: Option<String>,
    example: String,
}

/// Lines from one call site in this window.
struct Site {
    level: Level,
    example: String,
    written: u32,
    /// No more peers than written lines.
    by_peer: HashMap<String, u32>,
    left_out: u64,
    of: Whom,
}

/// Whose lines were left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whom {
    Nobody,
    One(String),
    Several,
}

/// What was left out from one call site.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub level: Level,
    pub example: String,
    pub lines: u64,
    pub of: Whom,
    /// In so many windows; more than one if nobody could say it before.
    pub windows: u32,
}

/// The lines of the current window. There is an entry for each call site in the source at most.
#[derive(Default)]
pub(super) struct Counts {
    hasher: RandomState,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    sites: HashMap<u64, Site>,
    of_errors: u32,
    of_ldk: u32,
    of_peers: u32,
    /// What was left out in windows that are over, for each call site.
    untold: HashMap<u64, LeftOut>,
}

impl Counts {
    /// Whether the line is to be written.
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
            left_out: 0,
            of: Whom::Nobody,
        });
        let mut unbounded = 0;
        let (of_kind, most) = match line.kind {
            Kind::LdkError => (&mut window.of_errors, OF_ERRORS),
            Kind::Ldk => (&mut window.of_ldk, OF_KIND),
            Kind::Peer => (&mut window.of_peers, OF_KIND),
            Kind::Own => (&mut unbounded, OF_KIND),
        };
        let by_peer = line.peer.as_ref().and_then(|peer| site.by_peer.get(peer));
        let fits = by_peer.is_none_or(|written| *written < OF_PEER)
            && site.written < line.of_site
            && (*of_kind < most || site.written < FIRST_OF_SITE);
        if fits {
            *of_kind += 1;
            site.written += 1;
            if let Some(peer) = line.peer {
                *site.by_peer.entry(peer).or_default() += 1;
            }
        } else {
            site.left_out += 1;
            site.of.add(line.peer);
        }
        fits
    }

    /// What was left out in windows that are over, or else are to end now.
    pub(super) fn take_left_out(&self, now: Instant, ends: bool) -> Vec<LeftOut> {
        let mut window = self.window();
        if ends || window.is_over(now) {
            window.end();
        }
        std::mem::take(&mut window.untold).into_values().collect()
    }

    /// Whether one more line of ours from the same place is to be written.
    #[cfg(test)]
    pub(super) fn admit_a_line(&self, now: Instant) -> bool {
        let line = Line {
            site: 1,
            level: Level::INFO,
            kind: Kind::Own,
            of_site: OF_SITE,
            peer: None,
            example: String::new(),
        };
        self.admit(line, now)
    }

    /// Peers and call sites that are kept.
    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        let window = self.window();
        let sites = window.sites.values();
        let sites: usize = sites.map(|site| 1 + site.by_peer.len()).sum();
        sites + window.untold.len()
    }

    /// No code that holds this lock can panic halfway through a change.
    fn window(&self) -> MutexGuard<'_, Window> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn is_over(&self, now: Instant) -> bool {
        let age = self.since.map(|since| now.saturating_duration_since(since));
        age.is_some_and(|age| age >= WINDOW)
    }

    /// Counts anew, and keeps what was left out until somebody says it.
    fn end(&mut self) {
        let over = std::mem::take(self);
        self.untold = over.untold;
        for (number, site) in over.sites {
            if site.left_out > 0 {
                let left_out = self.untold.entry(number).or_insert_with(|| LeftOut {
                    level: site.level,
                    example: site.example,
                    lines: 0,
                    of: Whom::Nobody,
                    windows: 0,
                });
                left_out.lines += site.left_out;
                left_out.of.merge(site.of);
                left_out.windows += 1;
            }
        }
    }
}

impl Whom {
    fn merge(&mut self, other: Self) {
        match other {
            Self::Nobody => {}
            Self::One(peer) => self.add(Some(peer)),
            Self::Several => *self = Self::Several,
        }
    }

    fn add(&mut self, peer: Option<String>) {
        *self = match (std::mem::replace(self, Self::Several), peer) {
            (left, None) => left,
            (Self::Nobody, Some(peer)) => Self::One(peer),
            (Self::One(known), Some(peer)) if known == peer => Self::One(known),
            (Self::One(_) | Self::Several, Some(_)) => Self::Several,
        };
    }
}

impl Line {
    /// None if lines like this one are never left out.
    fn of(event: &Event<'_>, hasher: &RandomState) -> Option<Self> {
        let meta = event.metadata();
        // More verbose levels are greater.
        if *meta.level() > Level::INFO || is_under(meta, &UNLIMITED) {
            return None;
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let is_error = *meta.level() == Level::ERROR;
        let (site, kind) = if meta.target() == logger::TARGET {
            // A macro of LDK can log at several levels in one line of the source.
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
            of_site: if is_busy { OF_BUSY_SITE } else { OF_SITE },
            peer: fields.peer,
            example: fields.message,
        })
    }
}

/// Whether its target is one of these modules or within one.
fn is_under(meta: &Metadata<'_>, modules: &[&str]) -> bool {
    modules.iter().any(|module| {
        let rest = meta.target().strip_prefix(module);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The fields that count.
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
            "message" => self.message = beginning(value, EXAMPLE),
            "peer" => self.peer = Some(beginning(value, NODE_ID)),
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

/// At most so many bytes of the value's text.
fn beginning(value: &dyn fmt::Debug, max_bytes: usize) -> String {
    struct Beginning(String, usize);

    impl Write for Beginning {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            for c in text.chars() {
                if self.0.len() + c.len_utf8() > self.1 {
                    return Err(fmt::Error);
                }
                self.0.push(c);
            }
            Ok(())
        }
    }

    let mut text = Beginning(String::new(), max_bytes);
    // The error says that it was longer.
    let _ = write!(text, "{value:?}");
    text.0
}

/// Leaves lines out before they are formatted.
pub(super) struct Limit(pub(super) Shared);

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let counts = &self.0.counts;
        // Fields are read before the lock is taken: their code may panic.
        Line::of(event, &counts.hasher).is_none_or(|line| counts.admit(line, Instant::now()))
    }
}
