//! ListAliases.

use crate::ldk::ChannelManager;
use lnd_api::proto::lnrpc::{AliasMap, ListAliasesResponse};

/// LDK makes an alias for each channel when it is opened, and tells the peer.
pub(super) fn list(manager: &ChannelManager) -> ListAliasesResponse {
    let channels = manager.list_channels();
    let with_alias = channels.iter().filter_map(|channel| {
        Some(AliasMap {
            base_scid: channel.short_channel_id?,
            aliases: vec![channel.outbound_scid_alias?],
        })
    });
    let mut alias_maps: Vec<_> = with_alias.collect();
    alias_maps.sort_by_key(|map| map.base_scid);
    ListAliasesResponse { alias_maps }
}
