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

fn new_peer(number: u32) -> NewPeer {
    NewPeer {
        peer: peer(number),
        origin: origin("203.0.113.1"),
        has_paid: false,
    }
}

/// Adds a channel with this number and a named funding output.
fn funded(unfunded: &UnfundedChannels, number: u8, pushed: bool, now: Instant) -> u128 {
    let id = number.into();
    let admitted = unfunded.admit(id, new_peer(number.into()), pushed, now);
    admitted.unwrap();
    unfunded.pending(id, ChannelId([number; 32]), point(number), Some(SAT), now);
    id
}

#[test]
fn closed_unfunded_channel_is_tracked_until_its_monitor_is_removed() {
    let (unfunded, now) = (UnfundedChannels::default(), Instant::now());
    let id = funded(&unfunded, 1, false, now);
    assert!(unfunded.is_unseen(&point(1)));
    assert!(unfunded.closed_channels().is_empty());
    assert!(unfunded.closed(id, false, now));
    assert!(unfunded.is_unseen(&point(1)));
    assert_eq!(unfunded.closed_channels(), [ChannelId([1; 32])]);
    assert!(unfunded.to_look_for(now).is_empty());
    unfunded.forget(&[ChannelId([1; 32])]);
    assert!(!unfunded.is_unseen(&point(1)));
}

#[test]
fn channels_with_known_funding_or_our_funds_close_normally() {
    let (unfunded, now) = (UnfundedChannels::default(), Instant::now());
    let seen = funded(&unfunded, 1, false, now);
    assert!(unfunded.looked(seen, Found::Unconfirmed, now));
    assert!(
        !unfunded.looked(seen, Found::Unconfirmed, now),
        "reported as newly seen"
    );
    assert!(!unfunded.is_unseen(&point(1)) && !unfunded.closed(seen, false, now));
    let pushed = funded(&unfunded, 2, true, now);
    assert!(!unfunded.is_unseen(&point(2)) && !unfunded.closed(pushed, false, now));
    let ready = funded(&unfunded, 3, false, now);
    unfunded.ready(ready);
    assert!(!unfunded.is_unseen(&point(3)) && !unfunded.closed(ready, false, now));
}

#[test]
fn lookups_become_less_frequent() {
    let (unfunded, start) = (UnfundedChannels::default(), Instant::now());
    let id = funded(&unfunded, 1, false, start);
    let sought = Sought {
        user_channel_id: id,
        channel_id: ChannelId([1; 32]),
        point: point(1),
        sat: Some(SAT),
        closed: false,
    };
    assert_eq!(unfunded.to_look_for(start), [sought]);
    unfunded.looked(id, Found::Nothing, start);
    assert!(unfunded.to_look_for(start).is_empty());
    assert_eq!(unfunded.next_look(), Some(start + LOOK_AGAIN));
    let late = start + LOOK_AGAIN_LATER;
    unfunded.looked(id, Found::Nothing, late);
    assert_eq!(unfunded.next_look(), Some(late + LOOK_AGAIN_LATER));
    unfunded.looked(id, Found::Unconfirmed, late);
    assert_eq!(unfunded.next_look(), Some(late + LOOK_AGAIN_IF_SEEN));
}

#[test]
fn lookups_are_frequent_near_the_limit() {
    let (unfunded, start) = (UnfundedChannels::default(), Instant::now());
    let old = funded(&unfunded, 1, false, start);
    let late = start + Duration::from_secs(3_000);
    unfunded.looked(old, Found::Nothing, late);
    assert_eq!(unfunded.next_look(), Some(late + LOOK_AGAIN_LATER));
    for number in 2..32 {
        let id = number.into();
        let new_peer = NewPeer {
            has_paid: true,
            ..new_peer(number)
        };
        unfunded.admit(id, new_peer, false, late).unwrap();
    }
    assert_eq!(unfunded.next_look(), Some(late + LOOK_AGAIN));
    assert_eq!(unfunded.to_look_for(late + LOOK_AGAIN).len(), 1);
}

#[test]
fn only_channels_with_unknown_funding_use_the_budget() {
    let (unfunded, now) = (UnfundedChannels::default(), Instant::now());
    for number in 0..100_u128 {
        unfunded.admit(number, new_peer(1), false, now).unwrap();
        match number % 3 {
            0 => unfunded.withdraw(number),
            1 => {
                unfunded.pending(number, ChannelId([1; 32]), point(1), Some(SAT), now);
                unfunded.looked(number, Found::Unconfirmed, now);
            }
            _ => unfunded.ready(number),
        }
    }
    for number in 100..110 {
        unfunded.admit(number, new_peer(1), false, now).unwrap();
        unfunded.pending(number, ChannelId([1; 32]), point(1), Some(SAT), now);
        unfunded.closed(number, false, now);
    }
    assert_eq!(unfunded.admit(200, new_peer(1), false, now), Err(TooMany));
}

