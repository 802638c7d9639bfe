//! Invoices survive a kill of their node. lnd's own test is about a migration of its database.

use anyhow::Result;
use lnd_api::proto::lnrpc::Invoice;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::amp_to;
use regtest::manual_amp;
use regtest::network::Network;

use crate::manual_shards::in_order;
use crate::scene::{Scene, amp};

const MSAT: i64 = 2_000_000;
const INVOICES: usize = 10;
const PAID_INVOICES: usize = 5;
const TIMES: usize = 3;
const SPONTANEOUS: usize = 3;

pub(super) async fn invoices_survive(
    network: &mut Network,
    payer: &str,
    payee: &str,
) -> Result<()> {
    let hops = [payee];
    let scene = Scene::new(network, payer, &hops);
    let mut requests = Vec::new();
    for number in 0..INVOICES {
        let invoice = scene.amp_invoice(MSAT).await?;
        if number < PAID_INVOICES {
            requests.push(amp(&invoice, 0));
        }
    }
    for _ in 0..TIMES {
        pay_all(scene, &requests).await?;
    }
    for _ in 0..SPONTANEOUS {
        let request = SendPaymentRequest {
            payment_addr: manual_amp::random().to_vec(),
            ..amp_to(scene.payee_key(), u64::try_from(MSAT)?)?
        };
        scene.pays(&request).await?;
    }
    let before = invoices(scene).await?;
    network.kill(&[payee])?;
    network.restart(&[payee]).await?;
    network.connect(payer, payee).await?;
    network.wait_usable().await?;
    let scene = Scene::new(network, payer, &hops);
    assert_eq!(invoices(scene).await?, before);
    pay_all(scene, &requests).await
}

async fn pay_all(scene: Scene<'_>, requests: &[SendPaymentRequest]) -> Result<()> {
    for request in requests {
        scene.pays(request).await?;
    }
    Ok(())
}

async fn invoices(scene: Scene<'_>) -> Result<Vec<Invoice>> {
    let invoices = scene.payee()?.invoices(0).await?.invoices;
    Ok(invoices.into_iter().map(in_order).collect())
}
