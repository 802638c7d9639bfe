//! Limits on inbound channels whose funding transaction has not been seen.

use std::net::IpAddr;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use bitcoin::{Amount, TxOut, Txid};

use super::funding::{LOOK_AGAIN, LOOK_AGAIN_IF_SEEN, MAX_ANSWER_AGE};
use super::*;
use crate::chain::UnspentOutput;
use crate::channels::funding_spends::test_data::{redeem_script, witness};

pub(super) fn peer(number: u32) -> PublicKey {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    let key = SecretKey::from_slice(&key).unwrap();
    key.public_key(&Secp256k1::new())
}

pub(super) fn origin(address: &str) -> Origin {
    let address: IpAddr = address.parse().unwrap();
    Origin::new(Some(address))
}

const SAT: u64 = 100_000;

fn point(number: u8) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), 0)
}

fn newcomer(number: u32) -> Newcomer {
    Newcomer {
        peer: peer(number),
        origin: origin("203.0.113.1"),
        has_paid: false,
    }
}

/// Adds a channel with this number and a named funding output.
fn funded(strangers: &Strangers, number: u8, pushed: bool, now: Instant) -> u128 {
    let id = number.into();
    let admitted = strangers.admit(id, newcomer(number.into()), pushed, now);
    admitted.unwrap();
    strangers.pending(id, ChannelId([number; 32]), point(number), Some(SAT), now);
    id
}

#[test]
fn closed_unfunded_channel_is_tracked_until_its_monitor_is_removed() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, now);
    assert!(strangers.is_unseen(&point(1)));
    assert!(strangers.closed_channels().is_empty());
    assert!(strangers.closed(id, false, now));
    assert!(strangers.is_unseen(&point(1)));
    assert_eq!(strangers.closed_channels(), [ChannelId([1; 32])]);
    assert!(strangers.to_look_for(now).is_empty());
    strangers.forget(&[ChannelId([1; 32])]);
    assert!(!strangers.is_unseen(&point(1)));
}

#[test]
fn channels_with_known_funding_or_our_funds_close_normally() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    let seen = funded(&strangers, 1, false, now);
    assert!(strangers.looked(seen, Found::Unconfirmed, now));
    assert!(
        !strangers.looked(seen, Found::Unconfirmed, now),
        "reported as newly seen"
    );
    assert!(!strangers.is_unseen(&point(1)) && !strangers.closed(seen, false, now));
    let pushed = funded(&strangers, 2, true, now);
    assert!(!strangers.is_unseen(&point(2)) && !strangers.closed(pushed, false, now));
    let ready = funded(&strangers, 3, false, now);
    strangers.ready(ready);
    assert!(!strangers.is_unseen(&point(3)) && !strangers.closed(ready, false, now));
}

#[test]
fn lookups_become_less_frequent() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, start);
    let sought = Sought {
        user_channel_id: id,
        channel_id: ChannelId([1; 32]),
        point: point(1),
        sat: Some(SAT),
        closed: false,
    };
    assert_eq!(strangers.to_look_for(start), [sought]);
    strangers.looked(id, Found::Nothing, start);
    assert!(strangers.to_look_for(start).is_empty());
    assert_eq!(strangers.next_look(), Some(start + LOOK_AGAIN));
    let late = start + LOOK_AGAIN_LATER;
    strangers.looked(id, Found::Nothing, late);
    assert_eq!(strangers.next_look(), Some(late + LOOK_AGAIN_LATER));
    strangers.looked(id, Found::Unconfirmed, late);
    assert_eq!(strangers.next_look(), Some(late + LOOK_AGAIN_IF_SEEN));
}

#[test]
fn lookups_are_frequent_near_the_limit() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let old = funded(&strangers, 1, false, start);
    let late = start + Duration::from_secs(3_000);
    strangers.looked(old, Found::Nothing, late);
    assert_eq!(strangers.next_look(), Some(late + LOOK_AGAIN_LATER));
    for number in 2..32 {
        let id = number.into();
        let newcomer = Newcomer {
            has_paid: true,
            ..newcomer(number)
        };
        strangers.admit(id, newcomer, false, late).unwrap();
    }
    assert_eq!(strangers.next_look(), Some(late + LOOK_AGAIN));
    assert_eq!(strangers.to_look_for(late + LOOK_AGAIN).len(), 1);
}

#[test]
fn only_channels_with_unknown_funding_use_the_budget() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    for number in 0..100_u128 {
        strangers.admit(number, newcomer(1), false, now).unwrap();
        match number % 3 {
            0 => strangers.withdraw(number),
            1 => {
                strangers.pending(number, ChannelId([1; 32]), point(1), Some(SAT), now);
                strangers.looked(number, Found::Unconfirmed, now);
            }
            _ => strangers.ready(number),
        }
    }
    for number in 100..110 {
        strangers.admit(number, newcomer(1), false, now).unwrap();
        strangers.pending(number, ChannelId([1; 32]), point(1), Some(SAT), now);
        strangers.closed(number, false, now);
    }
    assert_eq!(strangers.admit(200, newcomer(1), false, now), Err(TooMany));
}

