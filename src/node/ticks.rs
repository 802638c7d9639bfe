//! LDK's minute tick, faster while many payments that have ended wait for it.
//!
//! A fulfilled payment stays in the manager until the eighth tick after it, and the manager is written
//! whole, in each commit: at 300 payments/s and LDK's pace of a tick a minute it would grow to 10 MB,
//! and each payment would cost ten times of what the first ones cost.
//!
//! LDK counts other things in ticks, too: how long a peer may owe us an answer until we hang up (2), a
//! closing negotiation until we close by force (2), an incomplete payment in parts until it goes back
//! (3; BOLT 4 asks for 60 s), a peer that is away until the network is told (10). So we tick every other
//! second only while nothing of that is under way: then ticks count nothing but ended payments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;
use tokio_util::sync::CancellationToken;

use crate::ldk::ChannelManager;

/// Up to so many payments (43 kB) LDK's own ticks do.
const MANY: usize = 500;
/// Beyond so many we tick also if something is under way, but not as fast.
const TOO_MANY: usize = 5_000;
/// Between two looks, and two ticks if nothing is under way.
const LOOK: Duration = Duration::from_secs(2);
/// Between two ticks if something is.
const SLOW_TICK: Duration = Duration::from_secs(10);
/// LDK has told the network by then that a channel's peer is away.
const LONG_AWAY: Duration = Duration::from_secs(660);

/// An HTLC: its channel, whether we offered it, its number.
type Htlc = (ChannelId, bool, u64);

/// What is under way at one moment.
#[derive(Default)]
struct Look {
    htlcs: HashSet<Htlc>,
    /// A channel is being opened or closed.
    changes: bool,
    /// Channels whose peer is not there.
    away: HashSet<ChannelId>,
}

impl Look {
    fn at(channels: &[ChannelDetails]) -> Self {
        let mut look = Self::default();
        for channel in channels {
            let id = channel.channel_id;
            let inbound = channel.pending_inbound_htlcs.iter();
            look.htlcs
                .extend(inbound.map(|htlc| (id, false, htlc.htlc_id)));
            let outbound = channel.pending_outbound_htlcs.iter();
            // One without a number was not sent yet: nobody owes us anything for it.
            look.htlcs
                .extend(outbound.filter_map(|htlc| Some((id, true, htlc.htlc_id?))));
            let stays =
                channel.channel_shutdown_state == Some(ChannelShutdownState::NotShuttingDown);
            look.changes |= !(stays && channel.is_channel_ready);
            if !channel.is_usable {
                look.away.insert(id);
            }
        }
        look
    }
}

/// When to tick.
struct Pace {
    /// Of the last look.
    htlcs: Option<HashSet<Htlc>>,
    /// Since when.
    away: HashMap<ChannelId, Instant>,
    last_tick: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            htlcs: None,
            away: HashMap::new(),
            last_tick: now,
        }
    }

    /// There is no reason to look.
    fn rest(&mut self) {
        self.htlcs = None;
        self.away.clear();
    }

    /// Whether it is time for a tick with so many payments in the manager.
    fn is_due(&mut self, payments: usize, look: Look, now: Instant) -> bool {
        let is_calm = self.is_calm(&look, now);
        self.htlcs = Some(look.htlcs);
        let too_many = payments > TOO_MANY && now.duration_since(self.last_tick) >= SLOW_TICK;
        if is_calm || too_many {
            self.last_tick = now;
        }
        is_calm || too_many
    }

    /// Whether ticks count nothing but ended payments: no HTLC stands since the last look, so no peer
    /// owes us an answer for as long and no part of a payment waits for the others.
    fn is_calm(&mut self, look: &Look, now: Instant) -> bool {
        self.away.retain(|channel, _| look.away.contains(channel));
        for channel in &look.away {
            self.away.entry(*channel).or_insert(now);
        }
        let mut away = self.away.values();
        let went_away = away.any(|since| now.duration_since(*since) < LONG_AWAY);
        let moves = |last: &HashSet<Htlc>| last.is_disjoint(&look.htlcs);
        !look.changes && !went_away && self.htlcs.as_ref().is_some_and(moves)
    }
}

/// Looks and ticks until `stop`.
pub(super) async fn run(manager: Arc<ChannelManager>, stop: CancellationToken) {
    let mut looks = tokio::time::interval(LOOK);
    let mut pace = Pace::new(Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let payments = manager.list_recent_payments().len();
        if payments <= MANY {
            pace.rest();
            continue;
        }
        let look = Look::at(&manager.list_channels());
        if pace.is_due(payments, look, Instant::now()) {
            manager.timer_tick_occurred();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn with_htlcs(ids: &[u64]) -> Look {
        Look {
            htlcs: ids.iter().map(|id| (CHANNEL, true, *id)).collect(),
            ..Look::default()
        }
    }

    /// What comes of looks two seconds apart.
    fn ticks(payments: usize, looks: Vec<Look>) -> Vec<bool> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let ticks = looks.into_iter().map(|look| {
            now += LOOK;
            pace.is_due(payments, look, now)
        });
        ticks.collect()
    }

    #[test]
    fn ticks_at_each_look_while_all_htlcs_move() {
        let looks = vec![with_htlcs(&[1, 2]), with_htlcs(&[3]), with_htlcs(&[4, 5])];
        assert_eq!(ticks(MANY + 1, looks), [false, true, true]);
    }

    #[test]
    fn an_htlc_that_stands_stops_the_ticks_until_it_is_gone() {
        let looks = [vec![1], vec![1, 2], vec![1, 3], vec![4]];
        let looks = looks.iter().map(|ids| with_htlcs(ids)).collect();
        assert_eq!(ticks(MANY + 1, looks), [false, false, false, true]);
    }

    #[test]
    fn a_channel_that_opens_or_closes_stops_the_ticks() {
        let changes = || Look {
            changes: true,
            ..Look::default()
        };
        let looks = vec![Look::default(), changes(), changes(), Look::default()];
        assert_eq!(ticks(MANY + 1, looks), [false, false, false, true]);
    }

    #[test]
    fn a_peer_that_goes_away_stops_the_ticks_until_the_network_was_told() {
        let away = || Look {
            away: [CHANNEL].into(),
            ..Look::default()
        };
        let looks = LONG_AWAY.as_secs() / LOOK.as_secs() + 2;
        let ticks = ticks(MANY + 1, (0..looks).map(|_| away()).collect());
        assert_eq!(
            ticks.iter().filter(|tick| **tick).count(),
            2,
            "the last two"
        );
        assert_eq!(ticks.last(), Some(&true));
    }

    #[test]
    fn too_many_payments_make_it_tick_every_ten_seconds_in_any_case() {
        let looks = (0..10).map(|_| with_htlcs(&[1])).collect();
        let ticks = ticks(TOO_MANY + 1, looks);
        assert_eq!(ticks.iter().filter(|tick| **tick).count(), 2);
    }
}
