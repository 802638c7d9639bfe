//! The other side of each example, as short as possible: a payer for `receive` and a recipient for
//! `send`.

#![allow(dead_code)] // Each example uses one of them.

use std::error::Error;

use ldk_amp::{
    AmpRecord, Envelope, HtlcSet, MppRecord, Outcome, SetHtlc, SetId, Shard, recipient_fields,
};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, Retry};
use lightning::routing::router::{PaymentParameters, RouteParameters};

use crate::network::{Node, now};

/// Sends one shard of a payment from `payer` to `to`. The example `send` explains it.
pub(crate) fn send_shard(
    payer: &Node,
    to: &Node,
    mpp: &MppRecord,
    set_id: SetId,
    shard: Shard,
    amount_msat: u64,
) -> Result<(), Box<dyn Error>> {
    let hash = shard.child.hash;
    let amp = AmpRecord {
        share: shard.share,
        set_id,
        child_index: shard.index,
    };
    let fields = recipient_fields(mpp, Some(&amp), None, &[])?;
    let to = PaymentParameters::from_node_id(to.id, 80).with_max_path_count(1);
    let route = RouteParameters::from_payment_params_and_value(to, amount_msat);
    let manager = &payer.manager;
    let sent = manager.send_payment(hash, fields, PaymentId(hash.0), route, Retry::Attempts(0));
    Ok(sent.map_err(|error| format!("LDK cannot send the shard: {error:?}"))?)
}

/// Receives a shard, as the example `receive` explains. Returns `None` for any other event.
pub(crate) fn receive_shard(shop: &Node, set: &mut HtlcSet, event: Event) -> Option<()> {
    let Event::PaymentClaimable {
        payment_hash,
        amount_msat,
        onion_fields,
        claim_deadline,
        ..
    } = event
    else {
        return None;
    };
    let fields = onion_fields?;
    let envelope = Envelope::open(&shop.envelope_key, &payment_hash, fields.custom_tlvs())?;
    let height = shop.manager.current_best_block().height;
    let htlc = SetHtlc {
        key: envelope.key(),
        payment_hash,
        amount_msat,
        total_msat: envelope.mpp?.total_msat,
        share: envelope.amp.share,
        child_index: envelope.amp.child_index,
        cltv_expiry: envelope.cltv_expiry,
        claim_deadline,
        accepted_height: height,
        accepted_at: now(),
    };
    match set.accept(htlc, height) {
        Outcome::Hold => println!("Shop: I hold {} sat.", set.held_msat() / 1_000),
        Outcome::Settle(claims) => {
            let count = claims.len();
            println!("Shop: the payment is complete. I claim its {count} shards.");
            for claim in claims {
                shop.manager.claim_funds(claim.preimage);
            }
        }
        Outcome::Fail { htlcs, .. } => {
            for htlc in htlcs {
                shop.manager.fail_htlc_backwards(&htlc.payment_hash);
            }
        }
    }
    Some(())
}
