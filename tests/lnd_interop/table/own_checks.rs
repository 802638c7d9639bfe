//! Shards rejected by the sender itself: lnd and ampd return the same errors.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::{Set, last_hop, random};
use tonic::Code;

use super::payers::TwoPayers;
use crate::scene::Scene;

const MSAT: i64 = 10_000_000;

pub(super) async fn of_the_sender(payers: TwoPayers<'_>) -> Result<()> {
    let scene = payers.one;
    let set = Set::new(random(), 2 * MSAT, &[0, 1])?;
    let held = scene.start(scene.shard(&set, 0, MSAT).await?)?;
    scene.wait_held(&set, 1).await?;

    let too_much = scene.shard(&set, 1, MSAT + 1).await?;
    let exceeds = "attempted value exceeds payment amount";
    refuses(scene, too_much, Code::Unknown, exceeds).await?;
    let mut other_total = scene.shard(&set, 1, MSAT).await?;
    let record = last_hop(&mut other_total)?.mpp_record.as_mut();
    record.context("no MPP record")?.total_amt_msat += 1;
    let mismatch = "mp payment total amount mismatch";
    refuses(scene, other_total, Code::Unknown, mismatch).await?;

    let second = scene.sends_shard(&set, 1, MSAT).await?;
    scene.set_settled(&set, &[held.await??, second]).await?;
    let again = scene.shard(&set, 0, MSAT).await?;
    refuses(scene, again, Code::AlreadyExists, "invoice is already paid").await
}

/// lnd's error text may be longer.
async fn refuses(
    scene: Scene<'_>,
    request: SendToRouteRequest,
    code: Code,
    words: &str,
) -> Result<()> {
    let sent = scene.payer()?.send_to_route(request).await;
    let refused = sent.expect_err(words);
    ensure!(refused.message().starts_with(words), "{refused}");
    assert_eq!(refused.code(), code, "{refused}");
    Ok(())
}
