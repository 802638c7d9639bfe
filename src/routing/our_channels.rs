//! The state of our channels that routes begin with.

use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::AChannelManager;
use lightning::routing::router::InFlightHtlcs;

/// The state of this node's channels, from the `ChannelManager`.
pub struct OurChannels {
    pub usable: Vec<ChannelDetails>,
    /// The HTLCs already in flight.
    pub in_flight: InFlightHtlcs,
    /// The height of the best block.
    pub height: u32,
}

impl OurChannels {
    /// Returns the current state.
    pub fn of<M: AChannelManager + ?Sized>(manager: &M) -> Self {
        let manager = manager.get_cm();
        Self {
            usable: manager.list_usable_channels(),
            in_flight: manager.compute_inflight_htlcs(),
            height: manager.current_best_block().height,
        }
    }
}
