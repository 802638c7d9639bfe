//! The channels over which attempts of a payment failed, and when they are tried again.
//!
//! A channel that fails temporarily may lack the liquidity for the amount, or be down for a second
//! while a peer restarts. LDK does not tell one from the other, and its scorer forgets in hours. So
//! smaller parts are tried at once (`routing::split`); and after a pause, which doubles from failure
//! to failure, the channel is tried with any amount again.

use std::time::{Duration, Instant};

use super::outbound::FailedChannel;

/// From a channel's failure until it is tried again with any amount. It is doubled each time, up to
/// the longest.
pub(super) const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(16);
/// After so many rests a channel that fails again is down rather than short of liquidity: smaller
/// parts are not tried any more.
const RESTS_WITH_SMALLER_PARTS: u32 = 4;

/// What a payment remembers of them.
#[derive(Default)]
pub(super) struct FailedChannels(Vec<Resting>);

struct Resting {
    /// While it rests.
    failed: FailedChannel,
    /// Rests before this one.
    rests: u32,
    until: Instant,
}

impl FailedChannels {
    /// An attempt has failed over this channel.
    pub(super) fn note(&mut self, failed: FailedChannel, now: Instant) {
        let known = self.0.iter_mut().find(|c| c.failed.scid == failed.scid);
        match known {
            Some(channel) => channel.note(failed, now),
            None => self.0.push(Resting {
                failed,
                rests: 0,
                until: now + rest(0),
            }),
        }
    }

    /// Those that carry nothing, or less, at this moment.
    pub(super) fn resting(&self, now: Instant) -> Vec<FailedChannel> {
        let resting = self.0.iter().filter(|channel| channel.until > now);
        resting.map(|channel| channel.failed).collect()
    }

    /// How long until a channel that failed temporarily is tried again with any amount; none if none
    /// rests.
    pub(super) fn next_try(&self, now: Instant) -> Option<Duration> {
        let resting = self.0.iter().filter(|channel| channel.until > now);
        let temporary = resting.filter(|channel| channel.failed.is_temporary);
        temporary.map(|channel| channel.until - now).min()
    }
}

impl Resting {
    fn note(&mut self, failed: FailedChannel, now: Instant) {
        if self.until > now {
            self.note_smaller(failed);
        } else {
            self.rests = self.rests.saturating_add(1);
            self.failed = FailedChannel {
                from_msat: self.least_that_fails(failed.from_msat),
                ..failed
            };
        }
        self.until = self.until.max(now + rest(self.rests));
    }

    /// A smaller part failed, too. The first time yet smaller ones are tried, later it rests.
    fn note_smaller(&mut self, failed: FailedChannel) {
        self.failed.is_temporary = failed.is_temporary;
        if failed.from_msat < self.failed.from_msat {
            self.failed.from_msat = match self.rests {
                0 => failed.from_msat,
                _ => 0,
            };
        }
    }

    /// An amount of this size failed after a rest. One smaller size is tried at once: half of it after
    /// the first rest, a quarter after the second. So a channel that stays down gets a few HTLCs from
    /// time to time, and one that came back with little liquidity is found out.
    fn least_that_fails(&self, failed_msat: u64) -> u64 {
        match (failed_msat, self.rests) {
            (0, _) => 0,
            (_, rests) if rests > RESTS_WITH_SMALLER_PARTS => 0,
            (msat, rests) => (msat >> rests).saturating_add(1),
        }
    }
}

