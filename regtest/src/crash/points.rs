//! Crashes the receiver once at each crash point while it receives multi-shard AMP payments.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use crash_points::Point;
use lnd_api::proto::routerrpc::SendPaymentRequest;

use super::interrupted::Interrupted;
use super::{CAPACITY_SAT, Crash};
use crate::api::amp_to;

/// More than one channel can carry, so Alice's payment takes both routes to Bob.
const ACROSS_MSAT: u64 = CAPACITY_SAT / 2 * 1_000 * 5 / 4;
const DIRECT_MSAT: u64 = 300_000_000;
const SHARDS: u64 = 4;

/// The pass at which to abort; sets have [`SHARDS`] shards or more.
fn nth(point: Point) -> u32 {
    match point {
        // One shard is stored, the next is not.
        Point::BeforeStored | Point::Stored => 2,
        _ => 1,
    }
}

impl Crash {
    /// Runs all crash points of receivers and prints a line for each.
    pub(super) async fn every_receiver_point(&mut self) -> Result<()> {
        for point in Point::OF_RECEIVERS {
            let start = Instant::now();
            let report = self.point(point).await;
            let report = report.with_context(|| format!("crash at {point}"))?;
            println!(
                "crash at {point:<22}  {report}  {:>5.1} s",
                start.elapsed().as_secs_f32()
            );
        }
        Ok(())
    }

    /// Alice pays Bob over both of Carol's channels and Carol pays him directly, both in shards. Bob
    /// crashes and restarts; all payments must complete.
    async fn point(&mut self, point: Point) -> Result<String> {
        let bob = self.network["bob"].key().to_owned();
        let payments = vec![
            ("alice", in_shards(&bob, ACROSS_MSAT)?),
            ("carol", in_shards(&bob, DIRECT_MSAT)?),
        ];
        let at = (point, nth(point));
        let interrupted = Interrupted::start(&mut self.network, &["bob"], at, payments).await?;
        self.network.restart(&["bob"]).await?;
        let paid = interrupted.succeed().await?;
        let shards: usize = paid.iter().map(|payment| payment.htlcs.len()).sum();
        ensure!(
            shards >= 2 * usize::try_from(SHARDS)?,
            "only {shards} shards"
        );
        self.network.wait_usable().await?;
        self.network.wait_settled(super::END_LIMIT).await?;
        self.check().await?;
        self.even_out().await?;
        Ok(format!("{} payments in {shards} shards", paid.len()))
    }

    /// Bob pays back, so that every crash point starts with the same balances.
    async fn even_out(&mut self) -> Result<()> {
        for (receiver, msat) in [("alice", ACROSS_MSAT), ("carol", DIRECT_MSAT)] {
            let request = in_shards(self.network[receiver].key(), msat)?;
            self.network.pay("bob", &request).await?;
        }
        self.network.wait_settled(super::END_LIMIT).await?;
        self.check().await
    }
}

fn in_shards(key: &str, msat: u64) -> Result<SendPaymentRequest> {
    Ok(SendPaymentRequest {
        max_shard_size_msat: msat / SHARDS + 1,
        ..amp_to(key, msat)?
    })
}
