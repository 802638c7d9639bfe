//! Funding outputs named by peers, and bitcoind's answers about them.

use std::time::{Duration, Instant};

use bitcoin::{OutPoint, Script};
use lightning::ln::types::ChannelId;

use crate::chain::UnspentOutput;

/// The lookup interval for the funding of a new channel, and of one that is older than a minute.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);
pub(super) const LOOK_AGAIN_LATER: Duration = Duration::from_secs(60);
/// The lookup interval for a known but unconfirmed funding: another transaction may replace it.
pub(super) const LOOK_AGAIN_IF_SEEN: Duration = Duration::from_secs(600);

/// The maximum age of bitcoind's answer when a channel is closed because of it.
pub(super) const MAX_ANSWER_AGE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(super) struct Funding {
    pub(super) channel_id: ChannelId,
    pub(super) point: OutPoint,
    /// The value that the output must have; `None` for a channel closed before the start.
    pub(super) sat: Option<u64>,
    /// When bitcoind is asked next.
    next_look: Instant,
    /// When bitcoind last reported the output as unknown.
    pub(super) last_look: Option<Instant>,
    pub(super) seen: bool,
}

impl Funding {
    pub(super) fn new(
        channel_id: ChannelId,
        point: OutPoint,
        sat: Option<u64>,
        now: Instant,
    ) -> Self {
        Self {
            channel_id,
            point,
            sat,
            next_look: now,
            last_look: None,
            seen: false,
        }
    }

    /// Schedules a lookup now.
    pub(super) fn look_now(&mut self, now: Instant) {
        self.next_look = now;
    }

    /// Records bitcoind's answer. `is_new`: the channel is less than a minute old.
    pub(super) fn looked(&mut self, found: Found, is_new: bool, now: Instant) {
        self.last_look = Some(now);
        self.seen = found != Found::Nothing;
        self.next_look = now
            + match found {
                Found::Nothing if is_new => LOOK_AGAIN,
                Found::Nothing => LOOK_AGAIN_LATER,
                Found::Unconfirmed | Found::Confirmed => LOOK_AGAIN_IF_SEEN,
            };
    }

    /// Returns whether bitcoind has just reported the output as unknown.
    pub(super) fn is_known_missing(&self, now: Instant) -> bool {
        let fresh = |looked| now.saturating_duration_since(looked) <= MAX_ANSWER_AGE;
        !self.seen && self.last_look.is_some_and(fresh)
    }

    /// Returns the time of the next lookup; `crowded`: some of the channels may have to be closed.
    pub(super) fn next_look(&self, crowded: bool) -> Instant {
        match self.last_look {
            Some(last) if crowded && !self.seen => self.next_look.min(last + LOOK_AGAIN),
            _ => self.next_look,
        }
    }
}

/// A funding output to look up in bitcoind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    pub user_channel_id: u128,
    pub channel_id: ChannelId,
    pub point: OutPoint,
    /// `None` if the expected value is unknown.
    pub sat: Option<u64>,
    pub closed: bool,
}

impl Sought {
    /// Evaluates bitcoind's answer for a channel whose funding output has this script. A peer may
    /// name an output that belongs to others or has too low a value.
    pub fn judge(&self, script: &Script, answer: Option<&UnspentOutput>) -> Found {
        let right = answer.filter(|unspent| {
            let output = &unspent.output;
            let value_fits = self.sat.is_none_or(|sat| output.value.to_sat() == sat);
            value_fits && output.script_pubkey.as_script() == script
        });
        match right {
            None => Found::Nothing,
            Some(unspent) if unspent.confirmations == 0 => Found::Unconfirmed,
            Some(_) => Found::Confirmed,
        }
    }
}

/// What bitcoind knows about a funding output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Unconfirmed,
    Confirmed,
}
