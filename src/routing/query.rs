//! A payment's route request, its conversion to LDK's parameters, and the reasons for no route.

use bitcoin::secp256k1::PublicKey;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::routing::router::{PaymentParameters, RouteHint, RouteParameters};
use lightning::types::features::Bolt11InvoiceFeatures;

/// Blocks added to the payee's final delta, so that blocks mined while the payment is in flight do not make
/// it expire too soon (lnd's `BlockPadding`).
pub const BLOCK_PADDING: u32 = 3;

/// The default limit on a route's total time lock in blocks (lnd's `max-cltv-expiry`).
pub const DEFAULT_CLTV_LIMIT: u32 = 2016;

/// LDK counts blocks until an HTLC's expiry from the next block; lnd and users count from the newest.
pub const NEXT_BLOCK: u32 = 1;

/// The blocks that LDK reserves from the limit for the random offset that hides the payee, if the limit
/// allows. They are added to the limit passed to LDK, and the finder trims whatever the offset then takes
/// beyond the limit. So the limit is exact.
const LDK_RESERVE: u32 = 80;

/// The smallest part in msat, unless the payment itself is smaller (lnd's `DefaultShardMinAmt`).
///
/// LDK has no such minimum. But it uses no path that carries less than the amount divided by the number of
/// parts, so fewer parts are requested. The remainder for its last path may still be smaller; see
/// `split`.
pub const MIN_PART_MSAT: u64 = 10_000_000;

/// The share of a channel that one part may use, as a power of 1/2: all of it.
///
/// LDK's default, 2, first searches for parts of at most a quarter of each channel and lifts that only if
/// such parts cannot carry the amount. That means more parts, each with its own HTLC, fee and chance of
/// failure, up to LDK's limit. An amount that needs nearly all of several channels must arrive in as many
/// parts as there are channels. The scorer prices in how likely a nearly full channel fails and prefers
/// less used routes of the same fee.
const MAX_CHANNEL_SATURATION_POWER_OF_HALF: u8 = 0;

/// A payment's route request.
#[derive(Debug, Clone)]
pub struct RouteQuery {
    pub payee: PublicKey,
    /// The amount to deliver, in msat.
    pub amount_msat: u64,
    /// The maximum total fee of all parts, in msat.
    pub fee_limit_msat: u64,
    /// The maximum number of parts; 1 if the payee does not support MPP or AMP.
    pub max_parts: u8,
    /// The payee's final CLTV delta in blocks, without the block padding.
    pub final_cltv_delta: u32,
    /// The maximum total time lock in blocks from the newest block, including the payee's delta and the
    /// padding; `None` for [`DEFAULT_CLTV_LIMIT`].
    pub cltv_limit: Option<u32>,
    /// The short channel ids allowed as first hop; empty for any.
    pub outgoing_channels: Vec<u64>,
    /// The node that must forward the payment to the payee.
    pub last_hop: Option<PublicKey>,
    /// Route hints from the payee's invoice.
    pub route_hints: Vec<RouteHint>,
    /// Channels that failed in an earlier attempt of the same payment.
    pub failed_channels: Vec<u64>,
}

impl RouteQuery {
    /// Creates a request to pay `amount_msat` to a public key, with lnd's defaults for the rest.
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

    /// Converts the request to LDK's parameters. `onion` holds the payee's fields, whose size in the packet
    /// limits the length of the route. `height` is the height of the best block.
    ///
    /// # Errors
    /// [`NoRoute::PayloadTooLarge`] if the payee's fields leave no space in the onion.
    pub fn parameters(
        &self,
        onion: &RecipientOnionFields,
        keysend: bool,
        height: u32,
    ) -> Result<RouteParameters, NoRoute> {
        let payment = PaymentParameters::from_node_id(self.payee, self.min_blocks())
            .with_bolt11_features(payee_features())
            .and_then(|payment| payment.with_route_hints(self.route_hints.clone()))
            // Cannot fail: only parameters with blinded paths reject these.
            .map_err(|()| NoRoute::NoPath)?
            .with_max_total_cltv_expiry_delta(self.max_blocks().saturating_add(LDK_RESERVE))
            .with_max_path_count(self.part_limit())
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

    /// Returns the payee's delta including the padding, as LDK counts it.
    pub(super) fn min_blocks(&self) -> u32 {
        let delta = self.final_cltv_delta.saturating_add(BLOCK_PADDING);
        delta.saturating_sub(NEXT_BLOCK)
    }

    /// Returns the maximum sum of the path's deltas, as LDK counts them.
    pub(super) fn max_blocks(&self) -> u32 {
        let limit = self.cltv_limit.unwrap_or(DEFAULT_CLTV_LIMIT);
        limit.saturating_sub(NEXT_BLOCK)
    }

    /// Returns the maximum number of parts such that each can carry [`MIN_PART_MSAT`].
    fn part_limit(&self) -> u8 {
        let full = (self.amount_msat / MIN_PART_MSAT).max(1);
        let full = u8::try_from(full).unwrap_or(u8::MAX);
        self.max_parts.min(full)
    }
}

/// Returns the features of a payee that supports MPP.
///
/// LDK splits only for a payee with the MPP feature. An AMP payee combines the parts through AMP, so the bit
/// is right for routing; it is never sent. For a payee without MPP the query has `max_parts` 1.
fn payee_features() -> Bolt11InvoiceFeatures {
    let mut features = Bolt11InvoiceFeatures::empty();
    features.set_variable_length_onion_required();
    features.set_payment_secret_required();
    features.set_basic_mpp_optional();
    features
}

/// The reason there is no route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// The allowed channels hold less than the amount.
    #[error(
        "insufficient local balance: need {needed_msat} msat, usable channels hold {available_msat} msat"
    )]
    InsufficientBalance {
        available_msat: u64,
        needed_msat: u64,
    },
    /// There is a route, but none within the fee limit.
    #[error(
        "no route within the fee limit of {limit_msat} msat: the route found costs {needed_msat} msat"
    )]
    FeeLimit { limit_msat: u64, needed_msat: u64 },
    /// No route can carry the amount now, because a channel of ours carries as many HTLCs as it may, or as
    /// much in HTLCs as it may.
    #[error("unable to find a path to destination: the channels are full of HTLCs in flight")]
    ChannelsFull,
    /// No route to the payee can carry the amount. The text is lnd's.
    #[error("unable to find a path to destination")]
    NoPath,
    /// The payee's records leave no space in the onion.
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
    fn final_delta_includes_the_padding_less_the_block_that_ldk_adds() {
        let onion = RecipientOnionFields::secret_only(PaymentSecret([1; 32]));
        let parameters = query().parameters(&onion, false, 100).unwrap();
        let Payee::Clear {
            final_cltv_expiry_delta,
            ..
        } = parameters.payment_params.payee
        else {
            panic!("expected a payee without blinded paths");
        };
        assert_eq!(final_cltv_expiry_delta, 82);
        assert_eq!(parameters.max_total_routing_fee_msat, Some(1_000));
    }

    #[test]
    fn number_of_parts_is_limited_so_that_none_is_too_small() {
        for (amount_sat, parts) in [(1, 1), (19_999, 1), (20_000, 2), (59_999, 5), (999_999, 16)] {
            let query = RouteQuery {
                amount_msat: amount_sat * 1000,
                ..query()
            };
            assert_eq!(query.part_limit(), parts, "{amount_sat}");
        }
    }

    #[test]
    fn records_reduce_the_maximum_path_length() {
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
