//! Channels of peers whose funding transaction has not been seen: they cost their peer nothing.
//!
//! Anybody can open a channel with a funding transaction that does not exist. LDK keeps such a channel
//! for 2,016 blocks, and takes no channels from newcomers while 50 peers have no other
//! (`MAX_UNFUNDED_CHANNEL_PEERS`). So we bound how many of them are accepted in an hour, close some when
//! LDK's limit comes near, and leave nothing behind of those that are closed.

mod budget;
mod closed;
mod evict;
mod funding;
mod origin;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::secp256k1::PublicKey;
use bitcoin::{OutPoint, TxIn};
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use tokio::sync::Notify;

use self::budget::{Budget, Taken};
use self::closed::{key_of_closed, may_be_made_up};
use self::funding::{Funding, LOOK_AGAIN_LATER};
use super::list;
use super::spends::funding_script;
use crate::ldk::ChainMonitor;

pub use self::evict::{is_near_limit, without_funded_channel};
pub use self::funding::{Found, Sought};
pub use self::origin::Origin;

/// A channel into which the peer has put money for us: LDK keeps its monitor until the chain has decided,
/// which it never does for a funding that does not exist.
const UNITS_IF_PUSHED: u32 = 3;

/// While there are so many that some may have to go, bitcoind is asked for all of them as for new ones.
const CROWD: usize = 30;

/// Channels with money for us whose funding is not known, of all peers together, open and closed. LDK
/// never forgets those that are closed.
const MAX_PUSHED: usize = 100;
/// The same of one peer that has a channel in the chain: it is refused beyond this number only.
const MAX_PUSHED_OF_PEER: usize = 10;

/// The peer has used up what strangers may ask for in an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooMany;

/// A peer that asks for a channel.
#[derive(Debug, Clone, Copy)]
pub struct Newcomer {
    pub peer: PublicKey,
    pub origin: Origin,
    /// It has a channel that is in the chain, with us or with others.
    pub has_paid: bool,
}

#[derive(Debug)]
struct Stranger {
    peer: PublicKey,
    origin: Origin,
    accepted: Instant,
    /// Some of the money is ours if the funding exists.
    pushed: bool,
    taken: Option<Taken>,
    funding: Option<Funding>,
    closed: bool,
}

/// A stranger's channel whose funding bitcoind does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unseen {
    /// Nothing in it would be ours.
    Worthless,
    /// The peer has put money for us into it.
    Pushed,
}

impl Stranger {
    fn is_seen(&self) -> bool {
        self.funding.is_some_and(|funding| funding.seen)
    }

    /// Whether bitcoind has just said that it does not know the funding, or the peer has named none.
    fn is_known_unseen(&self, now: Instant) -> bool {
        self.funding
            .is_none_or(|funding| funding.is_known_missing(now))
    }

    /// How long it has existed without its funding, as far as bitcoind has told.
    fn age(&self, now: Instant) -> Duration {
        let known = self.funding.map_or(Some(now), |funding| funding.last_look);
        known.map_or(Duration::ZERO, |known| {
            known.saturating_duration_since(self.accepted)
        })
    }
}

/// The channels that peers opened to us and whose funding is not in the chain, by LDK's
/// `user_channel_id`; and closed ones whose funding is not seen, until their monitor is gone or the funding
/// is in the chain.
pub struct Strangers {
    state: Mutex<State>,
    /// There is a funding to look for, or a monitor to forget.
    changed: Notify,
}

#[derive(Debug)]
struct State {
    channels: HashMap<u128, Stranger>,
    budget: Budget,
}

impl Default for Strangers {
    fn default() -> Self {
        let state = State {
            channels: HashMap::new(),
            budget: Budget::new(Instant::now()),
        };
        Self {
            state: Mutex::new(state),
            changed: Notify::new(),
        }
    }
}

impl Strangers {
    /// Notes what LDK has at the start: channels, and monitors of closed ones with money for us.
    pub fn restore(&self, channels: &[ChannelDetails], monitors: &ChainMonitor) {
        let now = Instant::now();
        let mut state = self.state();
        for channel in channels.iter().filter(|channel| is_unfunded(channel)) {
            let Some(point) = channel.funding_txo else {
                continue;
            };
            let (id, sat) = (channel.channel_id, channel.channel_value_satoshis);
            let stranger = Stranger {
                peer: channel.counterparty.node_id,
                origin: Origin::new(None),
                accepted: now,
                pushed: list::channel(channel).local_balance_msat() > 0,
                taken: None,
                funding: Some(Funding::new(
                    id,
                    point.into_bitcoin_outpoint(),
                    Some(sat),
                    now,
                )),
                closed: false,
            };
            state.channels.insert(channel.user_channel_id, stranger);
        }
        let is_open = |id: &ChannelId| channels.iter().any(|channel| channel.channel_id == *id);
        let ids = monitors.list_monitors().into_iter();
        for id in ids.filter(|id| !is_open(id)) {
            if let Ok(monitor) = monitors.get_monitor(id)
                && may_be_made_up(&monitor)
            {
                let point = monitor.get_funding_txo().into_bitcoin_outpoint();
                let stranger = Stranger {
                    peer: monitor.get_counterparty_node_id(),
                    origin: Origin::new(None),
                    accepted: now,
                    pushed: true,
                    taken: None,
                    funding: Some(Funding::new(id, point, None, now)),
                    closed: true,
                };
                state.channels.insert(key_of_closed(&id), stranger);
            }
        }
    }

