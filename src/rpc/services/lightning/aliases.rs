//! ListAliases.

use crate::ldk::ChannelManager;
use lnd_api::proto::lnrpc::{AliasMap, ListAliasesResponse};

/// Lists the SCID aliases that LDK created when the channels were opened and sent to the peers.
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
