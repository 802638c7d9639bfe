//! Probes: HTLCs with unknown preimage, sent to learn whether a route works and what it costs.
//!
//! A probe is not a payment: it has no row and no history, and is forgotten by a restart. Its
//! payment hash is random, so nobody knows a preimage; a failure from the receiver shows that the
//! route works.

use std::sync::Arc;
use std::time::Duration;

use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::routing::router::Path;
use lightning_types::payment::PaymentHash;
use lightning_types::routing::RouteHint;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use bitcoin::secp256k1::PublicKey;

use super::SendError;
use super::hops::hops;
use super::lifecycle::Open;
use super::outbound_htlcs::RouteQuestion;
use super::probes::ProbeFailure;
use super::registry::Payments;
use crate::model::attempt::HopRecord;
use crate::model::payment::{FailureReason, PaymentTerms};
use crate::routing::FailedChannel;
use crate::routing::query::{BLOCK_PADDING, NEXT_BLOCK};
use ldk_amp::{MppRecord, PaymentAddr};

/// What to probe: a payment in one part.
#[derive(Debug, Clone)]
pub struct Probe {
    pub destination: PublicKey,
    pub amount_msat: u64,
    /// The receiver's payment address, so that the probe looks like a payment.
    pub payment_addr: PaymentAddr,
    pub metadata: Option<Vec<u8>>,
    pub route_hints: Vec<RouteHint>,
    /// In blocks.
    pub final_cltv_delta: u32,
    pub fee_limit_msat: u64,
    /// SCIDs that the first hop may use; empty: any.
    pub outgoing_channels: Vec<u64>,
    pub timeout: Duration,
}

/// The result of a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeEnd {
    /// The receiver failed it: a payment over this route would have arrived.
    Reached(Vec<HopRecord>),
    /// It did not reach the receiver.
    Failed(FailureReason),
}

impl Payments {
    /// Sends probes one after the other until one reaches the receiver, no route is left, or the
    /// timeout is over. The result of a probe still in flight by then is ignored.
    ///
    /// # Errors
    /// [`SendError`] if the request is invalid.
    pub async fn probe(self: &Arc<Self>, probe: Probe) -> Result<ProbeEnd, SendError> {
        if probe.destination == self.outbound.our_node_id() {
            return Err(SendError::SelfPayment);
        }
        if probe.amount_msat == 0 {
            return Err(SendError::NoAmount);
        }
        let deadline = Instant::now() + probe.timeout;
        let probe = Arc::new(probe);
        let mut failed_channels = Vec::new();
        loop {
            let path = match self.probe_path(&probe, &failed_channels).await {
                Ok(path) => path,
                Err(reason) => return Ok(ProbeEnd::Failed(reason)),
            };
            let route = hops(&path, self.outbound.height());
            let Some(failure) = self.send_probe(&probe, path) else {
                return Ok(ProbeEnd::Failed(FailureReason::Error));
            };
            match timeout_at(deadline, failure).await {
                Err(_) => return Ok(ProbeEnd::Failed(FailureReason::Timeout)),
                Ok(Ok(back)) if back.by_receiver => return Ok(ProbeEnd::Reached(route)),
                Ok(Ok(ProbeFailure {
                    failed_channel: Some(channel),
                    ..
                })) => failed_channels.push(FailedChannel {
                    scid: channel,
                    from_msat: probe.amount_msat,
                    // A probe is short: it tries no channel twice.
                    is_temporary: false,
                }),
                // The failing channel is unknown, so the same route would be tried again.
                Ok(_) => return Ok(ProbeEnd::Failed(FailureReason::Error)),
            }
            if Instant::now() >= deadline {
                return Ok(ProbeEnd::Failed(FailureReason::Timeout));
            }
        }
    }

    async fn probe_path(
        self: &Arc<Self>,
        probe: &Arc<Probe>,
        failed_channels: &[FailedChannel],
    ) -> Result<Path, FailureReason> {
        let (payments, probe) = (self.clone(), probe.clone());
        let failed_channels = failed_channels.to_vec();
        let found = self
            .runtime
            .spawn_blocking(move || payments.find_probe_path(&probe, &failed_channels))
            .await;
        found.unwrap_or(Err(FailureReason::Error))
    }

    fn find_probe_path(
        &self,
        probe: &Probe,
        failed_channels: &[FailedChannel],
    ) -> Result<Path, FailureReason> {
        let terms = probe.terms();
        let onion = probe.onion().ok_or(FailureReason::Error)?;
        let paths = self.outbound.find_paths(&RouteQuestion {
            destination: probe.destination,
            open: Open {
                amount_msat: probe.amount_msat,
                fee_limit_msat: probe.fee_limit_msat,
                parts: 1,
            },
            terms: &terms,
            route_hints: &probe.route_hints,
            onion: &onion,
            failed_channels,
        })?;
        let [mut path] = <[Path; 1]>::try_from(paths).map_err(|_| FailureReason::NoRoute)?;
        if let Some(last) = path.hops.last_mut() {
            // LDK pads the final delta with random blocks for privacy, which are not a cost of the
            // route.
            let delta = probe.final_cltv_delta.saturating_add(BLOCK_PADDING);
            last.cltv_expiry_delta = delta.saturating_sub(NEXT_BLOCK);
        }
        Ok(path)
    }

    /// Returns `None` if LDK does not send it.
    fn send_probe(&self, probe: &Probe, path: Path) -> Option<oneshot::Receiver<ProbeFailure>> {
        let onion = probe.onion()?;
        let hash = PaymentHash(self.outbound.random_bytes());
        let id = PaymentId(self.outbound.random_bytes());
        let failure = self.probes.add(id);
        let sent = self.outbound.send(path, hash, onion, id);
        if let Err(reason) = sent {
            tracing::info!("LDK did not send a probe: {reason}");
            self.probes.remove(&id);
            return None;
        }
        Some(failure)
    }
}

impl Probe {
    fn terms(&self) -> PaymentTerms {
        PaymentTerms {
            amount_msat: self.amount_msat,
            fee_limit_msat: self.fee_limit_msat,
            final_cltv_delta: self.final_cltv_delta,
            max_parts: 1,
            outgoing_channels: self.outgoing_channels.clone(),
            ..PaymentTerms::default()
        }
    }

    fn onion(&self) -> Option<RecipientOnionFields> {
        let mpp = MppRecord {
            payment_addr: self.payment_addr,
            total_msat: self.amount_msat,
        };
        ldk_amp::recipient_fields(&mpp, None, self.metadata.as_deref(), &[])
            .inspect_err(|error| tracing::error!("cannot build the onion of a probe: {error}"))
            .ok()
    }
}
