//! Incomplete sets: each shard fails with `mpp_timeout` 120 s after it was accepted.

use std::time::{SystemTime, UNIX_EPOCH};

use ampd::model::htlc::HtlcState;
use ampd::model::invoice::InvoiceState;
use ampd::storage::Change;
use ampd::storage::invoices::PutHtlc;
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::hex::FromHex;
use bitcoin::secp256k1::PublicKey;
use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use ldk_amp::SetId;
use lightning::sign::{NodeSigner, Recipient};
use lightning::util::ser::Writeable;

use crate::scene::*;
use crate::sender::{Outcome, Payment, shards};

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

/// Returns the Unix time in seconds at which this shard of the set was accepted.
fn accepted_at(scene: &Scene, set_id: SetId, shard: usize) -> u64 {
    scene.receiver.htlcs(set_id)[shard].accepted_at
}

/// Returns the change that makes this shard of the set appear accepted this many seconds earlier.
fn older(scene: &Scene, set_id: SetId, shard: usize, seconds: u64) -> Vec<Box<dyn Change>> {
    let mut row = scene.receiver.htlcs(set_id).remove(shard);
    row.accepted_at -= seconds;
    vec![Box::new(PutHtlc(row))]
}

#[test]
fn timed_out_set_can_be_completed_with_new_children() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let mut payment = Payment::new(set(1), addr(&invoice), 100_000);
    let lost = payment.shard(60_000, false);
    let first = scene.send(&lost);
    let due = accepted_at(&scene, set(1), 0) + 120;
    scene.expire_sets_at(due - 1);
    assert_eq!(scene.outcome(&first), Outcome::InFlight);
    scene.expire_sets_at(due);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.stored_set(set(1)), canceled(1));
    assert_eq!(scene.receiver.invoices()[0].state, InvoiceState::Open);

    payment.reclaim_share(&lost);
    scene.assert_settles(&[payment.shard(30_000, false), payment.shard(70_000, true)]);
    let stored = scene.stored_set(set(1)).unwrap();
    assert_eq!(stored.state, HtlcState::Settled);
    assert_eq!(stored.amt_paid_msat, 100_000);
    let [lost, rest @ ..] = &stored.htlcs[..] else {
        panic!("expected HTLCs")
    };
    assert_eq!(
        (*lost, rest),
        (HtlcState::Canceled, &[HtlcState::Settled; 2][..])
    );
}

/// Compares the packet, before the payer's LDK opens it, with one recorded from lnd.
#[test]
fn mpp_timeout_on_the_wire_equals_lnds() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    scene.send(&shards(set(1), addr(&invoice), &[60_000, 40_000])[0]);
    let shard = scene.receiver.htlcs(set(1)).remove(0).shard.unwrap();
    scene.expire_sets_at(u64::MAX);
    let failures = scene.network.failures.borrow();
    let [failure] = &failures[..] else {
        panic!("expected one failure")
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

/// Decrypts the failure, checks its HMAC and returns the rest.
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

/// Returns the length of lnd's packet and its plaintext after the HMAC.
fn lnds_mpp_timeout() -> (usize, Vec<u8>) {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/crates/ldk-amp/tests/data/lnd_onions.json"
    );
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
fn shard_with_another_total_is_refused_and_the_first_one_times_out() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 40_000]);
    let first = scene.send(&shards[0]);
    let other = shards[1].clone().total(150_000);
    let refused = scene.send(&other);
    assert_eq!(scene.outcome(&refused), scene.refusal(&other));
    scene.expire_sets_at(accepted_at(&scene, set(1), 0) + 120);
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
}

/// The timeout counts from the stored accept time, so a restart does not reset it.
#[test]
fn shards_time_out_by_their_own_stored_time_across_a_restart() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let shards = shards(set(1), addr(&invoice), &[60_000, 30_000, 10_000]);
    let attempts = scene.send_all(&shards[..2]);
    let changes = older(&scene, set(1), 0, 60);
    scene.receiver.restart_after(changes);
    let due = accepted_at(&scene, set(1), 0) + 120;
    scene.expire_sets_at(due - 1);
    assert_eq!(scene.outcomes(&attempts), [Outcome::InFlight; 2]);
    scene.expire_sets_at(due);
    assert_eq!(
        scene.outcomes(&attempts),
        [Outcome::TimedOut, Outcome::InFlight]
    );
    let stored = scene.stored_set(set(1)).unwrap();
    assert_eq!(stored.htlcs, [HtlcState::Canceled, HtlcState::Accepted]);
    scene.expire_sets_at(accepted_at(&scene, set(1), 1) + 120);
    assert_eq!(scene.outcomes(&attempts), [Outcome::TimedOut; 2]);
}

#[test]
fn shard_overdue_at_startup_fails_at_once() {
    let mut scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    let mut payment = Payment::new(set(1), addr(&invoice), 100_000);
    let lost = payment.shard(60_000, false);
    let first = scene.send(&lost);
    let changes = older(&scene, set(1), 0, 120);
    scene.receiver.restart_after(changes);
    scene.expire_sets_at(now());
    assert_eq!(scene.outcome(&first), Outcome::TimedOut);
    assert_eq!(scene.stored_set(set(1)), canceled(1));
    payment.reclaim_share(&lost);
    scene.assert_settles(&[payment.shard(100_000, true)]);
}

#[test]
fn settled_set_does_not_time_out() {
    let scene = Scene::new();
    let invoice = scene.receiver.add_amp_invoice(100_000);
    scene.assert_settles(&shards(set(1), addr(&invoice), &[60_000, 40_000]));
    scene.expire_sets_at(u64::MAX);
    assert_eq!(scene.stored_set(set(1)), settled(100_000, 2));
}