#[test]
fn channels_are_not_evicted_without_a_recent_lookup() {
    let (unfunded, start) = (UnfundedChannels::default(), Instant::now());
    let id = funded(&unfunded, 1, false, start);
    let late = start + Duration::from_secs(7_200);
    let elsewhere = origin("203.0.113.9");
    let victim = |now| unfunded.victim(&[peer(1)], elsewhere, |_| true, now);
    assert_eq!(victim(late), None, "bitcoind may be unreachable");
    unfunded.looked(id, Found::Nothing, late);
    assert_eq!(victim(late), Some(peer(1)));
    let stale = late + MAX_ANSWER_AGE + Duration::from_secs(1);
    assert_eq!(victim(stale), None, "the funding may have arrived since");
    unfunded.looked(id, Found::Unconfirmed, late);
    assert_eq!(victim(late), None);
}

/// Anyone can name an existing output.
#[test]
fn only_the_expected_output_is_the_funding() {
    let (unfunded, now) = (UnfundedChannels::default(), Instant::now());
    funded(&unfunded, 1, false, now);
    let sought = unfunded.to_look_for(now)[0];
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
    let (unfunded, now) = (UnfundedChannels::default(), Instant::now());
    let ids: Vec<u128> = (0..10).map(|n| funded(&unfunded, n, false, now)).collect();
    // The channels belong to ten peers at one address.
    for id in &ids {
        unfunded.looked(*id, Found::Unconfirmed, now);
    }
    assert!(unfunded.to_look_for(now + LOOK_AGAIN_LATER).is_empty());
    let later = now + LOOK_AGAIN_IF_SEEN;
    assert_eq!(unfunded.to_look_for(later).len(), 10);
    for id in &ids {
        assert!(!unfunded.looked(*id, Found::Nothing, later));
    }
    assert!(unfunded.is_unseen(&point(1)));
    let elsewhere = origin("203.0.113.9");
    let victim = unfunded.victim(&[peer(1)], elsewhere, |_| true, later);
    assert_eq!(victim, Some(peer(1)));
    for id in 100..120 {
        let new_peer = new_peer(1_000 + u32::try_from(id).unwrap());
        unfunded.admit(id, new_peer, false, later).unwrap();
    }
    let last = unfunded.admit(200, new_peer(9_000), false, later);
    assert_eq!(
        last,
        Err(TooMany),
        "the address has reached its limit of thirty"
    );
}

#[test]
fn closed_channel_with_our_funds_is_looked_up_until_confirmed() {
    let (unfunded, start) = (UnfundedChannels::default(), Instant::now());
    let id = funded(&unfunded, 1, true, start);
    let input = TxIn {
        previous_output: point(1),
        witness: witness(1),
        ..TxIn::default()
    };
    assert_eq!(unfunded.unseen_spent_by(&input), Some(Unseen::Pushed));
    let late = start + Duration::from_secs(7_200);
    unfunded.looked(id, Found::Nothing, late);
    let now = late + Duration::from_secs(1);
    assert!(!unfunded.closed(id, true, now));
    assert_eq!(unfunded.unseen_spent_by(&input), Some(Unseen::Pushed));
    assert_eq!(
        unfunded.closed_channels(),
        [],
        "the monitor may not be removed"
    );
    assert_eq!(
        unfunded.to_look_for(now).len(),
        1,
        "the funding is not looked up immediately"
    );
    unfunded.looked(id, Found::Nothing, now);
    assert_eq!(unfunded.next_look(), Some(now + LOOK_AGAIN));
    assert!(unfunded.looked(id, Found::Unconfirmed, now));
    assert_eq!(unfunded.unseen_spent_by(&input), None);
    unfunded.looked(id, Found::Confirmed, now);
    assert_eq!(unfunded.next_look(), None);
}

#[test]
fn unfunded_channels_with_pushed_amounts_are_limited_in_total() {
    let (unfunded, start) = (UnfundedChannels::default(), Instant::now());
    let mut now = start;
    let ask = |number: u32, has_paid, now| {
        let new_peer = NewPeer {
            has_paid,
            ..new_peer(number)
        };
        unfunded.admit(number.into(), new_peer, true, now)
    };
    let mut accepted = 0;
    for number in 0..200 {
        // The whole budget is restored.
        now += Duration::from_secs(3_600);
        if ask(number, false, now).is_ok() {
            let id = number.into();
            let channel = ChannelId([u8::try_from(number).unwrap(); 32]);
            unfunded.pending(id, channel, point(1), Some(SAT), now);
            unfunded.closed(id, true, now);
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
    unfunded.looked(3, Found::Confirmed, now);
    assert_eq!(ask(2_001, false, now), Err(TooMany));
    unfunded.looked(4, Found::Confirmed, now);
    assert_eq!(ask(2_002, false, now), Ok(()));
}
