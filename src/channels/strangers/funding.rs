//! Funding outputs that peers have named, and what bitcoind says of them.

use std::time::{Duration, Instant};

use bitcoin::{OutPoint, Script};
use lightning::ln::types::ChannelId;

use crate::chain::UnspentOutput;

/// How soon bitcoind is asked again for the funding of a new channel, and of one that is older than a
/// minute.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);
pub(super) const LOOK_AGAIN_LATER: Duration = Duration::from_secs(60);
/// Of one that it knows and that is in no block: another transaction may replace it.
pub(super) const LOOK_AGAIN_IF_SEEN: Duration = Duration::from_secs(600);

/// How old bitcoind's answer may be if a channel is closed because of it.
pub(super) const FRESH: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy)]
pub(super) struct Funding {
    pub(super) channel_id: ChannelId,
    pub(super) point: OutPoint,
    /// What the output must be worth; none for a channel that was closed before the start.
    pub(super) sat: Option<u64>,
    /// When bitcoind is asked for it.
    next_look: Instant,
    /// When bitcoind last said that it does not know it.
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

    /// bitcoind is asked now.
    pub(super) fn look_now(&mut self, now: Instant) {
        self.next_look = now;
    }

    /// bitcoind has answered. `is_new`: the channel is less than a minute old.
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

    /// Whether bitcoind has just said that it does not know it.
    pub(super) fn is_known_missing(&self, now: Instant) -> bool {
        let fresh = |looked| now.saturating_duration_since(looked) <= FRESH;
        !self.seen && self.last_look.is_some_and(fresh)
    }

    /// When bitcoind is asked next; `crowded`: some of the channels may have to go.
    pub(super) fn next_look(&self, crowded: bool) -> Instant {
        match self.last_look {
            Some(last) if crowded && !self.seen => self.next_look.min(last + LOOK_AGAIN),
            _ => self.next_look,
        }
    }
}

/// A funding output that bitcoind should be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sought {
    pub user_channel_id: u128,
    pub channel_id: ChannelId,
    pub point: OutPoint,
    /// None if it is not known what it should be worth.
    pub sat: Option<u64>,
    pub closed: bool,
}

impl Sought {
    /// What bitcoind's answer means for a channel whose funding output has this script. A peer may name an
    /// output of somebody else, or too small a one.
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

/// What bitcoind knows of a funding output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Unconfirmed,
    Confirmed,
}
