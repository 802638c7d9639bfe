//! Rows of what is refused at once, and leaves nothing at the payee.

use lnd_api::proto::invoicesrpc::CancelInvoiceMsg;
use lnd_api::proto::routerrpc::SendToRouteRequest;
use anyhow::{Context, Result};
use regtest::by_hand::{Set, last_hop, random};

use super::desk::{Desk, set_expiry};
use crate::hand_made::address;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;
/// The least that is safe, whatever the invoice says.
const SAFE_BLOCKS: u32 = 19;
/// Of an invoice that does not say otherwise.
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

pub async fn a_total_below_the_invoice(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT + 1).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    leaves_nothing(desk.one, desk.one.shard(&set, 0, MSAT).await?).await
}

pub async fn a_set_id_of_zeros(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let set = Set {
        set_id: [0; 32],
        ..Set::new(address(&invoice)?, MSAT, &[0])?
    };
    leaves_nothing(desk.one, desk.one.shard(&set, 0, MSAT).await?).await
}

/// Who has paid with it refuses to use it again.
pub async fn the_set_id_of_another_invoice(desk: Desk<'_>) -> Result<()> {
    let known = Set::new(random(), MSAT, &[0])?;
    desk.one.sends_set(&known, MSAT).await?;
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let set = Set {
        set_id: known.set_id,
        ..Set::new(address(&invoice)?, MSAT, &[0])?
    };
    leaves_nothing(desk.other, desk.other.shard(&set, 0, MSAT).await?).await
}

pub async fn no_amp_record_for_an_amp_invoice(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    let mut request = desk.one.shard(&set, 0, MSAT).await?;
    last_hop(&mut request)?.amp_record = None;
    request.payment_hash = invoice.r_hash;
    leaves_nothing(desk.one, request).await
}

pub async fn an_amp_record_for_an_ordinary_invoice(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.payee()?.invoice(u64::try_from(MSAT)?).await?;
    let set = Set::new(address(&invoice)?, MSAT, &[0])?;
    leaves_nothing(desk.one, desk.one.shard(&set, 0, MSAT).await?).await
}

pub async fn an_expiry_too_soon(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(MSAT).await?;
    let of_the_invoice = (address(&invoice)?, INVOICE_BLOCKS);
    let of_nobody = (random(), SAFE_BLOCKS);
    let height = desk.one.network.bitcoind.height().await?;
    for (address, least) in [of_the_invoice, of_nobody] {
        let set = Set::new(address, MSAT, &[0])?;
        let mut request = desk.one.shard(&set, 0, MSAT).await?;
        set_expiry(&mut request, height + least - 1)?;
        leaves_nothing(desk.one, request).await.context(least)?;
    }
    Ok(())
}

/// What it held, and what comes later.
pub async fn a_canceled_invoice(desk: Desk<'_>) -> Result<()> {
    let invoice = desk.one.amp_invoice(2 * MSAT).await?;
    let set = Set::new(address(&invoice)?, 2 * MSAT, &[0, 1])?;
    let held = desk.one.start(desk.one.shard(&set, 0, MSAT).await?)?;
    desk.one.wait_held(&set, 1).await?;
    let cancel = CancelInvoiceMsg {
        payment_hash: invoice.r_hash,
    };
    desk.one.payee()?.invoices.cancel_invoice(cancel).await?;
    desk.one.refused(&held.await??)?;
    leaves_nothing(desk.other, desk.other.shard(&set, 1, MSAT).await?).await
}
