//! Changes of the forwarding policy of our channels.

use std::sync::Arc;

use bitcoin::OutPoint;
use lightning::ln::channel_state::ChannelDetails;
use lightning::util::config::{ChannelConfigUpdate, MaxDustHTLCExposure};

use super::config::MIN_CLTV_DELTA_BLOCKS;
use super::open::describe;
use crate::ldk::ChannelManager;
use crate::peers::PeerManager;
use crate::routing::forwarding_terms::ForwardingTerms;

/// A requested policy change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    pub base_fee_msat: u32,
    /// The proportional fee, in millionths.
    pub fee_rate_ppm: u32,
    pub cltv_delta_blocks: u16,
    /// `None` keeps the current value.
    pub min_htlc_msat: Option<u64>,
    /// `None` keeps the current value.
    pub max_htlc_msat: Option<u64>,
}

/// The reason why a channel's policy was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("not found")]
    NotFound,
    #[error("not yet confirmed")]
    Pending,
    #[error("cannot change {name} to {wanted}: it is fixed at {is} since the channel was opened")]
    Fixed {
        name: &'static str,
        wanted: u64,
        is: u64,
    },
    /// LDK's error text.
    #[error("{0}")]
    Refused(String),
}

/// A CLTV delta below the minimum with which LDK forwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("time lock delta of {0} is too small, minimum supported is {MIN_CLTV_DELTA_BLOCKS}")]
pub struct DeltaTooSmall(pub u32);

/// Changes the policy of all open channels, or of the one with this channel point. Returns the
/// channels that keep their policy, and the reasons. The change is announced immediately.
///
/// # Errors
///
/// [`DeltaTooSmall`]; nothing is changed in this case.
pub fn change(
    manager: &Arc<ChannelManager>,
    peers: &PeerManager,
    only: Option<OutPoint>,
    change: &Change,
) -> Result<Vec<(OutPoint, PolicyError)>, DeltaTooSmall> {
    if change.cltv_delta_blocks < MIN_CLTV_DELTA_BLOCKS {
        return Err(DeltaTooSmall(change.cltv_delta_blocks.into()));
    }
    let channels = manager.list_channels();
    let failed = match only {
        Some(point) => one(manager, &channels, point, change),
        None => all(manager, &channels, change),
    };
    peers.process_events();
    Ok(failed)
}

fn one(
    manager: &ChannelManager,
    channels: &[ChannelDetails],
    point: OutPoint,
    change: &Change,
) -> Vec<(OutPoint, PolicyError)> {
    let found = channels
        .iter()
        .find(|channel| funding(channel) == Some(point));
    let changed = match found {
        None => Err(PolicyError::NotFound),
        Some(channel) if !channel.is_channel_ready => Err(PolicyError::Pending),
        Some(channel) => apply(manager, channel, change),
    };
    changed.err().map(|why| (point, why)).into_iter().collect()
}

/// Sets the dust exposure limit on every channel: LDK stores with each channel the limit that
/// applied when it was opened. The limit is local, so peers are not notified.
pub fn limit_dust(manager: &ChannelManager, limit: MaxDustHTLCExposure) {
    let update = ChannelConfigUpdate {
        max_dust_htlc_exposure_msat: Some(limit),
        ..ChannelConfigUpdate::default()
    };
    for channel in manager.list_channels() {
        let (peer, id) = (&channel.counterparty.node_id, channel.channel_id);
        if let Err(error) = manager.update_partial_channel_config(peer, &[id], &update) {
            tracing::warn!(channel = %id, "cannot set the dust exposure limit: {}", describe(&error));
        }
    }
}

fn all(
    manager: &ChannelManager,
    channels: &[ChannelDetails],
    change: &Change,
) -> Vec<(OutPoint, PolicyError)> {
    let open = channels.iter().filter(|channel| channel.is_channel_ready);
    open.filter_map(|channel| {
        let why = apply(manager, channel, change).err()?;
        Some((funding(channel)?, why))
    })
    .collect()
}

fn funding(channel: &ChannelDetails) -> Option<OutPoint> {
    Some(channel.funding_txo?.into_bitcoin_outpoint())
}

fn apply(
    manager: &ChannelManager,
    channel: &ChannelDetails,
    change: &Change,
) -> Result<(), PolicyError> {
    let terms = ForwardingTerms::ours(channel);
    fixed("min_htlc_msat", change.min_htlc_msat, terms.min_htlc_msat)?;
    fixed("max_htlc_msat", change.max_htlc_msat, terms.max_htlc_msat)?;
    let update = ChannelConfigUpdate {
        forwarding_fee_base_msat: Some(change.base_fee_msat),
        forwarding_fee_proportional_millionths: Some(change.fee_rate_ppm),
        cltv_expiry_delta: Some(change.cltv_delta_blocks),
        ..ChannelConfigUpdate::default()
    };
    let peer = &channel.counterparty.node_id;
    manager
        .update_partial_channel_config(peer, &[channel.channel_id], &update)
        .map_err(|error| PolicyError::Refused(describe(&error)))
}

/// Checks a limit that cannot be changed after the opening: requesting the current value is
/// allowed.
fn fixed(name: &'static str, wanted: Option<u64>, is: u64) -> Result<(), PolicyError> {
    match wanted {
        Some(wanted) if wanted != is => Err(PolicyError::Fixed { name, wanted, is }),
        _ => Ok(()),
    }
}
