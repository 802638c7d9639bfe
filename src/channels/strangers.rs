//! Channels of peers whose funding transaction has not been seen: they cost their peer nothing.
//!
//! Anybody can open a channel with a funding transaction that does not exist. LDK keeps such a channel
//! for 2,016 blocks, and takes no channels from newcomers while 50 peers have no other
//! (`MAX_UNFUNDED_CHANNEL_PEERS`). So we bound how many of them are accepted in an hour, close some when
//! LDK's limit comes near, and leave nothing behind of those that are closed.

mod budget;
mod evict;
mod origin;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bitcoin::OutPoint;
use bitcoin::secp256k1::PublicKey;
use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::types::ChannelId;
use tokio::sync::Notify;

use self::budget::{Budget, Taken};
use super::list;

pub use self::evict::{is_near_limit, without_funded_channel};
pub use self::origin::Origin;

/// A channel into which the peer has put money for us: LDK keeps its monitor until the chain has decided,
/// which it never does for a funding that does not exist.
const UNITS_IF_PUSHED: u32 = 3;

/// How soon bitcoind is asked again for the funding of a new channel, and of one that is older than a
/// minute.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
const LOOK_AGAIN_LATER: Duration = Duration::from_secs(60);

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

#[derive(Debug, Clone, Copy)]
struct Funding {
    channel_id: ChannelId,
    point: OutPoint,
    /// When bitcoind is asked for it.
    next_look: Instant,
    /// When bitcoind last said that it does not know it.
    last_look: Option<Instant>,
    seen: bool,
}

impl Stranger {
    fn is_seen(&self) -> bool {
        self.funding.is_some_and(|funding| funding.seen)
    }

