//! Payments without AMP over one channel.

use std::collections::BTreeMap;

use anyhow::Result;
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{HopHint, Invoice, PayReqString, PaymentHash, RouteHint};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{amp_to, bolt11};
use regtest::manual_amp;

use crate::scene::Scene;

const MSAT: i64 = 1_000_000;
const KEYSEND: u64 = 5_482_373_484;

/// Pays an invoice with a chosen preimage, one without, and one with route hints, which must be encoded
/// as given.
pub(super) async fn ordinary_payments(scene: Scene<'_>) -> Result<()> {
    let preimage = manual_amp::random().to_vec();
    let hint = HopHint {
        node_id: scene.payee_key().to_owned(),
        chan_id: 10 << 40,
        fee_base_msat: 1,
        fee_proportional_millionths: 1_000_000,
        cltv_expiry_delta: 20,
    };
    let hints = vec![RouteHint {
        hop_hints: vec![hint],
    }];
    let plain = Invoice {
        memo: "testing".into(),
        value_msat: MSAT,
        ..Default::default()
    };
    let with_preimage = Invoice {
        r_preimage: preimage.clone(),
        ..plain.clone()
    };
    let with_hints = Invoice {
        route_hints: hints.clone(),
        ..plain.clone()
    };
    for invoice in [with_preimage, plain] {
        let added = scene.add_invoice(invoice).await?;
        scene.pays(&bolt11(&added.payment_request)).await?;
        let found = scene.lookup(&added).await?;
        assert_eq!(found.state(), InvoiceState::Settled);
        let hash = sha256::Hash::hash(&found.r_preimage).to_byte_array();
        assert_eq!(hash, *added.r_hash);
    }
    let added = scene.add_invoice(with_hints).await?;
    for mut node in [scene.payer()?, scene.payee()?] {
        let pay_req = added.payment_request.clone();
        let decoded = node.lightning.decode_pay_req(PayReqString { pay_req });
        assert_eq!(decoded.await?.into_inner().route_hints, hints);
    }
    Ok(())
}

pub(super) async fn keysend_is_not_amp(scene: Scene<'_>) -> Result<()> {
    let preimage = manual_amp::random();
    let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
    let request = SendPaymentRequest {
        amp: false,
        payment_hash: hash.clone(),
        dest_custom_records: BTreeMap::from([(KEYSEND, preimage.to_vec())]),
        ..amp_to(scene.payee_key(), u64::try_from(MSAT)?)?
    };
    scene.pays(&request).await?;
    let hash = PaymentHash {
        r_hash: hash,
        ..Default::default()
    };
    let found = scene.payee()?.lightning.lookup_invoice(hash).await?;
    let found = found.into_inner();
    assert_eq!(found.htlcs.len(), 1);
    assert_eq!(found.htlcs[0].mpp_total_amt_msat, 0);
    assert!(found.htlcs[0].amp.is_none() && found.amp_invoice_state.is_empty());
    Ok(())
}
