//! ListAliases.

use crate::channels::Channels;
use lnd_api::proto::lnrpc::{AliasMap, ListAliasesResponse};

/// Lists the SCID aliases of our channels.
pub(super) fn list(channels: &Channels) -> ListAliasesResponse {
    let aliases = channels.aliases().into_iter();
    let map = |(base_scid, alias)| AliasMap {
        base_scid,
        aliases: vec![alias],
    };
    ListAliasesResponse {
        alias_maps: aliases.map(map).collect(),
    }
}
