//! Extra timer ticks for LDK while many completed payments wait to be removed.
//!
//! A fulfilled payment stays in the manager until the eighth timer tick after its completion, and every
//! commit writes the whole manager. At 300 payments/s and LDK's pace of one tick per minute, the manager
//! would grow to 10 MB and a payment would become ten times as expensive.
//!
//! LDK also counts other timeouts in ticks: a missing response from a peer until we disconnect (2), a
//! closing negotiation until we force-close (2), an incomplete MPP payment until it is failed back (3;
//! BOLT 4 requires 60 s), a disconnected peer until `channel_update` disables the channel (10), the
//! previous fees of a channel until they are no longer accepted (5), and an unanswered `open_channel`
//! until it is dropped (2). So extra ticks happen only while none of these is pending.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lightning::ln::channel_state::{ChannelDetails, ChannelShutdownState};
use lightning::ln::types::ChannelId;
use lightning::util::config::ChannelConfig;
use tokio_util::sync::CancellationToken;

use crate::ldk::ChannelManager;

/// Number of payments in the manager (43 kB) above which extra ticks start.
const EXTRA_TICKS_ABOVE: usize = 500;
/// Number of payments above which ticks happen, at a slower pace, even if other timeouts are pending; but
/// never while previous fees are accepted or an `open_channel` waits.
const FORCED_TICKS_ABOVE: usize = 5_000;
/// How often to check for work, and the shortest interval of extra ticks. A tick may send `update_fee`, and
/// LDK disconnects a peer that does not answer it within two ticks, so the interval must not be shorter.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Interval of extra ticks if other timeouts are pending.
const SLOW_TICK: Duration = Duration::from_secs(10);
/// Time after which LDK has disabled the channel of a disconnected peer.
const CHANNEL_DISABLED_AFTER: Duration = Duration::from_secs(660);
/// Time after which LDK's own five ticks have passed since a fee change. Until then, forwards at the
/// previous fees are accepted, because other nodes may not know the new ones yet.
const OLD_FEES_PERIOD: Duration = Duration::from_secs(330);
/// How often fees are compared while there are few payments. A change counts from when it is noticed.
const FEE_CHECK_INTERVAL: Duration = Duration::from_secs(60);

/// An HTLC: its channel, whether we offered it, its id.
type Htlc = (ChannelId, bool, u64);

/// Pending operations whose timeouts LDK counts in ticks.
#[derive(Default)]
struct Activity {
    htlcs: HashSet<Htlc>,
    /// Whether a channel is being opened or closed.
    changes: bool,
    /// Channels whose peer is disconnected.
    away: HashSet<ChannelId>,
    /// Whether an `open_channel` from a peer waits for our decision.
    pending_decisions: bool,
    /// The forwarding fees of each channel.
    fees: HashMap<ChannelId, ChannelConfig>,
}

impl Activity {
    fn at(channels: &[ChannelDetails], pending_decisions: bool) -> Self {
        let mut activity = Self {
            pending_decisions,
            ..Self::default()
        };
        for channel in channels {
            let id = channel.channel_id;
            activity
                .fees
                .extend(channel.config.map(|config| (id, config)));
            let inbound = channel.pending_inbound_htlcs.iter();
            activity
                .htlcs
                .extend(inbound.map(|htlc| (id, false, htlc.htlc_id)));
            let outbound = channel.pending_outbound_htlcs.iter();
            // An HTLC without an id has not been sent, so no response is due.
            activity
                .htlcs
                .extend(outbound.filter_map(|htlc| Some((id, true, htlc.htlc_id?))));
            let stays =
                channel.channel_shutdown_state == Some(ChannelShutdownState::NotShuttingDown);
            activity.changes |= !(stays && channel.is_channel_ready);
            if !channel.is_usable {
                activity.away.insert(id);
            }
        }
        activity
    }
}

/// Decides when an extra tick is due.
struct Pace {
    /// HTLCs at the last tick, or at the first check.
    htlcs: Option<HashSet<Htlc>>,
    /// When each peer was first seen disconnected.
    away: HashMap<ChannelId, Instant>,
    /// Fees at the last check, and its time.
    fees: HashMap<ChannelId, ChannelConfig>,
    fees_seen: Option<Instant>,
    /// When a channel's fees last changed.
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

