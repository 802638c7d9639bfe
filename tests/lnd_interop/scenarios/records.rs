//! Custom records, including messages and keysend.

use std::collections::BTreeMap;

use anyhow::Result;
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::{demo, manual_amp};

use crate::scene::Scene;

const MSAT: u64 = 12_000_000;
const SHARDS: usize = 3;
const MESSAGE: u64 = 34_349_334;
const KEYSEND: u64 = 5_482_373_484;
/// An experimental record of lnd in update_add_htlc, listed among the onion's custom records.
const LND_EXPERIMENT: u64 = 106_823;

pub(super) async fn with_custom_records_and_a_message(scene: Scene<'_>) -> Result<()> {
    let records = BTreeMap::from([
        (MESSAGE, "Grüße, 5 Äpfel".as_bytes().to_vec()),
        (65_536, vec![]),
        (65_537, vec![7]),
        (700_001, vec![0xab; 200]),
    ]);
    let request = SendPaymentRequest {
        max_shard_size_msat: MSAT,
        dest_custom_records: records.clone(),
        ..amp_to(scene.payee_key(), MSAT * u64::try_from(SHARDS)?)?
    };
    let payment = scene.pays(&request).await?;
    demo::prove(&payment, &scene.payee()?).await?;
    let invoice = scene.newest_invoice().await?;
    assert_eq!(invoice.htlcs.len(), SHARDS);
    for mut htlc in invoice.htlcs {
        htlc.custom_records.remove(&LND_EXPERIMENT);
        assert_eq!(htlc.custom_records, records);
    }
    Ok(())
}

pub(super) async fn keysend_with_a_message(scene: Scene<'_>) -> Result<()> {
    let preimage = manual_amp::random();
    let records = BTreeMap::from([(KEYSEND, preimage.to_vec()), (MESSAGE, b"keysend".to_vec())]);
    let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
    let request = SendPaymentRequest {
        amp: false,
        payment_hash: hash.clone(),
        dest_custom_records: records.clone(),
        ..amp_to(scene.payee_key(), MSAT)?
    };
    let payment = scene.pays(&request).await?;
    assert_eq!(regtest::api::bytes(&payment.payment_preimage)?, preimage);
    let mut invoice = scene.newest_invoice().await?;
    assert_eq!(invoice.state(), InvoiceState::Settled);
    assert!(invoice.is_keysend && !invoice.is_amp);
    assert_eq!(
        (invoice.r_hash, invoice.r_preimage),
        (hash, preimage.to_vec())
    );
    assert_eq!(invoice.htlcs.len(), 1);
    invoice.htlcs[0].custom_records.remove(&LND_EXPERIMENT);
    assert_eq!(invoice.htlcs[0].custom_records, records);
    Ok(())
}