fn rest(rests: u32) -> Duration {
    let doubled = 2u32.saturating_pow(rests);
    FIRST_REST.saturating_mul(doubled).min(LONGEST_REST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AMOUNT: u64 = 160_000_000;

    fn temporary(scid: u64, from_msat: u64) -> FailedChannel {
        FailedChannel {
            scid,
            from_msat,
            is_temporary: true,
        }
    }

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// What fails until it rests.
    fn limit(channels: &FailedChannels, now: Instant) -> Option<u64> {
        channels
            .resting(now)
            .first()
            .map(|channel| channel.from_msat)
    }

    #[test]
    fn at_first_smaller_parts_are_tried_at_once() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        for amount in [AMOUNT, AMOUNT / 2, AMOUNT / 4, AMOUNT / 2] {
            channels.note(temporary(1, amount), start);
        }
        assert_eq!(limit(&channels, start), Some(AMOUNT / 4));
    }

    #[test]
    fn after_a_rest_any_amount_is_tried_again() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        channels.note(temporary(1, AMOUNT), start);
        let smaller = start + secs(0.3);
        channels.note(temporary(1, AMOUNT / 16), smaller);
        assert_eq!(channels.next_try(smaller), Some(FIRST_REST));
        let rested = smaller + FIRST_REST;
        assert!(channels.resting(rested).is_empty());
        assert_eq!(channels.next_try(rested), None);
    }

    #[test]
    fn a_channel_that_came_back_with_less_liquidity_is_found_out() {
        let (mut channels, mut now) = (FailedChannels::default(), Instant::now());
        channels.note(temporary(1, AMOUNT), now);
        for part in [AMOUNT / 2, AMOUNT / 4, AMOUNT / 8, AMOUNT / 16] {
            now += channels.next_try(now).unwrap();
            channels.note(temporary(1, AMOUNT), now);
            assert_eq!(limit(&channels, now), Some(part + 1), "one size passes");
            channels.note(temporary(1, part), now);
            assert_eq!(limit(&channels, now), Some(0));
        }
        now += channels.next_try(now).unwrap();
        channels.note(temporary(1, AMOUNT), now);
        assert_eq!(limit(&channels, now), Some(0));
    }

    #[test]
    fn each_channel_rests_by_itself() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        channels.note(temporary(1, AMOUNT), start);
        channels.note(temporary(2, AMOUNT), start + secs(0.4));
        let later = start + secs(0.6);
        assert_eq!(channels.resting(later), [temporary(2, AMOUNT)]);
        assert_eq!(channels.next_try(later), Some(secs(0.3)));
    }

    #[test]
    fn nothing_is_worth_waiting_for_if_no_failure_was_temporary() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        let permanent = FailedChannel {
            is_temporary: false,
            ..temporary(1, 0)
        };
        channels.note(permanent, start);
        assert_eq!(channels.next_try(start), None);
        assert_eq!(channels.resting(start), [permanent]);
    }

    #[test]
    fn a_node_that_failed_temporarily_gets_nothing_until_it_has_rested() {
        let (mut channels, mut now) = (FailedChannels::default(), Instant::now());
        for _ in 0..3 {
            channels.note(temporary(1, 0), now);
            assert_eq!(limit(&channels, now), Some(0));
            now += channels.next_try(now).unwrap();
            assert_eq!(limit(&channels, now), None);
        }
    }

    proptest! {
        /// A payer that halves as the split does, against a channel that stays down for as long as
        /// the payment has time.
        #[test]
        fn a_channel_that_stays_down_gets_few_htlcs_ever_more_slowly(
            amount in 1_000_000u64..2_000_000_000, minutes in 1u64..60,
        ) {
            const LEAST: u64 = 10_000_000;
            let (mut channels, start) = (FailedChannels::default(), Instant::now());
            let (mut now, mut htlcs, mut rests) = (start, 0u64, Vec::new());
            while now < start + Duration::from_secs(60 * minutes) {
                let sizes = std::iter::successors(Some(amount), |size| Some(size / 2));
                let mut sizes = sizes.take_while(|size| *size == amount || *size >= LEAST);
                let limit = limit(&channels, now).unwrap_or(u64::MAX);
                let parts_of = |size: u64| amount.div_ceil(size);
                match sizes.find(|size| *size < limit && parts_of(*size) <= 16) {
                    Some(size) => {
                        for _ in 0..parts_of(size) {
                            channels.note(temporary(1, size), now);
                            htlcs += 1;
                        }
                    }
                    None => {
                        let rest = channels.next_try(now).unwrap();
                        rests.push(rest);
                        now += rest;
                    }
                }
            }
            prop_assert!(rests.is_sorted());
            prop_assert!(htlcs < 80 + 4 * minutes, "{} HTLCs", htlcs);
            // It was tried with all of the amount after each of them.
            prop_assert!(htlcs >= rests.len() as u64);
            prop_assert!(rests.len() as u64 > 3 * minutes);
        }
    }
}
