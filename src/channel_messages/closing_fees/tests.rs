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

/// After LDK has offered 1,000 sat and would pay up to 9,000.
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
fn an_exact_fee_is_the_only_one_that_is_offered_and_taken() {
    let (mut fees, sent) = offered(Some(ClosingTerms::Exactly));
    assert_eq!(sent, message(1_000, Some((1_000, 1_000))));
    let again = || Answer::Repeat(sent.clone());
    let named = answers(&mut fees, &[999, 1_000, 1_001], NO_RANGE);
    assert_eq!(named, [again(), Answer::LeaveToLdk, again()]);
    let picked = answers(&mut fees, &[999, 1_000, 1_001], Some((1, 5_000)));
    assert_eq!(picked, [Answer::Refuse, Answer::LeaveToLdk, Answer::Refuse]);
}

#[test]
fn only_a_peer_without_a_range_gets_more_than_our_estimate() {
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
fn an_estimate_above_ldks_own_maximum_is_offered_alone() {
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
fn an_opener_that_pays_less_than_the_least_hears_our_fee_again() {
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
fn the_fee_that_ldk_accepts_is_in_the_range_that_goes_with_it() {
    let (mut fees, _) = offered(Some(ClosingTerms::UpTo { more_sat: 7_000 }));
    // LDK has forgotten the channel by now.
    let mut accepted = message(5_000, Some((1_000, 9_000)));
    fees.outgoing(peer(), &mut accepted, None);
    assert_eq!(accepted, message(5_000, Some((1_000, 5_000))));
}

#[test]
fn an_offer_is_not_repeated_for_ever() {
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
fn nothing_is_remembered_of_a_peer_that_left_or_a_channel_that_is_closed() {
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