    /// Resets the pace while there are few payments. Returns whether the fees are due for a check.
    fn rest(&mut self, now: Instant) -> bool {
        self.htlcs = None;
        self.away.clear();
        let since = |seen| now.duration_since(seen);
        self.fees_seen
            .is_none_or(|seen| since(seen) >= FEE_CHECK_INTERVAL)
    }

    /// Records the fees, and the time if those of a known channel have changed.
    fn note_fees(&mut self, fees: HashMap<ChannelId, ChannelConfig>, now: Instant) {
        let changed =
            |(id, is): (&ChannelId, &ChannelConfig)| self.fees.get(id).is_some_and(|was| was != is);
        if fees.iter().any(changed) {
            self.fees_changed = Some(now);
        }
        self.fees = fees;
        self.fees_seen = Some(now);
    }

    /// Whether a tick is due, given the number of payments in the manager.
    fn is_due(&mut self, payments: usize, activity: Activity, now: Instant) -> bool {
        let is_calm = self.is_calm(&activity, now);
        self.note_fees(activity.fees, now);
        let changed = self.fees_changed;
        let takes_old_fees = changed.is_some_and(|at| now.duration_since(at) < OLD_FEES_PERIOD);
        let too_many =
            payments > FORCED_TICKS_ABOVE && now.duration_since(self.last_tick) >= SLOW_TICK;
        let is_due = (is_calm || too_many) && !takes_old_fees && !activity.pending_decisions;
        if is_due {
            self.last_tick = now;
        }
        if is_due || self.htlcs.is_none() {
            self.htlcs = Some(activity.htlcs);
        }
        is_due
    }

    /// Whether ticks affect nothing but completed payments: no HTLC is left from the last tick, so no
    /// response from a peer is overdue and no MPP part waits for the others.
    fn is_calm(&mut self, activity: &Activity, now: Instant) -> bool {
        self.away
            .retain(|channel, _| activity.away.contains(channel));
        for channel in &activity.away {
            self.away.entry(*channel).or_insert(now);
        }
        let mut away = self.away.values();
        let went_away = away.any(|since| now.duration_since(*since) < CHANNEL_DISABLED_AFTER);
        let moves = |last: &HashSet<Htlc>| last.is_disjoint(&activity.htlcs);
        !activity.changes && !went_away && self.htlcs.as_ref().is_some_and(moves)
    }
}

