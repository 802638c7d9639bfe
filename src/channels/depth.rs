//! The number of confirmations required before a peer's channel can be used.

use lightning::events::InboundChannelFunds;

use super::config::MIN_DEPTH_BLOCKS;
use super::inbound_request::Request;

/// The number of confirmations of the largest channels (lnd).
const MAX_BLOCKS: u64 = 6;
/// The capacity from which channels count as largest: 2^24 - 1 sat, the limit without wumbo
/// (BOLT 2).
const LARGEST_SAT: u64 = 16_777_215;

/// Returns the depth in blocks for this request, if it exceeds the node's minimum.
///
/// A peer can take back the channel by double-spending its funding transaction. As in lnd, the
/// depth grows from 3 to 6 with the amount at stake: the capacity and the amount pushed to us.
pub(super) fn of(request: &Request) -> Option<u32> {
    let pushed_msat = match request.channel_negotiation_type {
        InboundChannelFunds::PushMsat(msat) => msat,
        InboundChannelFunds::DualFunded => 0,
    };
    let stake_sat = request.funding_satoshis.saturating_add(pushed_msat / 1_000);
    let blocks = match request.funding_satoshis > LARGEST_SAT {
        true => MAX_BLOCKS,
        false => (stake_sat.saturating_mul(MAX_BLOCKS) / LARGEST_SAT).min(MAX_BLOCKS),
    };
    let blocks = u32::try_from(blocks).ok()?;
    (blocks > MIN_DEPTH_BLOCKS).then_some(blocks)
}

#[cfg(test)]
mod tests {
    use super::super::inbound::tests::request;
    use super::*;

    #[test]
    fn depth_grows_with_the_amount_at_stake() {
        let peer = bitcoin::secp256k1::PublicKey::from_slice(&[2; 33]).unwrap();
        for (sat, pushed_sat, depth) in [
            (20_000, 0, None),
            (11_184_809, 0, None),
            (11_184_810, 0, Some(4)),
            (8_000_000, 4_000_000, Some(4)),
            (14_000_000, 0, Some(5)),
            (LARGEST_SAT, 0, Some(6)),
            (LARGEST_SAT, LARGEST_SAT, Some(6)),
            (1_000_000_000, 0, Some(6)),
        ] {
            let request = Request {
                funding_satoshis: sat,
                channel_negotiation_type: InboundChannelFunds::PushMsat(pushed_sat * 1_000),
                ..request(peer)
            };
            assert_eq!(of(&request), depth, "{sat} sat and {pushed_sat} sat pushed");
        }
    }
}
