//! The channels over which a payment's attempts failed, and when they are retried.
//!
//! A channel that fails temporarily may lack liquidity for the amount, or be down for a second
//! while a peer restarts. LDK does not distinguish the two, and its scorer takes hours to forget.
//! So smaller parts are tried at once (`routing::split`), and the channel is retried with any
//! amount after a pause that doubles with each failure.

use std::time::{Duration, Instant};

use crate::routing::FailedChannel;

/// The first pause between a channel's failure and a retry with any amount. It doubles each time,
/// up to [`LONGEST_REST`].
pub(super) const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(16);
/// A channel that fails again after this many pauses is probably down rather than short of
/// liquidity, so no smaller parts are tried.
const RESTS_WITH_SMALLER_PARTS: u32 = 4;

/// The channels that failed during a payment.
#[derive(Default)]
pub(super) struct FailedChannels(Vec<Resting>);

struct Resting {
    /// The failure that applies during the pause.
    failed: FailedChannel,
    /// Pauses before this one.
    rests: u32,
    until: Instant,
}

impl FailedChannels {
    /// Records a failed attempt over this channel.
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

    /// The channels that are currently pausing.
    pub(super) fn resting(&self, now: Instant) -> Vec<FailedChannel> {
        let resting = self.0.iter().filter(|channel| channel.until > now);
        resting.map(|channel| channel.failed).collect()
    }

    /// The time until the next retry of a temporarily failed channel with any amount; `None` if
    /// none is pausing.
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

    /// Records the failure of a smaller part. Before the first pause, even smaller ones are tried;
    /// later none.
    fn note_smaller(&mut self, failed: FailedChannel) {
        self.failed.is_temporary = failed.is_temporary;
        if failed.from_msat < self.failed.from_msat {
            self.failed.from_msat = match self.rests {
                0 => failed.from_msat,
                _ => 0,
            };
        }
    }

    /// The smallest amount considered to fail, after an amount of this size failed following a
    /// pause. One smaller size is tried at once: half of it after the first pause, a quarter after
    /// the second. A channel that stays down thus gets few HTLCs, and one with little liquidity
    /// left is still found.
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

    /// The current lower limit of failing amounts; `None` after the pause.
    fn limit(channels: &FailedChannels, now: Instant) -> Option<u64> {
        channels
            .resting(now)
            .first()
            .map(|channel| channel.from_msat)
    }

    #[test]
    fn tries_smaller_parts_immediately() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        for amount in [AMOUNT, AMOUNT / 2, AMOUNT / 4, AMOUNT / 2] {
            channels.note(temporary(1, amount), start);
        }
        assert_eq!(limit(&channels, start), Some(AMOUNT / 4));
    }

    #[test]
    fn retries_any_amount_after_a_pause() {
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
    fn finds_channels_with_reduced_liquidity() {
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
    fn channels_pause_independently() {
        let (mut channels, start) = (FailedChannels::default(), Instant::now());
        channels.note(temporary(1, AMOUNT), start);
        channels.note(temporary(2, AMOUNT), start + secs(0.4));
        let later = start + secs(0.6);
        assert_eq!(channels.resting(later), [temporary(2, AMOUNT)]);
        assert_eq!(channels.next_try(later), Some(secs(0.3)));
    }

    #[test]
    fn permanent_failures_are_not_retried() {
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
    fn failed_nodes_get_no_htlcs_during_the_pause() {
        let (mut channels, mut now) = (FailedChannels::default(), Instant::now());
        for _ in 0..3 {
            channels.note(temporary(1, 0), now);
            assert_eq!(limit(&channels, now), Some(0));
            now += channels.next_try(now).unwrap();
            assert_eq!(limit(&channels, now), None);
        }
    }

    proptest! {
        /// A sender that halves amounts like `routing::split`, with a channel that stays down
        /// during the whole payment.
        #[test]
        fn dead_channels_get_few_htlcs(
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
            // After each pause the whole amount was tried.
            prop_assert!(htlcs >= rests.len() as u64);
            prop_assert!(rests.len() as u64 > 3 * minutes);
        }
    }
}
