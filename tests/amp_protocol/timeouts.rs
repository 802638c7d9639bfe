//! Incomplete sets: each shard is given back as `mpp_timeout` 120 s after it was accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use ldk_amp::SetId;
use ampd::storage::Change;
use ampd::storage::invoices::{HtlcState, InvoiceState, PutHtlc};
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use lightning::sign::{NodeSigner, Recipient};
use lightning::util::ser::Writeable;

use crate::scene::*;
use crate::sender::{Outcome, Payment, shards};

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// When this shard of the set was accepted.
fn accepted_at(scene: &Scene, set_id: SetId, shard: usize) -> u64 {
    scene.receiver.htlcs(set_id)[shard].accepted_at
}

/// The books as if this shard of the set had come so many seconds earlier.
fn older(scene: &Scene, set_id: SetId, shard: usize, seconds: u64) -> Vec<Box<dyn Change>> {
    let mut row = scene.receiver.htlcs(set_id).remove(shard);
    row.accepted_at -= seconds;
    vec![Box::new(PutHtlc(row))]
}

#[test]
fn an_incomplete_set_times_out_and_its_payer_completes_it_with_new_children() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let mut payment = Payment::new(set(1), addr(&invoice), 100_000);
    let lost = payment.shard(60_000, false);
    let first = scene.send(&lost);
    let due = accepted_at(&scene, set(1), 0) + 120;
    scene.at(due - 1);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    scene.at(due);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.books(set(1)), canceled(1));
    assert_eq!(scene.receiver.invoices()[0].state, InvoiceState::Open);

    payment.take_back(&lost);
    scene.assert_settles(&[payment.shard(30_000, false), payment.shard(70_000, true)]);
    let books = scene.books(set(1)).unwrap();
    assert_eq!(books.state, HtlcState::Settled);
    assert_eq!(books.amt_paid_msat, 100_000);
    let [lost, rest @ ..] = &books.htlcs[..] else {
        panic!("no HTLCs")
    };
    assert_eq!(
        (*lost, rest),
        (HtlcState::Canceled, &[HtlcState::Settled; 2][..])
    );
}

/// The packet before LDK at the payer has opened it, beside one that a real lnd sent.
#[test]
fn the_timeout_on_the_wire_has_the_form_of_lnds() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    scene.send(&shards(set(1), addr(&invoice), &[60_000, 40_000])[0]);
    let shard = scene.receiver.htlcs(set(1)).remove(0).shard.unwrap();
    scene.at(u64::MAX);
    let failures = scene.network.failures.borrow();
    let [failure] = &failures[..] else {
        panic!("one failure")
    };
    // channel_id, id, length: BOLT 2.
    let packet = failure.encode().split_off(32 + 8 + 2);

    let ephemeral_key = PublicKey::from_slice(&shard.ephemeral_key).unwrap();
    let signer = scene.network.nodes[1].keys_manager;
    let secret = signer.ecdh(Recipient::Node, &ephemeral_key, None).unwrap();
    let (lnds_length, lnds_plain) = lnds_mpp_timeout();
    assert_eq!(packet.len(), lnds_length);
    let plain = opened(&secret.secret_bytes(), packet);
    assert_eq!(plain, lnds_plain);
}

/// The failure without its HMAC, which is checked.
fn opened(secret: &[u8; 32], mut packet: Vec<u8>) -> Vec<u8> {
    let mac = |key: &[u8], bytes: &[u8]| {
        let mut engine = HmacEngine::<sha256::Hash>::new(key);
        engine.input(bytes);
        Hmac::from_engine(engine).to_byte_array()
    };
    let ammag = mac(b"ammag", secret);
    ChaCha20::new((&ammag).into(), &[0; 12].into()).apply_keystream(&mut packet);
    let (hmac, plain) = packet.split_at(32);
    assert_eq!(hmac, mac(&mac(b"um", secret), plain));
    plain.to_vec()
}

/// Length of the packet, and its content after the HMAC.
fn lnds_mpp_timeout() -> (usize, Vec<u8>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lnd_onions.json");
    let onions: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let failures = onions["onions"][0]["failures"].as_array().unwrap();
    let of_timeout = |failure: &&serde_json::Value| failure["failure"] == "*lnwire.FailMPPTimeout";
    let failure = failures.iter().find(of_timeout).unwrap();
    let bytes = |hex: &serde_json::Value| Vec::from_hex(hex.as_str().unwrap()).unwrap();
    let sent = failure["reason_sent_by_hop"].as_array().unwrap();
    let plain = bytes(&failure["plain_with_length_and_padding"]);
    (bytes(sent.last().unwrap()).len(), plain)
}

#[test]
fn a_shard_with_another_total_is_refused_at_once_and_the_first_one_times_out() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    let other = shards[1].clone().total(150_000);
    let refused = scene.send(&other);
    assert_eq!(scene.outcome(&refused), scene.refusal(&other));
    scene.at(accepted_at(&scene, set(1), 0) + 120);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
}

/// The timer runs from the stored time of acceptance: a restart does not start it anew.
#[test]
fn each_shard_times_out_by_its_own_stored_time_also_after_a_restart() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 30_000, 10_000]);
    let attempts = scene.send_all(&shards[..2]);
    let changes = older(&scene, set(1), 0, 60);
    scene.receiver.restart_after(changes);
    let due = accepted_at(&scene, set(1), 0) + 120;
    scene.at(due - 1);
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 2]);
    scene.at(due);
    assert_eq!(
        scene.outcomes(&attempts),
        [Outcome::TimedOut, Outcome::InFlight]
    );
    let books = scene.books(set(1)).unwrap();
    assert_eq!(books.htlcs, [HtlcState::Canceled, HtlcState::Accepted]);
    scene.at(accepted_at(&scene, set(1), 1) + 120);
    assert_eq!(scene.outcomes(&attempts), [Outcome::TimedOut; 2]);
}

#[test]
fn what_became_overdue_while_the_receiver_was_down_fails_at_once() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let mut payment = Payment::new(set(1), addr(&invoice), 100_000);
    let lost = payment.shard(60_000, false);
    let first = scene.send(&lost);
    let changes = older(&scene, set(1), 0, 120);
    scene.receiver.restart_after(changes);
    scene.at(now());
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.books(set(1)), canceled(1));
    payment.take_back(&lost);
    scene.assert_settles(&[payment.shard(100_000, true)]);
}

#[test]
fn a_settled_set_does_not_time_out() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[60_000, 40_000]));
    scene.at(u64::MAX);
    assert_eq!(scene.books(set(1)), settled(100_000, 2));
}
