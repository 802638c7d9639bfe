//! Rows with shards that are rejected at once, without a trace at the payee.

use anyhow::{Context, Result};
use lnd_api::proto::invoicesrpc::CancelInvoiceMsg;
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::{Set, last_hop, random};

use super::payers::{TwoPayers, set_expiry};
use crate::manual_shards::address;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;
/// The minimum safe final CLTV delta, whatever the invoice requests.
const SAFE_BLOCKS: u32 = 19;
/// The default final CLTV delta of invoices.
const INVOICE_BLOCKS: u32 = 80;

async fn leaves_nothing(scene: Scene<'_>, request: SendToRouteRequest) -> Result<()> {
    let before = scene.payee()?.invoices(0).await?;
    let attempt = scene.payer()?.send_to_route(request).await?;
    scene.refused(&attempt)?;
    let failure = attempt.failure.context("no failure")?;
    assert_eq!(failure.height, scene.network.bitcoind.height().await?);
    assert_eq!(scene.payee()?.invoices(0).await?, before);
    Ok(())
}

pub(super) async fn a_total_below_the_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT + 1).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    leaves_nothing(payers.one, payers.one.shard(&set, 0, MSAT).await?).await
}

pub(super) async fn a_set_id_of_zeros(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let set = Set {
        set_id: [0; 32],
        ..Set::new(address(&invoice)?, MSAT, &[0])?
    };
    leaves_nothing(payers.one, payers.one.shard(&set, 0, MSAT).await?).await
}

/// A sender that paid with this set id refuses to reuse it.
pub(super) async fn the_set_id_of_another_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let known = Set::new(random(), MSAT, &[0])?;
    payers.one.sends_set(&known, MSAT).await?;
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let set = Set {
        set_id: known.set_id,
        ..Set::new(address(&invoice)?, MSAT, &[0])?
    };
    leaves_nothing(payers.other, payers.other.shard(&set, 0, MSAT).await?).await
}

pub(super) async fn no_amp_record_for_an_amp_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    let mut request = payers.one.shard(&set, 0, MSAT).await?;
    last_hop(&mut request)?.amp_record = None;
    request.payment_hash = invoice.r_hash;
    leaves_nothing(payers.one, request).await
}

pub(super) async fn an_amp_record_for_an_ordinary_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.payee()?.invoice(u64::try_from(MSAT)?).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    leaves_nothing(payers.one, payers.one.shard(&set, 0, MSAT).await?).await
}

pub(super) async fn an_expiry_too_soon(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(MSAT).await?;
    let of_the_invoice = (address(&invoice)?, INVOICE_BLOCKS);
    let of_nobody = (random(), SAFE_BLOCKS);
    let height = payers.one.network.bitcoind.height().await?;
    for (address, least) in [of_the_invoice, of_nobody] {
        let set = Set::new(address, MSAT, &[0])?;
        let mut request = payers.one.shard(&set, 0, MSAT).await?;
        set_expiry(&mut request, height + least - 1)?;
        leaves_nothing(payers.one, request).await.context(least)?;
    }
    Ok(())
}

/// Both held and later HTLCs are failed.
pub(super) async fn a_canceled_invoice(payers: TwoPayers<'_>) -> Result<()> {
    let invoice = payers.one.amp_invoice(2 * MSAT).await?;
    let set = Set::new(address(&invoice)?, 2 * MSAT, &[0, 1])?;
    let held = payers.one.start(payers.one.shard(&set, 0, MSAT).await?)?;
    payers.one.wait_held(&set, 1).await?;
    let cancel = CancelInvoiceMsg {
        payment_hash: invoice.r_hash,
    };
    payers.one.payee()?.invoices.cancel_invoice(cancel).await?;
    payers.one.refused(&held.await??)?;
    leaves_nothing(payers.other, payers.other.shard(&set, 1, MSAT).await?).await
}