    /// Whether bitcoind has said that it does not know the funding, or the peer has named none.
    fn is_known_unseen(&self) -> bool {
        self.funding
            .is_none_or(|funding| !funding.seen && funding.last_look.is_some())
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
/// `user_channel_id`; and closed ones whose funding was never seen, until their monitor is gone.
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
    /// Notes the channels that LDK has at the start.
    pub fn restore(&self, channels: &[ChannelDetails]) {
        let now = Instant::now();
        for channel in channels.iter().filter(|channel| is_unfunded(channel)) {
            let Some(point) = channel.funding_txo else {
                continue;
            };
            let stranger = Stranger {
                peer: channel.counterparty.node_id,
                origin: Origin::new(None),
                accepted: now,
                pushed: list::channel(channel).local_balance_msat() > 0,
                taken: None,
                funding: Some(Funding {
                    channel_id: channel.channel_id,
                    point: point.into_bitcoin_outpoint(),
                    next_look: now,
                    last_look: None,
                    seen: false,
                }),
                closed: false,
            };
            let mut state = self.state();
            state.channels.insert(channel.user_channel_id, stranger);
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
        let units = if pushed { UNITS_IF_PUSHED } else { 1 };
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

    /// The peer has named the funding transaction, and may broadcast it now. Once more is no harm.
    pub fn pending(
        &self,
        user_channel_id: u128,
        channel_id: ChannelId,
        point: OutPoint,
        now: Instant,
    ) {
        let mut state = self.state();
        if let Some(stranger) = state.channels.get_mut(&user_channel_id)
            && stranger.funding.is_none()
        {
            stranger.funding = Some(Funding {
                channel_id,
                point,
                next_look: now,
                last_look: None,
                seen: false,
            });
            self.changed.notify_one();
        }
    }

    /// The funding is in the chain.
    pub fn ready(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// The channel is closed. True if its funding, as far as we know, does not exist, and if nothing of it
    /// would be ours.
    pub fn closed(&self, user_channel_id: u128) -> bool {
        let mut state = self.state();
        let Some(stranger) = state.channels.get_mut(&user_channel_id) else {
            return false;
        };
        if stranger.funding.is_none() || stranger.is_seen() {
            state.remove(user_channel_id);
            return false;
        }
        if stranger.pushed {
            state.channels.remove(&user_channel_id);
            return false;
        }
        stranger.closed = true;
        self.changed.notify_one();
        true
    }

    /// LDK did not accept it, or it was closed before the peer named a funding transaction.
    pub fn withdraw(&self, user_channel_id: u128) {
        self.state().remove(user_channel_id);
    }

    /// Whether this is the funding output of a stranger's channel in which nothing is ours, and bitcoind does
    /// not know it.
    pub fn is_unseen(&self, point: &OutPoint) -> bool {
        let state = self.state();
        state.channels.values().any(|stranger| {
            let funding = stranger.funding.filter(|funding| !funding.seen);
            !stranger.pushed && funding.is_some_and(|funding| funding.point == *point)
        })
    }

    /// The peers whose channels have cost them nothing yet.
    pub fn is_stranger(&self, channel: &ChannelDetails) -> bool {
        let state = self.state();
        let stranger = state.channels.get(&channel.user_channel_id);
        stranger.is_some_and(|stranger| !stranger.is_seen())
    }

    /// The fundings that bitcoind should be asked for now.
    pub fn to_look_for(&self, now: Instant) -> Vec<(u128, OutPoint)> {
        let state = self.state();
        let open = state.channels.iter().filter(|(_, one)| !one.closed);
        let due = open.filter_map(|(id, stranger)| {
            let funding = stranger.funding?;
            (!funding.seen && funding.next_look <= now).then_some((*id, funding.point))
        });
        due.collect()
    }

    /// When bitcoind should be asked next.
    pub fn next_look(&self) -> Option<Instant> {
        let state = self.state();
        let open = state.channels.values().filter(|one| !one.closed);
        let unseen = open.filter_map(|one| one.funding.filter(|funding| !funding.seen));
        unseen.map(|funding| funding.next_look).min()
    }

    /// What bitcoind has said. Returns the channel if it knows the funding.
    pub fn looked(
        &self,
        user_channel_id: u128,
        found: bool,
        now: Instant,
    ) -> Option<(ChannelId, OutPoint)> {
        let mut state = self.state();
        let stranger = state.channels.get_mut(&user_channel_id)?;
        let age = now.saturating_duration_since(stranger.accepted);
        let funding = stranger.funding.as_mut()?;
        funding.last_look = Some(now);
        if !found {
            let is_new = age < LOOK_AGAIN_LATER;
            funding.next_look = now + if is_new { LOOK_AGAIN } else { LOOK_AGAIN_LATER };
            return None;
        }
        funding.seen = true;
        let channel = (funding.channel_id, funding.point);
        if let Some(taken) = stranger.taken.take() {
            state.budget.give_back(taken);
        }
        Some(channel)
    }

    /// Channels that are closed and whose monitors may be forgotten.
    pub fn closed_channels(&self) -> Vec<ChannelId> {
        let state = self.state();
        let closed = state.channels.values().filter(|one| one.closed);
        let fundings = closed.filter_map(|one| one.funding);
        fundings.map(|funding| funding.channel_id).collect()
    }

    /// These channels have no monitor any more.
    pub fn forget(&self, gone: &[ChannelId]) {
        self.state().channels.retain(|_, stranger| {
            let funding = stranger.funding.filter(|_| stranger.closed);
            !funding.is_some_and(|funding| gone.contains(&funding.channel_id))
        });
    }

    /// Waits until there is a funding to look for, or a monitor to forget.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// No code that holds this lock can panic halfway through a change.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn remove(&mut self, user_channel_id: u128) {
        let removed = self.channels.remove(&user_channel_id);
        if let Some(taken) = removed.and_then(|stranger| stranger.taken) {
            self.budget.give_back(taken);
        }
    }
}

/// Whether LDK counts the channel as one that has cost the peer nothing.
fn is_unfunded(channel: &ChannelDetails) -> bool {
    !channel.is_outbound
        && channel.confirmations.unwrap_or(0) == 0
        && channel.confirmations_required != Some(0)
}

#[cfg(test)]
mod tests;
