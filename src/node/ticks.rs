//! LDK's minute tick, faster while many payments that have ended wait for it.
//!
//! A fulfilled payment stays in the manager until the eighth tick after it, and the manager is written
//! whole, in each commit: at 300 payments/s and LDK's pace of a tick a minute it would grow to 10 MB,
//! and each payment would cost ten times of what the first ones cost.
//!
//! LDK counts other things in ticks, too: how long a peer may owe us an answer until we hang up (2), a
//! closing negotiation until we close by force (2), an incomplete payment in parts until it goes back
//! (3; BOLT 4 asks for 60 s), a peer that is away until the network is told (10), the old fees of a channel
//! until they are no longer taken (5), a peer's request for a channel until it is dropped (2). So we tick
//! every other second only while nothing of that is under way: then ticks count nothing but ended payments.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;
use lightning::util::config::ChannelConfig;
use tokio_util::sync::CancellationToken;

use crate::ldk::ChannelManager;

/// Up to so many payments (43 kB) LDK's own ticks do.
const MANY: usize = 500;
/// Beyond so many we tick also if something is under way, but not as fast; never while old fees are taken
/// or a request for a channel waits.
const TOO_MANY: usize = 5_000;
/// Between two looks, and two ticks if nothing is under way.
const LOOK: Duration = Duration::from_secs(2);
/// Between two ticks if something is.
const SLOW_TICK: Duration = Duration::from_secs(10);
/// LDK has told the network by then that a channel's peer is away.
const LONG_AWAY: Duration = Duration::from_secs(660);
/// After a change of a channel's fees LDK's own five ticks have passed by then: until then forwards at the
/// old fees are taken, as others do not know the new ones yet.
const OLD_FEES: Duration = Duration::from_secs(330);
/// While there are few payments the fees are looked at so often. A change counts from when it is seen.
const FEE_LOOK: Duration = Duration::from_secs(60);

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
    /// A peer waits for an answer to its request for a channel.
    undecided: bool,
    /// What each channel charges for forwards.
    fees: HashMap<ChannelId, ChannelConfig>,
}

impl Look {
    fn at(channels: &[ChannelDetails], undecided: bool) -> Self {
        let mut look = Self {
            undecided,
            ..Self::default()
        };
        for channel in channels {
            let id = channel.channel_id;
            look.fees.extend(channel.config.map(|config| (id, config)));
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
    /// Of the last look, and when it was.
    fees: HashMap<ChannelId, ChannelConfig>,
    fees_seen: Option<Instant>,
    /// When fees of a channel changed last.
    fees_changed: Option<Instant>,
    last_tick: Instant,
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            htlcs: None,
            away: HashMap::new(),
            fees: HashMap::new(),
            fees_seen: None,
            fees_changed: None,
            last_tick: now,
        }
    }

    /// There are few payments. Returns whether the channels' fees are to be looked at nevertheless.
    fn rest(&mut self, now: Instant) -> bool {
        self.htlcs = None;
        self.away.clear();
        let since = |seen| now.duration_since(seen);
        self.fees_seen.is_none_or(|seen| since(seen) >= FEE_LOOK)
    }

    /// Notes whether a channel that was there before has other fees now.
    fn note_fees(&mut self, fees: HashMap<ChannelId, ChannelConfig>, now: Instant) {
        let changed =
            |(id, is): (&ChannelId, &ChannelConfig)| self.fees.get(id).is_some_and(|was| was != is);
        if fees.iter().any(changed) {
            self.fees_changed = Some(now);
        }
        self.fees = fees;
        self.fees_seen = Some(now);
    }

    /// Whether it is time for a tick with so many payments in the manager.
    fn is_due(&mut self, payments: usize, look: Look, now: Instant) -> bool {
        let is_calm = self.is_calm(&look, now);
        self.htlcs = Some(look.htlcs);
        self.note_fees(look.fees, now);
        let changed = self.fees_changed;
        let takes_old_fees = changed.is_some_and(|at| now.duration_since(at) < OLD_FEES);
        if takes_old_fees || look.undecided {
            return false;
        }
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

/// Looks and ticks until `stop`. `undecided` says whether a peer waits for an answer to its request for a
/// channel, which LDK does not list.
pub(super) async fn run(
    manager: Arc<ChannelManager>,
    undecided: impl Fn() -> bool + Send,
    stop: CancellationToken,
) {
    let mut looks = tokio::time::interval(LOOK);
    let mut pace = Pace::new(Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = looks.tick() => {}
        }
        let (payments, now) = (manager.list_recent_payments().len(), Instant::now());
        if payments > MANY {
            let look = Look::at(&manager.list_channels(), undecided());
            if pace.is_due(payments, look, now) {
                manager.timer_tick_occurred();
            }
        } else if pace.rest(now) {
            let look = Look::at(&manager.list_channels(), false);
            pace.note_fees(look.fees, now);
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

    fn charging(base_msat: u32) -> Look {
        let config = ChannelConfig {
            forwarding_fee_base_msat: base_msat,
            ..ChannelConfig::default()
        };
        Look {
            fees: [(CHANNEL, config)].into(),
            ..Look::default()
        }
    }

    #[test]
    fn a_change_of_fees_stops_all_fast_ticks_while_ldk_takes_the_old_ones() {
        let looks = OLD_FEES.as_secs() / LOOK.as_secs() + 4;
        for payments in [MANY + 1, TOO_MANY + 1] {
            let fees = |n| charging(if n < 2 { 1_000 } else { 2_000 });
            let ticks = ticks(payments, (0..looks).map(fees).collect());
            let ticked = (0..).zip(ticks).filter(|(_, tick)| *tick);
            let ticked: Vec<u64> = ticked.map(|(n, _)| n).collect();
            assert_eq!(ticked, [1, looks - 2, looks - 1], "{payments} payments");
        }
    }

    #[test]
    fn fees_that_change_while_payments_are_few_count_from_when_that_is_seen() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.rest(now));
        pace.note_fees(charging(1_000).fees, now);
        assert!(!pace.rest(now + LOOK));
        assert!(pace.rest(now + FEE_LOOK));
        pace.note_fees(charging(2_000).fees, now + FEE_LOOK);
        let soon = now + FEE_LOOK + LOOK;
        assert!(!pace.is_due(TOO_MANY + 1, charging(2_000), soon));
        let later = now + FEE_LOOK + OLD_FEES;
        assert!(pace.is_due(TOO_MANY + 1, charging(2_000), later));
    }

    #[test]
    fn a_request_for_a_channel_that_waits_stops_all_fast_ticks() {
        let waits = |undecided| Look {
            undecided,
            ..Look::default()
        };
        for payments in [MANY + 1, TOO_MANY + 1] {
            let looks = [false, true, true, true, true, true, true, false];
            let ticks = ticks(payments, looks.into_iter().map(waits).collect());
            let ticked = ticks.iter().filter(|tick| **tick).count();
            assert_eq!((ticked, ticks.last()), (1, Some(&true)), "{payments}");
        }
    }

    #[test]
    fn too_many_payments_make_it_tick_every_ten_seconds_in_any_case() {
        let looks = (0..10).map(|_| with_htlcs(&[1])).collect();
        let ticks = ticks(TOO_MANY + 1, looks);
        assert_eq!(ticks.iter().filter(|tick| **tick).count(), 2);
    }
}
