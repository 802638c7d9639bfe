//! Invalid final payloads and the failures that their senders get (BOLT 4).

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

/// Returns an HTLC with nothing but a payment hash.
fn bare() -> Shard {
    amp().without_amp().without_mpp().with_hash(PREIMAGE.into())
}

fn keysend(record: &[u8]) -> Shard {
    bare().with_record(KEYSEND, record)
}

/// Returns a regular payment with an unknown payment secret.
fn regular() -> Shard {
    amp().without_amp().with_hash(PREIMAGE.into())
}

/// Asserts that each case gets the expected answer, and that a valid keysend settles afterwards.
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

/// PERM|15, as lnd's invoice registry answers.
#[test]
fn unmatched_payments_fail_with_incorrect_details() {
    let cases = [
        ("keysend of one byte", keysend(&[5])),
        ("empty keysend", keysend(&[])),
        ("keysend of 31 bytes", keysend(&[5; 31])),
        ("keysend of 33 bytes", keysend(&[5; 33])),
        ("keysend for another hash", keysend(&[6; 32])),
        (
            "short keysend with a secret",
            regular().with_record(KEYSEND, &[5]),
        ),
        ("no secret and no keysend", bare()),
        (
            "no secret, a custom record",
            bare().with_record(65_536, &[1]),
        ),
        ("unknown secret", regular()),
        ("total below the amount", regular().total(MSAT - 1)),
        ("total of zero", regular().total(0)),
    ];
    assert_answers(cases, |scene, shard| scene.refusal(shard));
}

/// PERM|22 with the type at fault, as lnd's link answers.
#[test]
fn invalid_payloads_fail_with_the_type_at_fault() {
    let with = |kind, value: &[u8]| bare().with_record(kind, value);
    let cases = [
        (8, "secret of 31 bytes", with(8, &[1; 31])),
        (8, "total of 9 bytes", with(8, &[1; 41])),
        (8, "total with a leading zero", with(8, &[0; 33])),
        (8, "total above all bitcoin", regular().total(u64::MAX)),
        (
            8,
            "AMP with a short secret",
            amp().without_mpp().with_record(8, &[1; 31]),
        ),
        (
            14,
            "AMP record of 63 bytes",
            regular().with_record(14, &[1; 63]),
        ),
        (
            14,
            "AMP record of 69 bytes",
            regular().with_record(14, &[1; 69]),
        ),
        (14, "empty AMP record", with(14, &[])),
        (6, "a next channel", regular().with_record(6, &[1; 8])),
        (
            10,
            "encrypted data alone",
            regular().with_record(10, &[1; 8]),
        ),
        (18, "a blinded total", regular().with_record(18, &[1])),
        (
            20,
            "a trampoline onion",
            regular().with_record(20, &[1; 100]),
        ),
        (22, "an unknown even record", regular().with_record(22, &[])),
        (
            65_534,
            "the highest reserved even type",
            keysend(&PREIMAGE.0).with_record(65_534, &[]),
        ),
        (
            22,
            "two unknown even records, the first is reported",
            with(24, &[]).with_record(22, &[]),
        ),
        (
            22,
            "an unknown even record with AMP",
            amp().with_record(22, &[]),
        ),
        (0, "records out of order", regular().with_record(1, &[])),
    ];
    for (kind, case, shard) in cases {
        assert_answers([(case, shard)], |_, _| Outcome::InvalidPayload { kind });
    }
}

/// LDK interprets record 77777 as an invoice request and rejects payloads that contain it.
#[test]
fn odd_and_custom_records_are_accepted() {
    let scene = Scene::new();
    let unknown = keysend(&PREIMAGE.0)
        .with_record(19, &[1])
        .with_record(INVOICE_REQUEST, &[1, 2, 3])
        .with_record(65_536, &[1]);
    scene.assert_settles(&[unknown]);
    let hash = PaymentHash([8; 32]);
    let invoice = scene.regular(hash, MSAT).with_record(INVOICE_REQUEST, &[]);
    let attempt = scene.send(&invoice);
    assert_eq!(
        scene.outcome(&attempt),
        scene.refusal(&invoice),
        "no invoice has this hash"
    );
}
