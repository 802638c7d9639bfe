//! Fees of cooperative closes, as peers propose them.

use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{Secp256k1, SecretKey};

use super::*;

const CHANNEL: ChannelId = ChannelId([7; 32]);
const NO_RANGE: Option<(u64, u64)> = None;

fn peer() -> PublicKey {
    let secret = SecretKey::from_slice(&[1; 32]).unwrap();
    PublicKey::from_secret_key(&Secp256k1::new(), &secret)
}

fn message(fee_satoshis: u64, range: Option<(u64, u64)>) -> ClosingSigned {
    let fee_range = range.map(
        |(min_fee_satoshis, max_fee_satoshis)| ClosingSignedFeeRange {
            min_fee_satoshis,
            max_fee_satoshis,
        },
    );
    ClosingSigned {
        channel_id: CHANNEL,
        fee_satoshis,
        signature: Signature::from_compact(&[1; 64]).unwrap(),
        fee_range,
    }
}

/// LDK has offered 1,000 sat and would pay up to 9,000.
fn offered(terms: Option<ClosingTerms>) -> (ClosingFees, ClosingSigned) {
    let mut fees = ClosingFees::default();
    let mut sent = message(1_000, Some((1_000, 9_000)));
    fees.outgoing(peer(), &mut sent, terms);
    (fees, sent)
}

fn answers(fees: &mut ClosingFees, named: &[u64], range: Option<(u64, u64)>) -> Vec<Answer> {
    let answer = |fee: &u64| fees.incoming(&peer(), &message(*fee, range));
    named.iter().map(answer).collect()
}

#[test]
fn exact_terms_offer_and_accept_only_that_fee() {
    let (mut fees, sent) = offered(Some(ClosingTerms::Exactly));
    assert_eq!(sent, message(1_000, Some((1_000, 1_000))));
    let again = || Answer::Repeat(sent.clone());
    let named = answers(&mut fees, &[999, 1_000, 1_001], NO_RANGE);
    assert_eq!(named, [again(), Answer::LeaveToLdk, again()]);
    let picked = answers(&mut fees, &[999, 1_000, 1_001], Some((1, 5_000)));
    assert_eq!(picked, [Answer::Refuse, Answer::LeaveToLdk, Answer::Refuse]);
}

#[test]
fn only_peers_without_a_range_may_exceed_our_estimate() {
    let (mut fees, sent) = offered(Some(ClosingTerms::UpTo { more_sat: 7_000 }));
    assert_eq!(sent, message(1_000, Some((1_000, 2_000))));
    let again = || Answer::Repeat(sent.clone());
    let named = answers(&mut fees, &[999, 1_500, 9_000, 9_001], NO_RANGE);
    let taken = || Answer::LeaveToLdk;
    assert_eq!(named, [again(), taken(), taken(), again()]);
    let picked = answers(&mut fees, &[2_000, 2_001], Some((1_000, 5_000)));
    assert_eq!(picked, [Answer::LeaveToLdk, Answer::Refuse]);
}

#[test]
fn estimate_above_ldks_maximum_narrows_the_range_to_one_fee() {
    let mut fees = ClosingFees::default();
    let mut sent = message(1_000, Some((1_000, 9_000)));
    fees.outgoing(
        peer(),
        &mut sent,
        Some(ClosingTerms::UpTo { more_sat: 8_500 }),
    );
    assert_eq!(sent, message(1_000, Some((1_000, 1_000))));
}

#[test]
fn offer_is_repeated_to_an_opener_below_our_minimum() {
    let (mut fees, sent) = offered(None);
    assert_eq!(sent, message(1_000, Some((1_000, 9_000))));
    let named = answers(&mut fees, &[900, 1_000, 5_000], NO_RANGE);
    let taken = || Answer::LeaveToLdk;
    assert_eq!(named, [Answer::Repeat(sent), taken(), taken()]);
    let ranges = [(900, (900, 2_000)), (900, (800, 999))];
    let answer = ranges.map(|(fee, range)| fees.incoming(&peer(), &message(fee, Some(range))));
    assert_eq!(answer, [Answer::LeaveToLdk, Answer::Refuse]);
}

#[test]
fn accepted_fee_lies_within_the_range_sent_with_it() {
    let (mut fees, _) = offered(Some(ClosingTerms::UpTo { more_sat: 7_000 }));
    // LDK has dropped the channel by now.
    let mut accepted = message(5_000, Some((1_000, 9_000)));
    fees.outgoing(peer(), &mut accepted, None);
    assert_eq!(accepted, message(5_000, Some((1_000, 5_000))));
}

#[test]
fn repeats_of_an_offer_are_limited() {
    let (mut fees, sent) = offered(Some(ClosingTerms::Exactly));
    for _ in 0..MAX_REPEATS {
        let answer = fees.incoming(&peer(), &message(5_000, None));
        assert_eq!(answer, Answer::Repeat(sent.clone()));
    }
    assert_eq!(
        fees.incoming(&peer(), &message(5_000, None)),
        Answer::Refuse
    );
}

#[test]
fn offers_are_dropped_with_their_peer_or_channel() {
    let forget: [fn(&mut ClosingFees); 2] = [
        |fees| fees.forget_peer(&peer()),
        |fees| fees.forget_channel(&CHANNEL),
    ];
    for forget in forget {
        let (mut fees, _) = offered(Some(ClosingTerms::Exactly));
        forget(&mut fees);
        let answer = fees.incoming(&peer(), &message(5_000, None));
        assert_eq!(answer, Answer::LeaveToLdk);
    }
}
