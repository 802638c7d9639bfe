//! What a payment asks of the router, in LDK's terms, and why there may be no route.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::router::{PaymentParameters, RouteHint, RouteParameters};
use lightning::types::features::Bolt11InvoiceFeatures;

/// Blocks added to the payee's final delta, so that blocks found while the payment is under way do
/// not make it expire too soon (lnd's `BlockPadding`).
pub const BLOCK_PADDING: u32 = 3;

/// Blocks until the last possible expiry if the caller sets no limit (lnd: `max-cltv-expiry`).
pub const DEFAULT_CLTV_LIMIT: u32 = 2016;

/// LDK counts the blocks until an HTLC's expiry from the next block, lnd and a user from the newest.
pub const NEXT_BLOCK: u32 = 1;

/// Blocks of the limit that LDK keeps for the random offset that hides the payee, if the limit has
/// room for them. They are added to the limit that it gets, and what the offset then takes beyond the
/// limit is cut off again: so the limit holds to the block.
const LDK_RESERVE: u32 = 80;

/// The least that a part carries (lnd: `DefaultShardMinAmt`), msat, unless the whole is less.
///
/// LDK knows no such amount. But it takes no way that carries less than the whole divided by the
/// number of parts, so fewer parts are asked for. What is left for its last way may still be less:
/// that is [`super::split`]'s business.
pub const MIN_PART_MSAT: u64 = 10_000_000;

/// How much of a channel one part may take, as a power of 1/2: all of it.
///
/// LDK's default, 2, looks for parts of at most a quarter of each channel first, and lifts that
/// only if such parts do not carry the amount: more parts, each with its HTLC, its fee and its
/// chance to fail, up to LDK's limit of parts. An amount that needs nearly all of several channels
/// must arrive in as many parts as there are channels. How likely a nearly full channel fails is
/// the scorer's judgement: it prices that in and prefers emptier ways of the same fee.
const MAX_CHANNEL_SATURATION_POWER_OF_HALF: u8 = 0;

/// A payment as the router sees it.
#[derive(Debug, Clone)]
pub struct RouteQuery {
    pub payee: PublicKey,
    /// What must arrive, msat.
    pub amount_msat: u64,
    /// The most that all parts together may cost, msat.
    pub fee_limit_msat: u64,
    /// The most parts; 1 for a payment that the payee cannot put together.
    pub max_parts: u8,
    /// Blocks that the payee wants until the last HTLC's expiry. The padding is added here.
    pub final_cltv_delta: u32,
    /// Blocks from the newest one until the expiry of our own HTLC at most, the payee's and the
    /// padding included; none: 2016.
    pub cltv_limit: Option<u32>,
    /// The channels (short channel ids) that may be the first hop; empty: any.
    pub outgoing_channels: Vec<u64>,
    /// The node that must hand the payment to the payee.
    pub last_hop: Option<PublicKey>,
    /// Ways to a payee that has private channels, from its invoice.
    pub route_hints: Vec<RouteHint>,
    /// Channels over which an earlier attempt of the same payment failed.
    pub failed_channels: Vec<u64>,
}

impl RouteQuery {
    /// A payment of `amount_msat` to a public key, with lnd's defaults for the rest.
    pub fn new(payee: PublicKey, amount_msat: u64, fee_limit_msat: u64) -> Self {
        Self {
            payee,
            amount_msat,
            fee_limit_msat,
            max_parts: 16,
            final_cltv_delta: 80,
            cltv_limit: None,
            outgoing_channels: Vec::new(),
            last_hop: None,
            route_hints: Vec::new(),
            failed_channels: Vec::new(),
        }
    }

    /// LDK's parameters. `onion` is what the payee will get: the room that it takes in the packet
    /// shortens the longest route. `height` is that of the best block.
    pub fn parameters(
        &self,
        onion: &RecipientOnionFields,
        keysend: bool,
        height: u32,
    ) -> Result<RouteParameters, NoRoute> {
        let payment = PaymentParameters::from_node_id(self.payee, self.least_blocks())
            .with_bolt11_features(payee_features())
            .and_then(|payment| payment.with_route_hints(self.route_hints.clone()))
            // Only parameters with blinded paths refuse these; a node id has none.
            .map_err(|()| NoRoute::NoPath)?
            .with_max_total_cltv_expiry_delta(self.most_blocks().saturating_add(LDK_RESERVE))
            .with_max_path_count(self.most_parts())
            .with_max_channel_saturation_power_of_half(MAX_CHANNEL_SATURATION_POWER_OF_HALF);
        let payment = PaymentParameters {
            previously_failed_channels: self.failed_channels.clone(),
            ..payment
        };
        let mut parameters = RouteParameters {
            payment_params: payment,
            final_value_msat: self.amount_msat,
            max_total_routing_fee_msat: Some(self.fee_limit_msat),
        };
        parameters
            .set_max_path_length(onion, keysend, height)
            .map_err(|()| NoRoute::PayloadTooLarge)?;
        Ok(parameters)
    }

