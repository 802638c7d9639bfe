//! Manual shards, valid and invalid.

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use lnd_api::proto::lnrpc::HtlcAttempt;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::{self, Set, last_hop};
use regtest::node::Software;

use crate::SETTLE_LIMIT;
use crate::manual_shards::{address, settled};
use crate::scene::{Scene, amp};

const SHARD_MSAT: i64 = 30_000_000;
const INDICES: [u32; 3] = [0, 1, u32::MAX];
const TOTAL_MSAT: i64 = SHARD_MSAT * INDICES.len() as i64;

impl Scene<'_> {
    /// Sends all shards of a set concurrently, each modified by `change`.
    async fn sends(
        &self,
        set: &Set,
        change: impl Fn(usize, &mut SendToRouteRequest) -> Result<()>,
    ) -> Result<Vec<HtlcAttempt>> {
        let payer = self.payer()?;
        let mut requests = Vec::new();
        for number in 0..set.shards.len() {
            let mut request = set.request(number, self.route(SHARD_MSAT).await?)?;
            change(number, &mut request)?;
            requests.push(request);
        }
        let sent = requests
            .into_iter()
            .map(|request| payer.send_to_route(request));
        let attempts = try_join_all(sent).await?;
        self.network.wait_settled(SETTLE_LIMIT).await?;
        Ok(attempts)
    }
}

pub(super) async fn manual_shards(scene: Scene<'_>) -> Result<()> {
    let set = Set::new(manual_amp::random(), TOTAL_MSAT, &INDICES)?;
    let before = scene.payee()?.local_msat().await?;
    let attempts = scene.sends(&set, |_, _| Ok(())).await?;
    for (attempt, shard) in attempts.iter().zip(&set.shards) {
        settled(attempt, shard);
    }
    let gained = scene.payee()?.local_msat().await? - before;
    assert_eq!(gained, u64::try_from(TOTAL_MSAT)?);
    let invoice = scene.newest_invoice().await?;
    assert_eq!(invoice.payment_addr, set.address);
    let amps = invoice.htlcs.iter().filter_map(|htlc| htlc.amp.as_ref());
    let mut indices: Vec<_> = amps.map(|amp| amp.child_index).collect();
    indices.sort_unstable();
    assert_eq!(indices, INDICES);
    Ok(())
}

/// The whole set fails. lnd also cancels the invoice, a fault that ampd does not have.
pub(super) async fn invalid_share(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(SHARD_MSAT).await?;
    let set = Set::new(address(&invoice)?, TOTAL_MSAT, &INDICES)?;
    let attempts = scene
        .sends(&set, |number, request| {
            let record = last_hop(request)?.amp_record.as_mut();
            record.context("no AMP record")?.root_share[5] ^= u8::from(number == 1);
            Ok(())
        })
        .await?;
    attempts
        .iter()
        .try_for_each(|attempt| scene.refused(attempt))?;
    let found = scene.lookup(&invoice).await?;
    if scene.payee_is(Software::Lnd) {
        assert_eq!(found.state(), InvoiceState::Canceled);
        return Ok(());
    }
    assert_eq!(found.state(), InvoiceState::Open);
    scene.pays(&amp(&invoice, 0)).await?;
    Ok(())
}

pub(super) async fn total_below_the_invoice_amount(scene: Scene<'_>) -> Result<()> {
    let invoice = scene.amp_invoice(TOTAL_MSAT + 1).await?;
    let set = Set::new(address(&invoice)?, TOTAL_MSAT, &INDICES)?;
    let attempts = scene.sends(&set, |_, _| Ok(())).await?;
    attempts
        .iter()
        .try_for_each(|attempt| scene.refused(attempt))?;
    let found = scene.lookup(&invoice).await?;
    assert_eq!((found.state(), found.htlcs.len()), (InvoiceState::Open, 0));
    scene.pays(&amp(&invoice, 0)).await?;
    Ok(())
}