/// Ticks when due until `stop` is cancelled. `pending_decisions` returns whether an `open_channel` of a
/// peer waits for our decision, which LDK does not list.
pub(super) async fn run(
    manager: Arc<ChannelManager>,
    pending_decisions: impl Fn() -> bool + Send,
    stop: CancellationToken,
) {
    let mut checks = tokio::time::interval(POLL_INTERVAL);
    let mut pace = Pace::new(Instant::now());
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = checks.tick() => {}
        }
        let (payments, now) = (manager.list_recent_payments().len(), Instant::now());
        if payments > EXTRA_TICKS_ABOVE {
            let activity = Activity::at(&manager.list_channels(), pending_decisions());
            if pace.is_due(payments, activity, now) {
                manager.timer_tick_occurred();
            }
        } else if pace.rest(now) {
            let activity = Activity::at(&manager.list_channels(), false);
            pace.note_fees(activity.fees, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn with_htlcs(ids: &[u64]) -> Activity {
        Activity {
            htlcs: ids.iter().map(|id| (CHANNEL, true, *id)).collect(),
            ..Activity::default()
        }
    }

    /// The ticks that result from checks at [`POLL_INTERVAL`].
    fn ticks(payments: usize, checks: Vec<Activity>) -> Vec<bool> {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        let ticks = checks.into_iter().map(|activity| {
            now += POLL_INTERVAL;
            pace.is_due(payments, activity, now)
        });
        ticks.collect()
    }

    #[test]
    fn ticks_at_each_check_while_htlcs_keep_moving() {
        let checks = vec![with_htlcs(&[1, 2]), with_htlcs(&[3]), with_htlcs(&[4, 5])];
        assert_eq!(ticks(EXTRA_TICKS_ABOVE + 1, checks), [false, true, true]);
    }

    #[test]
    fn lingering_htlc_pauses_ticks() {
        let checks = [vec![1], vec![1, 2], vec![1, 3], vec![4]];
        let checks = checks.iter().map(|ids| with_htlcs(ids)).collect();
        assert_eq!(
            ticks(EXTRA_TICKS_ABOVE + 1, checks),
            [false, false, false, true]
        );
    }

    #[test]
    fn opening_or_closing_channel_pauses_ticks() {
        let changes = || Activity {
            changes: true,
            ..Activity::default()
        };
        let checks = vec![
            Activity::default(),
            changes(),
            changes(),
            Activity::default(),
        ];
        assert_eq!(
            ticks(EXTRA_TICKS_ABOVE + 1, checks),
            [false, false, false, true]
        );
    }

    #[test]
    fn disconnected_peer_pauses_ticks_until_its_channel_is_disabled() {
        let away = || Activity {
            away: [CHANNEL].into(),
            ..Activity::default()
        };
        let checks = CHANNEL_DISABLED_AFTER.as_secs() / POLL_INTERVAL.as_secs() + 2;
        let ticks = ticks(EXTRA_TICKS_ABOVE + 1, (0..checks).map(|_| away()).collect());
        assert_eq!(
            ticks.iter().filter(|tick| **tick).count(),
            2,
            "the last two"
        );
        assert_eq!(ticks.last(), Some(&true));
    }

    fn charging(base_msat: u32) -> Activity {
        let config = ChannelConfig {
            forwarding_fee_base_msat: base_msat,
            ..ChannelConfig::default()
        };
        Activity {
            fees: [(CHANNEL, config)].into(),
            ..Activity::default()
        }
    }

    #[test]
    fn fee_change_pauses_ticks_while_previous_fees_are_accepted() {
        let checks = OLD_FEES_PERIOD.as_secs() / POLL_INTERVAL.as_secs() + 4;
        for payments in [EXTRA_TICKS_ABOVE + 1, FORCED_TICKS_ABOVE + 1] {
            let fees = |n| charging(if n < 2 { 1_000 } else { 2_000 });
            let ticks = ticks(payments, (0..checks).map(fees).collect());
            let ticked = (0..).zip(ticks).filter(|(_, tick)| *tick);
            let ticked: Vec<u64> = ticked.map(|(n, _)| n).collect();
            assert_eq!(ticked, [1, checks - 2, checks - 1], "{payments} payments");
        }
    }

    #[test]
    fn fee_change_with_few_payments_counts_from_its_detection() {
        let now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.rest(now));
        pace.note_fees(charging(1_000).fees, now);
        assert!(!pace.rest(now + POLL_INTERVAL));
        assert!(pace.rest(now + FEE_CHECK_INTERVAL));
        pace.note_fees(charging(2_000).fees, now + FEE_CHECK_INTERVAL);
        let soon = now + FEE_CHECK_INTERVAL + POLL_INTERVAL;
        assert!(!pace.is_due(FORCED_TICKS_ABOVE + 1, charging(2_000), soon));
        let later = now + FEE_CHECK_INTERVAL + OLD_FEES_PERIOD;
        assert!(pace.is_due(FORCED_TICKS_ABOVE + 1, charging(2_000), later));
    }

    #[test]
    fn pending_open_channel_pauses_ticks() {
        let waits = |pending_decisions| Activity {
            pending_decisions,
            ..Activity::default()
        };
        for payments in [EXTRA_TICKS_ABOVE + 1, FORCED_TICKS_ABOVE + 1] {
            let checks = [false, true, true, true, true, true, true, false];
            let ticks = ticks(payments, checks.into_iter().map(waits).collect());
            let ticked = ticks.iter().filter(|tick| **tick).count();
            assert_eq!((ticked, ticks.last()), (1, Some(&true)), "{payments}");
        }
    }

    #[test]
    fn too_many_payments_tick_every_ten_seconds_regardless() {
        let checks = (0..20).map(|_| with_htlcs(&[1])).collect();
        let ticks = ticks(FORCED_TICKS_ABOVE + 1, checks);
        assert_eq!(ticks.iter().filter(|tick| **tick).count(), 2);
    }
}