    /// The payee's delta with the padding, as LDK counts it.
    pub(super) fn least_blocks(&self) -> u32 {
        let delta = self.final_cltv_delta.saturating_add(BLOCK_PADDING);
        delta.saturating_sub(NEXT_BLOCK)
    }

    /// The sum of the path's deltas, as LDK counts them, at most.
    pub(super) fn most_blocks(&self) -> u32 {
        let limit = self.cltv_limit.unwrap_or(DEFAULT_CLTV_LIMIT);
        limit.saturating_sub(NEXT_BLOCK)
    }

    /// So many parts that each may carry its least.
    fn most_parts(&self) -> u8 {
        let full = (self.amount_msat / MIN_PART_MSAT).max(1);
        let full = u8::try_from(full).unwrap_or(u8::MAX);
        self.max_parts.min(full)
    }
}

/// The features of a node that takes parts.
///
/// LDK splits only for a payee that announces MPP. An AMP payee puts the parts together by AMP, so the
/// bit is right for the router's purpose; no peer ever sees it. For a payee that takes one part only
/// the query has `max_parts` 1.
fn payee_features() -> Bolt11InvoiceFeatures {
    let mut features = Bolt11InvoiceFeatures::empty();
    features.set_variable_length_onion_required();
    features.set_payment_secret_required();
    features.set_basic_mpp_optional();
    features
}

/// Why there is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The channels that may be used hold less than the amount, whatever the network is like.
    #[error(
        "insufficient local balance: usable channels hold {available_msat} msat of {needed_msat}"
    )]
    InsufficientBalance {
        available_msat: u64,
        needed_msat: u64,
    },
    /// There are routes, but none within the limit.
    #[error(
        "no route within the fee limit of {limit_msat} msat: {needed_msat} msat would be needed"
    )]
    FeeLimit { limit_msat: u64, needed_msat: u64 },
    /// No way to the payee, or none that carries the amount.
    #[error("unable to find a path to destination")]
    NoPath,
    /// The records for the payee leave no room in the onion.
    #[error("the payment's records are too large for an onion packet")]
    PayloadTooLarge,
    #[error("self-payments not allowed")]
    ToSelf,
    #[error("amount must be specified")]
    NoAmount,
}

#[cfg(test)]
mod tests {
    use lightning::routing::router::Payee;
    use lightning::types::payment::PaymentSecret;

    use super::*;

    fn query() -> RouteQuery {
        let payee = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
        RouteQuery::new(payee.parse().unwrap(), 50_000, 1_000)
    }

    #[test]
    fn padding_is_added_to_the_final_delta_of_which_ldk_adds_one_block_itself() {
        let onion = RecipientOnionFields::secret_only(PaymentSecret([1; 32]));
        let parameters = query().parameters(&onion, false, 100).unwrap();
        let Payee::Clear {
            final_cltv_expiry_delta,
            ..
        } = parameters.payment_params.payee
        else {
            panic!("a public key is not a blinded path");
        };
        assert_eq!(final_cltv_expiry_delta, 82);
        assert_eq!(parameters.max_total_routing_fee_msat, Some(1_000));
    }

    #[test]
    fn parts_are_so_few_that_none_is_too_small() {
        for (amount_sat, parts) in [(1, 1), (19_999, 1), (20_000, 2), (59_999, 5), (999_999, 16)] {
            let query = RouteQuery {
                amount_msat: amount_sat * 1000,
                ..query()
            };
            assert_eq!(query.most_parts(), parts, "{amount_sat}");
        }
    }

    #[test]
    fn records_shorten_the_longest_route() {
        let onion = |bytes: usize| {
            let record = (70_001, vec![0; bytes]);
            RecipientOnionFields::secret_only(PaymentSecret([1; 32]))
                .with_custom_tlvs(vec![record])
                .unwrap()
        };
        let longest = |bytes| query().parameters(&onion(bytes), false, 100);
        let (short, long) = (longest(10).unwrap(), longest(600).unwrap());
        assert!(long.payment_params.max_path_length < short.payment_params.max_path_length);
        assert_eq!(longest(1300).unwrap_err(), NoRoute::PayloadTooLarge);
    }
}