    /// Notes a channel that is about to be accepted.
    ///
    /// # Errors
    /// [`TooMany`] if the newcomer has to wait.
    pub fn admit(
        &self,
        user_channel_id: u128,
        newcomer: Newcomer,
        pushed: bool,
        now: Instant,
    ) -> Result<(), TooMany> {
        let Newcomer {
            peer,
            origin,
            has_paid,
        } = newcomer;
        let mut state = self.state();
        if pushed && state.has_too_many_pushed(&newcomer) {
            return Err(TooMany);
        }
        let units = units(pushed);
        let charged = (!has_paid).then_some(origin);
        let taken = state.budget.take(peer, charged, units, now);
        let taken = taken.map_err(|_| TooMany)?;
        let stranger = Stranger {
            peer,
            origin,
            accepted: now,
            pushed,
            taken: Some(taken),
            funding: None,
            closed: false,
        };
        state.channels.insert(user_channel_id, stranger);
        Ok(())
    }

    /// The peer has named the funding output, which should be worth `sat`, and may broadcast the transaction
    /// now. Once more is no harm.
    pub fn pending(
        &self,
        user_channel_id: u128,
        channel_id: ChannelId,
        point: OutPoint,
        sat: Option<u64>,
        now: Instant,
    ) {
        let mut state = self.state();
        if let Some(stranger) = state.channels.get_mut(&user_channel_id)
            && stranger.funding.is_none()
        {
            stranger.funding = Some(Funding::new(channel_id, point, sat, now));
            self.changed.notify_one();
        }
    }

