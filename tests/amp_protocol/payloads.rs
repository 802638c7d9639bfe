//! Final payloads that no receiver can use, and what their sender is told (BOLT 4).

use ldk_amp::PaymentAddr;
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::scene::*;
use crate::sender::{Outcome, Shard, shards};

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
const KEYSEND: u64 = 5_482_373_484;
const INVOICE_REQUEST: u64 = 77_777;
const ADDR: PaymentAddr = PaymentAddr::from_bytes([7; 32]);
const MSAT: u64 = 50_000;

fn amp() -> Shard {
    shards(set(1), ADDR, &[MSAT]).remove(0)
}

/// An HTLC with a payment hash and nothing else.
fn bare() -> Shard {
    amp().without_amp().without_mpp().with_hash(PREIMAGE.into())
}

fn keysend(record: &[u8]) -> Shard {
    bare().with_record(KEYSEND, record)
}

/// With a payment secret that is not ours.
fn ordinary() -> Shard {
    amp().without_amp().with_hash(PREIMAGE.into())
}

/// Each of these is answered as expected, and a correct keysend is settled afterwards.
#[track_caller]
fn assert_answers<'a>(
    cases: impl IntoIterator<Item = (&'a str, Shard)>,
    expected: impl Fn(&Scene, &Shard) -> Outcome,
) {
    let scene = Scene::new();
    for (case, shard) in cases {
        let attempt = scene.send(&shard);
        assert_eq!(scene.outcome(&attempt), expected(&scene, &shard), "{case}");
    }
    assert_eq!(scene.receiver.invoices(), []);
    scene.assert_settles(&[keysend(&PREIMAGE.0)]);
}

/// PERM|15, as lnd's registry answers.
#[test]
fn a_payment_that_cannot_be_matched_is_refused_with_incorrect_details() {
    let cases = [
        ("keysend of one byte", keysend(&[5])),
        ("empty keysend", keysend(&[])),
        ("keysend of 31 bytes", keysend(&[5; 31])),
        ("keysend of 33 bytes", keysend(&[5; 33])),
        ("keysend for another hash", keysend(&[6; 32])),
        (
            "short keysend with a secret",
            ordinary().with_record(KEYSEND, &[5]),
        ),
        ("no secret and no keysend", bare()),
        (
            "no secret, a custom record",
            bare().with_record(65_536, &[1]),
        ),
        ("unknown secret", ordinary()),
        ("total below the amount", ordinary().total(MSAT - 1)),
        ("total of zero", ordinary().total(0)),
    ];
    assert_answers(cases, |scene, shard| scene.refusal(shard));
}

/// PERM|22 with the type that is at fault, as lnd's link answers.
#[test]
fn a_payload_that_cannot_be_read_is_refused_with_the_type_at_fault() {
    let with = |kind, value: &[u8]| bare().with_record(kind, value);
    let cases = [
        (8, "secret of 31 bytes", with(8, &[1; 31])),
        (8, "total of 9 bytes", with(8, &[1; 41])),
        (8, "total with a leading zero", with(8, &[0; 33])),
        (8, "total above all bitcoin", ordinary().total(u64::MAX)),
        (
            8,
            "AMP with a short secret",
            amp().without_mpp().with_record(8, &[1; 31]),
        ),
        (
            14,
            "AMP record of 63 bytes",
            ordinary().with_record(14, &[1; 63]),
        ),
        (
            14,
            "AMP record of 69 bytes",
            ordinary().with_record(14, &[1; 69]),
        ),
        (14, "empty AMP record", with(14, &[])),
        (6, "a next channel", ordinary().with_record(6, &[1; 8])),
        (
            10,
            "encrypted data alone",
            ordinary().with_record(10, &[1; 8]),
        ),
        (18, "a blinded total", ordinary().with_record(18, &[1])),
        (
            20,
            "a trampoline onion",
            ordinary().with_record(20, &[1; 100]),
        ),
        (
            22,
            "an unknown even record",
            ordinary().with_record(22, &[]),
        ),
        (
            65_534,
            "the last of those",
            keysend(&PREIMAGE.0).with_record(65_534, &[]),
        ),
        (
            22,
            "two, and the first is named",
            with(24, &[]).with_record(22, &[]),
        ),
        (
            22,
            "an unknown record beside AMP",
            amp().with_record(22, &[]),
        ),
        (0, "records out of order", ordinary().with_record(1, &[])),
    ];
    for (kind, case, shard) in cases {
        assert_answers([(case, shard)], |_, _| Outcome::InvalidPayload { kind });
    }
}

/// LDK takes this odd record for an invoice request and refuses what holds one.
#[test]
fn odd_and_custom_records_do_no_harm() {
    let scene = Scene::new();
    let unknown = keysend(&PREIMAGE.0)
        .with_record(19, &[1])
        .with_record(INVOICE_REQUEST, &[1, 2, 3])
        .with_record(65_536, &[1]);
    scene.assert_settles(&[unknown]);
    let hash = PaymentHash([8; 32]);
    let invoice = scene.ordinary(hash, MSAT).with_record(INVOICE_REQUEST, &[]);
    let attempt = scene.send(&invoice);
    assert_eq!(
        scene.outcome(&attempt),
        scene.refusal(&invoice),
        "no invoice has this hash"
    );
}
