use std::net::IpAddr;

use bitcoin::Txid;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{Secp256k1, SecretKey};

use super::*;

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

/// A channel of this number whose funding the peer has named.
fn funded(strangers: &Strangers, number: u8, pushed: bool, now: Instant) -> u128 {
    let id = number.into();
    let admitted = strangers.admit(id, newcomer(number.into()), pushed, now);
    admitted.unwrap();
    strangers.pending(id, ChannelId([number; 32]), point(number), now);
    id
}

#[test]
fn a_closed_channel_without_funding_is_known_until_its_monitor_is_gone() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, now);
    assert!(strangers.is_unseen(&point(1)));
    assert!(strangers.closed_channels().is_empty());
    assert!(strangers.closed(id));
    assert!(strangers.is_unseen(&point(1)));
    assert_eq!(strangers.closed_channels(), [ChannelId([1; 32])]);
    assert!(strangers.to_look_for(now).is_empty());
    strangers.forget(&[ChannelId([1; 32])]);
    assert!(!strangers.is_unseen(&point(1)));
}

#[test]
fn a_channel_with_a_known_funding_or_with_our_money_is_closed_as_others_are() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    let seen = funded(&strangers, 1, false, now);
    let found = strangers.looked(seen, true, now);
    assert_eq!(found, Some((ChannelId([1; 32]), point(1))));
    assert!(!strangers.is_unseen(&point(1)) && !strangers.closed(seen));
    let pushed = funded(&strangers, 2, true, now);
    assert!(!strangers.is_unseen(&point(2)) && !strangers.closed(pushed));
    let ready = funded(&strangers, 3, false, now);
    strangers.ready(ready);
    assert!(!strangers.is_unseen(&point(3)) && !strangers.closed(ready));
}

#[test]
fn bitcoind_is_asked_soon_and_then_rarely() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, start);
    assert_eq!(strangers.to_look_for(start), [(id, point(1))]);
    strangers.looked(id, false, start);
    assert!(strangers.to_look_for(start).is_empty());
    assert_eq!(strangers.next_look(), Some(start + LOOK_AGAIN));
    let late = start + LOOK_AGAIN_LATER;
    strangers.looked(id, false, late);
    assert_eq!(strangers.next_look(), Some(late + LOOK_AGAIN_LATER));
    strangers.looked(id, true, late);
    assert_eq!(strangers.next_look(), None);
}

#[test]
fn only_channels_whose_funding_is_unknown_use_up_what_a_peer_has() {
    let (strangers, now) = (Strangers::default(), Instant::now());
    for number in 0..100_u128 {
        strangers.admit(number, newcomer(1), false, now).unwrap();
        match number % 3 {
            0 => strangers.withdraw(number),
            1 => {
                strangers.pending(number, ChannelId([1; 32]), point(1), now);
                strangers.looked(number, true, now);
            }
            _ => strangers.ready(number),
        }
    }
    for number in 100..110 {
        strangers.admit(number, newcomer(1), false, now).unwrap();
        strangers.pending(number, ChannelId([1; 32]), point(1), now);
        strangers.closed(number);
    }
    assert_eq!(strangers.admit(200, newcomer(1), false, now), Err(TooMany));
}

#[test]
fn a_funding_that_bitcoind_was_not_asked_for_makes_nobody_go() {
    let (strangers, start) = (Strangers::default(), Instant::now());
    let id = funded(&strangers, 1, false, start);
    let late = start + Duration::from_secs(7_200);
    let elsewhere = origin("203.0.113.9");
    let victim = |now| strangers.victim(&[peer(1)], elsewhere, |_| true, now);
    assert_eq!(victim(late), None, "bitcoind may be away");
    strangers.looked(id, false, late);
    assert_eq!(victim(late), Some(peer(1)));
    strangers.looked(id, true, late);
    assert_eq!(victim(late), None);
}