    /// The funding is in the chain.
    pub fn ready(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// The channel is closed. True if its funding, as far as we know, does not exist, and if nothing of it
    /// would be ours. One that `is_watched` is closed as any other.
    pub fn closed(&self, user_channel_id: u128, is_watched: bool, now: Instant) -> bool {
        let mut state = self.state();
        let Some(stranger) = state.channels.get_mut(&user_channel_id) else {
            return false;
        };
        let seen = stranger.is_seen();
        let pushed = stranger.pushed;
        let Some(funding) = &mut stranger.funding else {
            state.remove(user_channel_id);
            return false;
        };
        if !pushed && seen {
            state.remove(user_channel_id);
            return false;
        }
        if !pushed && is_watched {
            // What it took of the budget is not given back.
            state.channels.remove(&user_channel_id);
            return false;
        }
        // If there is money for us, it has to be known soon whether the funding exists.
        funding.look_now(now);
        stranger.accepted = now;
        stranger.closed = true;
        self.changed.notify_one();
        !pushed
    }

    /// LDK did not accept it, or it was closed before the peer named a funding transaction.
    pub fn withdraw(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// Whether this is the funding output of a stranger's channel in which nothing is ours, and bitcoind does
    /// not know it.
    pub fn is_unseen(&self, point: &OutPoint) -> bool {
        self.state().unseen(point) == Some(Unseen::Worthless)
    }

    /// Whether this is the funding output of any stranger's channel, and bitcoind does not know it.
    pub fn has_named(&self, point: &OutPoint) -> bool {
        self.state().unseen(point).is_some()
    }

    /// The channel whose funding output this input spends, if bitcoind does not know that output. The outpoint
    /// alone says nothing: the stranger named it, and it may be an output that our claims spend.
    pub fn unseen_spent_by(&self, input: &TxIn) -> Option<Unseen> {
        funding_script(input)?;
        self.state().unseen(&input.previous_output)
    }

    /// Whether a stranger opened the channel and bitcoind does not know its funding: it has cost its peer
    /// nothing yet.
    pub fn is_stranger(&self, channel: &ChannelDetails) -> bool {
        let state = self.state();
        let stranger = state.channels.get(&channel.user_channel_id);
        stranger.is_some_and(|stranger| !stranger.is_seen())
    }

    /// The fundings that bitcoind should be asked for now.
    pub fn to_look_for(&self, now: Instant) -> Vec<Sought> {
        let state = self.state();
        let crowded = state.is_crowded();
        let due = state.sought().filter_map(|(id, stranger, funding)| {
            (funding.next_look(crowded) <= now).then_some(Sought {
                user_channel_id: id,
                channel_id: funding.channel_id,
                point: funding.point,
                sat: funding.sat,
                closed: stranger.closed,
            })
        });
        due.collect()
    }

    /// When bitcoind should be asked next.
    pub fn next_look(&self) -> Option<Instant> {
        let state = self.state();
        let crowded = state.is_crowded();
        let looks = state.sought();
        let looks = looks.map(|(.., funding)| funding.next_look(crowded));
        looks.min()
    }

    /// What bitcoind has said. True if it knows the funding and did not know it before.
    pub fn looked(&self, user_channel_id: u128, found: Found, now: Instant) -> bool {
        let mut state = self.state();
        let Some(stranger) = state.channels.get_mut(&user_channel_id) else {
            return false;
        };
        let is_new = now.saturating_duration_since(stranger.accepted) < LOOK_AGAIN_LATER;
        let Some(funding) = &mut stranger.funding else {
            return false;
        };
        let was_seen = funding.seen;
        funding.looked(found, is_new, now);
        let seen = funding.seen;
        if seen && let Some(taken) = stranger.taken.take() {
            state.budget.give_back(taken);
        } else if was_seen && !seen {
            state.charge(user_channel_id, now);
        }
        if found == Found::Confirmed {
            state.forget_if_closed(user_channel_id);
        }
        seen && !was_seen
    }

    /// Channels that are closed and whose monitors may be forgotten.
    pub fn closed_channels(&self) -> Vec<ChannelId> {
        let state = self.state();
        let closed = state.channels.values();
        let closed = closed.filter(|one| one.closed && !one.pushed);
        let fundings = closed.filter_map(|one| one.funding);
        fundings.map(|funding| funding.channel_id).collect()
    }

    /// These channels have no monitor any more, or one that waits for no funding.
    pub fn forget(&self, gone: &[ChannelId]) {
        self.state().channels.retain(|_, stranger| {
            let funding = stranger.funding.filter(|_| stranger.closed);
            !funding.is_some_and(|funding| gone.contains(&funding.channel_id))
        });
    }

    /// As if all channels had been accepted earlier.
    #[cfg(test)]
    pub fn age(&self, by: Duration) {
        for stranger in self.state().channels.values_mut() {
            stranger.accepted -= by;
        }
    }

    /// Waits until there is a funding to look for, or a monitor to forget.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Ignores poisoning: no holder of this lock can panic in the middle of a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The fundings that bitcoind is asked for, now or later: those of open channels, and of closed ones with
    /// money for us.
    fn sought(&self) -> impl Iterator<Item = (u128, &Stranger, &Funding)> {
        let channels = self.channels.iter();
        let wanted = channels.filter(|(_, one)| !one.closed || one.pushed);
        wanted.filter_map(|(id, one)| Some((*id, one, one.funding.as_ref()?)))
    }

    fn is_crowded(&self) -> bool {
        let open = self.channels.values().filter(|one| !one.closed);
        open.filter(|one| !one.is_seen()).count() >= CROWD
    }

    fn unseen(&self, point: &OutPoint) -> Option<Unseen> {
        let has_named = |stranger: &&Stranger| {
            let funding = stranger.funding.filter(|funding| !funding.seen);
            funding.is_some_and(|funding| funding.point == *point)
        };
        let stranger = self.channels.values().find(has_named)?;
        Some(if stranger.pushed {
            Unseen::Pushed
        } else {
            Unseen::Worthless
        })
    }

    fn has_too_many_pushed(&self, newcomer: &Newcomer) -> bool {
        let channels = self.channels.values();
        let pushed = channels.filter(|one| one.pushed && !one.is_seen());
        if newcomer.has_paid {
            let own = pushed.filter(|one| one.peer == newcomer.peer);
            return own.count() >= MAX_PUSHED_OF_PEER;
        }
        pushed.count() >= MAX_PUSHED
    }

    /// The funding of this channel is gone: it counts again, if its peer has anything left.
    fn charge(&mut self, user_channel_id: u128, now: Instant) {
        if let Some(stranger) = self.channels.get_mut(&user_channel_id) {
            let (peer, origin) = (stranger.peer, stranger.origin);
            let units = units(stranger.pushed);
            stranger.taken = self.budget.take(peer, Some(origin), units, now).ok();
        }
    }

    fn forget_if_closed(&mut self, user_channel_id: u128) {
        let channel = self.channels.get(&user_channel_id);
        if channel.is_some_and(|channel| channel.closed) {
            self.remove(user_channel_id);
        }
    }

    fn remove(&mut self, user_channel_id: u128) {
        let removed = self.channels.remove(&user_channel_id);
        if let Some(taken) = removed.and_then(|stranger| stranger.taken) {
            self.budget.give_back(taken);
        }
    }
}

fn units(pushed: bool) -> u32 {
    if pushed { UNITS_IF_PUSHED } else { 1 }
}

/// Whether LDK counts the channel as one that has cost the peer nothing.
fn is_unfunded(channel: &ChannelDetails) -> bool {
    !channel.is_outbound
        && channel.confirmations.unwrap_or(0) == 0
        && channel.confirmations_required != Some(0)
}

#[cfg(test)]
mod tests;