#[test]
fn channels_are_not_evicted_without_a_recent_lookup() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, start);
    let late = start + Duration::from_secs(7_200);
    let elsewhere = origin("203.0.113.9");
    let victim = |now| strangers.victim(&[peer(1)], elsewhere, |_| true, now);
    assert_eq!(victim(late), None, "bitcoind may be unreachable");
    strangers.looked(id, Found::Nothing, late);
    assert_eq!(victim(late), Some(peer(1)));
    let stale = late + MAX_ANSWER_AGE + Duration::from_secs(1);
    assert_eq!(victim(stale), None, "the funding may have arrived since");
    strangers.looked(id, Found::Unconfirmed, late);
    assert_eq!(victim(late), None);
}

/// Anyone can name an existing output.
#[test]
fn only_the_expected_output_is_the_funding() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    funded(&strangers, 1, false, now);
    let sought = strangers.to_look_for(now)[0];
    let script = redeem_script(1).to_p2wsh();
    let judge = |key: u8, sat, confirmations| {
        let output = TxOut {
            value: Amount::from_sat(sat),
            script_pubkey: redeem_script(key).to_p2wsh(),
        };
        let unspent = UnspentOutput {
            output,
            confirmations,
        };
        sought.judge(&script, Some(&unspent))
    };
    assert_eq!(judge(1, SAT, 0), Found::Unconfirmed);
    assert_eq!(judge(1, SAT, 1), Found::Confirmed);
    assert_eq!(
        judge(2, SAT, 1),
        Found::Nothing,
        "an output that belongs to others"
    );
    assert_eq!(judge(1, SAT - 1, 1), Found::Nothing, "less");
    assert_eq!(sought.judge(&script, None), Found::Nothing);
}

#[test]
fn funding_that_disappears_counts_as_unseen() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    let ids: Vec<u128> = (0..10).map(|n| funded(&strangers, n, false, now)).collect();
    // The channels belong to ten peers at one address.
    for id in &ids {
        strangers.looked(*id, Found::Unconfirmed, now);
    }
    assert!(strangers.to_look_for(now + LOOK_AGAIN_LATER).is_empty());
    let later = now + LOOK_AGAIN_IF_SEEN;
    assert_eq!(strangers.to_look_for(later).len(), 10);
    for id in &ids {
        assert!(!strangers.looked(*id, Found::Nothing, later));
    }
    assert!(strangers.is_unseen(&point(1)));
    let elsewhere = origin("203.0.113.9");
    let victim = strangers.victim(&[peer(1)], elsewhere, |_| true, later);
    assert_eq!(victim, Some(peer(1)));
    for id in 100..120 {
        let newcomer = newcomer(1_000 + u32::try_from(id).unwrap());
        strangers.admit(id, newcomer, false, later).unwrap();
    }
    let last = strangers.admit(200, newcomer(9_000), false, later);
    assert_eq!(
        last,
        Err(TooMany),
        "the address has reached its limit of thirty"
    );
}

#[test]
fn closed_channel_with_our_funds_is_looked_up_until_confirmed() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, true, start);
    let input = TxIn {
        previous_output: point(1),
        witness: witness(1),
        ..TxIn::default()
    };
    assert_eq!(strangers.unseen_spent_by(&input), Some(Unseen::Pushed));
    let late = start + Duration::from_secs(7_200);
    strangers.looked(id, Found::Nothing, late);
    let now = late + Duration::from_secs(1);
    assert!(!strangers.closed(id, true, now));
    assert_eq!(strangers.unseen_spent_by(&input), Some(Unseen::Pushed));
    assert_eq!(
        strangers.closed_channels(),
        [],
        "the monitor may not be removed"
    );
    assert_eq!(
        strangers.to_look_for(now).len(),
        1,
        "the funding is not looked up immediately"
    );
    strangers.looked(id, Found::Nothing, now);
    assert_eq!(strangers.next_look(), Some(now + LOOK_AGAIN));
    assert!(strangers.looked(id, Found::Unconfirmed, now));
    assert_eq!(strangers.unseen_spent_by(&input), None);
    strangers.looked(id, Found::Confirmed, now);
    assert_eq!(strangers.next_look(), None);
}

#[test]
fn unfunded_channels_with_pushed_amounts_are_limited_in_total() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let mut now = start;
    let ask = |number: u32, has_paid, now| {
        let newcomer = Newcomer {
            has_paid,
            ..newcomer(number)
        };
        strangers.admit(number.into(), newcomer, true, now)
    };
    let mut accepted = 0;
    for number in 0..200 {
        // The whole budget is restored.
        now += Duration::from_secs(3_600);
        if ask(number, false, now).is_ok() {
            let id = number.into();
            let channel = ChannelId([u8::try_from(number).unwrap(); 32]);
            strangers.pending(id, channel, point(1), Some(SAT), now);
            strangers.closed(id, true, now);
            accepted += 1;
        }
    }
    assert_eq!(accepted, MAX_PUSHED);
    now += Duration::from_secs(3_600);
    assert_eq!(
        ask(2_000, true, now),
        Ok(()),
        "a peer with a confirmed channel was refused"
    );
    strangers.looked(3, Found::Confirmed, now);
    assert_eq!(ask(2_001, false, now), Err(TooMany));
    strangers.looked(4, Found::Confirmed, now);
    assert_eq!(ask(2_002, false, now), Ok(()));
}
