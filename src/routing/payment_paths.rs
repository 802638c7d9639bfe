//! Finds the paths of a payment: all at once, or after failures piece by piece.

use lightning::ln::channel_state::ChannelDetails;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::router::Path;

use super::finder::RouteFinder;
use super::our_channels::OurChannels;
use super::query::{NoRoute, RouteQuery};
use super::split::{Whole, in_pieces, split};

/// A channel that could not carry a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailedChannel {
    /// Short channel id.
    pub scid: u64,
    /// It carries no part of this size (msat) or larger; smaller ones may pass. 0: none at all.
    pub from_msat: u64,
    /// The node that reported the failure expects the channel to work again.
    pub is_temporary: bool,
}

/// A request for the paths of a payment.
pub struct PathsQuery<'a> {
    /// The request for the whole amount. Each search sets its own amount, number of parts and failed
    /// channels.
    pub route: RouteQuery,
    /// The maximum number of paths.
    pub parts: u32,
    /// The maximum amount per path in msat; 0 for no limit.
    pub max_part_msat: u64,
    /// The payee's fields, whose size in the packet limits the length of the paths.
    pub onion: &'a RecipientOnionFields,
    /// The channels that failed during this payment.
    pub failed_channels: &'a [FailedChannel],
}

impl RouteFinder {
    /// Finds paths for a payment: for the whole amount, or for a part of it (see `split`). If there
    /// are none and channels failed before, the amount is split further, since a channel that could
    /// not carry a part may carry a smaller one.
    ///
    /// # Errors
    /// [`NoRoute`] with the reason.
    pub fn find_paths(
        &self,
        query: &PathsQuery<'_>,
        ours: &OurChannels,
    ) -> Result<Vec<Path>, NoRoute> {
        let whole = query.whole();
        let found = split(whole, |amount_msat, parts| {
            self.search_part(query, &query.part(amount_msat, parts), ours)
        });
        let may_be_split = matches!(found, Err(NoRoute::NoPath | NoRoute::ChannelsFull));
        if !may_be_split || query.failed_channels.is_empty() {
            return found;
        }
        let pieces = in_pieces(whole, |amount_msat, taken| {
            let piece = query.piece(amount_msat, taken);
            let paths = self.search_part(query, &piece, &self.without(ours, taken))?;
            paths.into_iter().next().ok_or(NoRoute::NoPath)
        });
        pieces.or(found)
    }

    fn search_part(
        &self,
        query: &PathsQuery<'_>,
        part: &RouteQuery,
        ours: &OurChannels,
    ) -> Result<Vec<Path>, NoRoute> {
        let parameters = part.parameters(query.onion, false, ours.height)?;
        let route = self.find(part, &parameters, &ours.usable, &ours.in_flight)?;
        Ok(route.paths)
    }

    /// Our channels without the liquidity that the pieces already routed take.
    fn without(&self, ours: &OurChannels, taken: &[Path]) -> OurChannels {
        let mut in_flight = ours.in_flight.clone();
        for path in taken {
            in_flight.process_path(path, self.our_node_id);
        }
        OurChannels {
            usable: remaining_channels(&ours.usable, taken),
            in_flight,
            height: ours.height,
        }
    }
}

impl PathsQuery<'_> {
    fn whole(&self) -> Whole {
        Whole {
            amount_msat: self.route.amount_msat,
            parts: self.parts,
            max_part_msat: self.max_part_msat,
        }
    }

    /// The request for one or more parts that avoids all channels that failed.
    fn part(&self, amount_msat: u64, parts: u32) -> RouteQuery {
        RouteQuery {
            amount_msat,
            max_parts: u8::try_from(parts).unwrap_or(u8::MAX),
            failed_channels: self.failed_channels.iter().map(|c| c.scid).collect(),
            ..self.route.clone()
        }
    }

    /// The request for one more piece: channels that failed with a larger amount may be tried again,
    /// and the fees of the other pieces are deducted from the limit.
    fn piece(&self, amount_msat: u64, taken: &[Path]) -> RouteQuery {
        let query = self.part(amount_msat, 1);
        let fees = taken.iter().map(Path::fee_msat);
        let fees = fees.fold(0, u64::saturating_add);
        let failed = self.failed_channels.iter();
        RouteQuery {
            fee_limit_msat: query.fee_limit_msat.saturating_sub(fees),
            failed_channels: failed
                .filter(|failed| failed.from_msat <= amount_msat)
                .map(|failed| failed.scid)
                .collect(),
            ..query
        }
    }
}

/// Our channels, with their liquidity reduced by the pieces already routed.
fn remaining_channels(channels: &[ChannelDetails], taken: &[Path]) -> Vec<ChannelDetails> {
    let mut left = channels.to_vec();
    for path in taken {
        let first = path.hops.first().map(|hop| hop.short_channel_id);
        let names = |channel: &ChannelDetails| {
            [channel.short_channel_id, channel.outbound_scid_alias].contains(&first)
        };
        if let (Some(channel), true) = (left.iter_mut().find(|c| names(c)), first.is_some()) {
            let taken = path.final_value_msat().saturating_add(path.fee_msat());
            let less = |msat: u64| msat.saturating_sub(taken);
            channel.outbound_capacity_msat = less(channel.outbound_capacity_msat);
            channel.next_outbound_htlc_limit_msat = less(channel.next_outbound_htlc_limit_msat);
        }
    }
    left
}
