//! lnd pays ampd with payloads that no receiver can use: it must get the reason and keep its routes.

use std::collections::BTreeMap;

use anyhow::Result;
use lnd_api::proto::routerrpc::{SendPaymentRequest, SendToRouteRequest};
use regtest::manual_amp;
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;

use crate::refusals::{KEYSEND, keysend, refused};
use crate::scene::{Scene, row};

const MSAT: i64 = 15_000_000;
/// Odd, so it is ignored if unknown. LDK treats it as an invoice request.
const INVOICE_REQUEST: u64 = 77_777;

pub(crate) fn trials() -> trials::Trials {
    trials![lnd_understands_a_rejected_payload_and_can_pay_afterwards]
}

async fn lnd_understands_a_rejected_payload_and_can_pay_afterwards() -> Result<()> {
    let network = row(&[("payer", Lnd), ("payee", Ampd)]).await?;
    let scene = Scene::new(&network, "payer", &["payee"]);
    // lnd does not use a new channel immediately.
    scene.known_route(MSAT).await?;
    for record in [vec![5], vec![], vec![5; 31], vec![5; 33], vec![5; 32]] {
        refused(scene, &with_records(scene, &[(KEYSEND, record)])?).await?;
        scene.pays(&keysend(scene)?).await?;
    }
    refused(scene, &with_records(scene, &[])?).await?;
    scene.pays(&keysend(scene)?).await?;
    via_send_to_route(scene).await?;
    scene.pays(&keysend(scene)?).await?;

    let mut unknown = keysend(scene)?;
    unknown
        .dest_custom_records
        .insert(INVOICE_REQUEST, vec![1, 2, 3]);
    scene.pays(&unknown).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// A payment to a hash with these records instead of a preimage.
fn with_records(scene: Scene<'_>, records: &[(u64, Vec<u8>)]) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        dest_custom_records: records.iter().cloned().collect::<BTreeMap<_, _>>(),
        ..keysend(scene)?
    })
}

async fn via_send_to_route(scene: Scene<'_>) -> Result<()> {
    let mut request = SendToRouteRequest {
        payment_hash: manual_amp::random().to_vec(),
        route: Some(scene.known_route(MSAT).await?),
        ..Default::default()
    };
    let hop = manual_amp::last_hop(&mut request)?;
    hop.custom_records.insert(KEYSEND, vec![5]);
    let attempt = scene.payer()?.send_to_route(request).await?;
    scene.refused(&attempt)
}
