//! How a payment reacts to each failure that its receiver may return.

use ampd::model::payment::FailureReason;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use lightning::ln::msgs::UpdateFailHTLC;
use lightning::util::ser::{LengthReadable, Writeable};

use crate::paying_scene::*;

const PERM: u16 = 0x4000;
const NODE: u16 = 0x2000;

/// A failure returned by the final node (BOLT 4).
#[derive(Clone)]
pub(crate) enum Answer {
    Code {
        code: u16,
        data: Vec<u8>,
    },
    /// Bytes that no node of the route created.
    Garbage,
}

impl Answer {
    /// Returns the message with this answer, encrypted with the secret shared with the payer.
    pub(crate) fn replace(&self, message: &UpdateFailHTLC, secret: &[u8; 32]) -> UpdateFailHTLC {
        let packet = match self {
            Self::Code { code, data } => packet(*code, data, secret),
            Self::Garbage => vec![0x55; 292],
        };
        // channel_id, id, length, reason: BOLT 2.
        let mut wire = message.channel_id.encode();
        wire.extend(message.htlc_id.to_be_bytes());
        wire.extend((packet.len() as u16).to_be_bytes());
        wire.extend(packet);
        UpdateFailHTLC::read_from_fixed_length_buffer(&mut &wire[..]).unwrap()
    }
}

fn packet(code: u16, data: &[u8], secret: &[u8; 32]) -> Vec<u8> {
    let message = [&code.to_be_bytes()[..], data].concat();
    let padding = vec![0; 256 - message.len()];
    let length = |bytes: &[u8]| (bytes.len() as u16).to_be_bytes();
    let (of_message, of_padding) = (length(&message), length(&padding));
    let plain = [&of_message[..], &message, &of_padding, &padding].concat();
    let mut packet = [&mac(&mac(b"um", secret), &plain)[..], &plain].concat();
    let ammag = mac(b"ammag", secret);
    ChaCha20::new((&ammag).into(), &[0; 12].into()).apply_keystream(&mut packet);
    packet
}

fn mac(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    engine.input(bytes);
    Hmac::from_engine(engine).to_byte_array()
}

fn code(code: u16, data: &[u8]) -> Answer {
    Answer::Code {
        code,
        data: data.to_vec(),
    }
}

/// Returns the failure reason and the number of attempts of a payment whose receiver always answers this.
fn ends(scene: &Scene, answer: Answer) -> (FailureReason, usize) {
    ends_within(scene, answer, 60)
}

fn ends_within(scene: &Scene, answer: Answer, seconds: u64) -> (FailureReason, usize) {
    *scene.network.answer.borrow_mut() = Some((RECEIVER, answer));
    let mut payment = scene.amp(ONE_ROUTE_MSAT, None);
    payment.limits.timeout_seconds = seconds;
    let ended = scene.pay(payment);
    (ended.record.failure_reason, ended.attempts.len())
}

#[test]
fn permanent_failures_end_the_payment_with_lnds_reason() {
    use FailureReason::{Error, IncorrectPaymentDetails};
    let scene = Scene::without_accept_amp(2);
    scene.announce_routes([0, 1]);
    let cases = [
        (
            "incorrect details",
            code(PERM | 15, &[0; 12]),
            IncorrectPaymentDetails,
        ),
        ("expiry too soon", code(17, &[]), IncorrectPaymentDetails),
        ("invalid onion payload", code(PERM | 22, &[14, 0, 0]), Error),
        ("temporary node failure", code(NODE | 2, &[]), Error),
        ("permanent node failure", code(PERM | NODE | 2, &[]), Error),
        // lnd tries another route; LDK cannot distinguish this from incorrect details.
        ("garbage", Answer::Garbage, IncorrectPaymentDetails),
    ];
    for (name, answer, reason) in cases {
        assert_eq!(ends(&scene, answer), (reason, 1), "{name}");
    }
}

#[test]
fn invalid_payload_failures_are_recognized() {
    let is_invalid_payload = |routes: usize, answer| {
        let scene = Scene::without_accept_amp(routes);
        if routes == 0 {
            scene.network.channel_of(PAYER, RECEIVER, CHANNEL_SAT);
        } else {
            scene.announce_routes(0..routes);
        }
        *scene.network.answer.borrow_mut() = Some((RECEIVER, answer));
        let ended = scene.pay(scene.amp(ONE_ROUTE_MSAT, None));
        let attempt = &ended.attempts[0];
        let failure = attempt.failure.as_ref().unwrap();
        assert_eq!(failure.source_index as usize, attempt.route.len());
        failure.invalid_payload
    };
    for routes in [0, 2] {
        assert!(is_invalid_payload(routes, code(PERM | 22, &[14, 0, 0])));
        assert!(!is_invalid_payload(routes, code(PERM | 15, &[0; 12])));
        assert!(!is_invalid_payload(routes, code(PERM | NODE | 2, &[])));
    }
}

/// Codes 18 and 19 blame the node before the receiver, which may have altered the HTLC.
#[test]
fn htlc_mismatch_is_retried_over_another_route_unless_the_receiver_is_a_peer() {
    let answers = || [code(18, &[0; 4]), code(19, &[0; 8])];
    let scene = Scene::without_accept_amp(2);
    scene.announce_routes([0, 1]);
    for answer in answers() {
        assert_eq!(ends(&scene, answer), (FailureReason::NoRoute, 2));
    }
    let scene = Scene::without_accept_amp(0);
    scene.network.channel_of(PAYER, RECEIVER, CHANNEL_SAT);
    for answer in answers() {
        assert_eq!(ends(&scene, answer), (FailureReason::Error, 1));
    }
}

/// Retries continue until the time limit, but more slowly than the receiver answers.
#[test]
fn mpp_timeout_is_retried_until_the_time_limit() {
    let scene = Scene::without_accept_amp(2);
    scene.announce_routes([0, 1]);
    let (reason, attempts) = ends_within(&scene, code(23, &[]), 3);
    assert_eq!(reason, FailureReason::Timeout);
    assert!((2..=40).contains(&attempts), "{attempts}");
}
