//! A shop receives an AMP payment in three shards, and fails one of which a shard is missing.
//!
//! Run it with `cargo run -p ldk-amp --example receive`. How the shop's node is wired, with the
//! `Gateway` as its channel message handler, is in `network/mod.rs`.

mod counterparty;
mod network;

use std::collections::HashMap;
use std::error::Error;

use ldk_amp::{
    Envelope, HtlcKey, HtlcSet, MppRecord, Outcome, PaymentAddr, SetHtlc, SetId, SetLimits, Share,
    Splitter,
};
use lightning::events::Event;
use lightning::ln::channelmanager::RecipientOnionFields;
use lightning::types::payment::PaymentHash;

use counterparty::send_shard;
use network::{Network, Node, now, random};

const PRICE_MSAT: u64 = 60_000_000;

/// The receiving side: an invoice, and the payments that arrive for it.
struct Shop<'a> {
    node: &'a Node,
    /// The fields that an invoice would contain. Without one, payers may choose any address.
    payment_addr: PaymentAddr,
    sets: HashMap<SetId, HtlcSet>,
    envelopes: HashMap<HtlcKey, Envelope>,
}

impl Shop<'_> {
    fn handle(&mut self, event: Event) {
        match event {
            Event::PaymentClaimable {
                payment_hash,
                amount_msat,
                onion_fields: Some(fields),
                claim_deadline,
                ..
            } => self.claimable(payment_hash, amount_msat, &fields, claim_deadline),
            Event::PaymentClaimed { amount_msat, .. } => {
                println!("Shop: claimed {} sat.", amount_msat / 1_000);
            }
            _ => {}
        }
    }

    /// LDK holds an HTLC, which is ours to claim or to fail.
    fn claimable(
        &mut self,
        payment_hash: PaymentHash,
        amount_msat: u64,
        fields: &RecipientOnionFields,
        claim_deadline: Option<u32>,
    ) {
        let manager = &self.node.manager;
        // The gateway has put the AMP and MPP records into an envelope, which only it can create.
        let key = &self.node.envelope_key;
        let Some(envelope) = Envelope::open(key, &payment_hash, fields.custom_tlvs()) else {
            return manager.fail_htlc_backwards(&payment_hash); // Not AMP. A real node knows more.
        };
        // Invoices are up to the caller: is it ours, and is the total enough?
        let ours =
            |mpp: &MppRecord| mpp.payment_addr == self.payment_addr && mpp.total_msat >= PRICE_MSAT;
        let Some(mpp) = envelope.mpp.filter(ours) else {
            return manager.fail_htlc_backwards(&payment_hash);
        };
        let height = manager.current_best_block().height;
        let htlc = SetHtlc {
            key: envelope.key(),
            payment_hash,
            amount_msat,
            share: envelope.amp.share.clone(),
            child_index: envelope.amp.child_index,
            total_msat: mpp.total_msat,
            cltv_expiry: envelope.cltv_expiry,
            claim_deadline,
            accepted_height: height,
            accepted_at: now(),
        };
        let id = envelope.amp.set_id;
        self.envelopes.insert(htlc.key, envelope);
        let new = || HtlcSet::new(id, SetLimits::default());
        let set = self.sets.entry(id).or_insert_with(new);
        // The set decides. A real node stores the decision before it carries it out.
        let outcome = set.accept(htlc, height);
        let held_msat = set.held_msat();
        self.carry_out(outcome, held_msat, mpp.total_msat);
    }

    fn carry_out(&self, outcome: Outcome, held_msat: u64, total_msat: u64) {
        let manager = &self.node.manager;
        match outcome {
            Outcome::Hold => {
                let (held, total) = (held_msat / 1_000, total_msat / 1_000);
                println!("Shop: I hold {held} of {total} sat and cannot claim anything yet.");
            }
            Outcome::Settle(claims) => {
                println!("Shop: that completes the set. From all shares I derive all preimages:");
                for claim in claims {
                    println!(
                        "  {} is the preimage of {}",
                        claim.preimage, claim.payment_hash
                    );
                    manager.claim_funds(claim.preimage);
                }
            }
            Outcome::Fail { reason, htlcs } => {
                println!("Shop: I fail {} HTLCs: {reason}.", htlcs.len());
                for htlc in htlcs {
                    manager.fail_htlc_backwards(&htlc.payment_hash);
                }
            }
        }
    }

    /// Fails HTLCs that have waited too long for the rest of their set. Call it regularly.
    fn expire(&mut self, now: u64) {
        for set in self.sets.values_mut() {
            for htlc in set.overdue(now).iter().filter_map(|key| set.remove(key)) {
                println!("Shop: I fail {} with mpp_timeout.", htlc.payment_hash);
                // LDK has no such failure, so the gateway writes it.
                self.node
                    .gateway
                    .mark_mpp_timeout(&self.envelopes[&htlc.key]);
                self.node.manager.fail_htlc_backwards(&htlc.payment_hash);
            }
        }
    }
}

/// Splits the price into one shard per amount, and sends the first `count` of them. Returns the
/// events of the payer.
fn pay(
    network: &Network,
    shop: &mut Shop<'_>,
    sats: &[u64],
    count: usize,
) -> Result<Vec<Event>, Box<dyn Error>> {
    let payer = &network.nodes[0];
    let mut splitter = Splitter::new(Share::from_bytes(random()));
    let set_id = SetId::from_bytes(random());
    println!(
        "\nPayer: I pay in {} shards, with the set id {set_id}.",
        sats.len()
    );
    let mut events = Vec::new();
    for (i, sat) in sats.iter().enumerate().take(count) {
        let index = u32::from_be_bytes(random());
        let shard = splitter.next_shard(random(), index, i + 1 == sats.len())?;
        let mpp = MppRecord {
            payment_addr: shop.payment_addr,
            total_msat: PRICE_MSAT,
        };
        let hash = shard.child.hash;
        println!(
            "Payer: I send shard {}, {sat} sat, payment hash {hash}.",
            i + 1
        );
        send_shard(payer, shop.node, &mpp, set_id, shard, sat * 1_000)?;
        events.extend(run(network, shop));
    }
    Ok(events)
}

/// Runs the network until nothing happens any more. Returns the events of the payer.
fn run(network: &Network, shop: &mut Shop<'_>) -> Vec<Event> {
    let mut payer_events = Vec::new();
    loop {
        network.run();
        let shop_events = shop.node.events();
        let more = network.nodes[0].events();
        if shop_events.is_empty() && more.is_empty() {
            return payer_events;
        }
        shop_events.into_iter().for_each(|event| shop.handle(event));
        payer_events.extend(more);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut network = Network::new(&[0, 0]);
    network.open_channel(0, 1, 1_000_000, 0)?;
    let mut shop = Shop {
        node: &network.nodes[1],
        payment_addr: PaymentAddr::from_bytes(random()),
        sets: HashMap::new(),
        envelopes: HashMap::new(),
    };
    let (price, addr) = (PRICE_MSAT / 1_000, shop.payment_addr);
    println!("Shop: please pay {price} sat to the payment address {addr}.");

    let events = pay(&network, &mut shop, &[10_000, 20_000, 30_000], 3)?;
    let sent = |event: &&Event| matches!(event, Event::PaymentSent { .. });
    let paid = events.iter().filter(sent).count();
    println!("Payer: I got {paid} of 3 preimages.");
    if paid != 3 {
        return Err(format!("the payment did not succeed: {events:?}").into());
    }

    // The same address can be paid again, but this payer stops after the first of two shards.
    pay(&network, &mut shop, &[40_000, 20_000], 1)?;
    println!("(120 seconds later)");
    shop.expire(now() + 120);
    let events = run(&network, &mut shop);
    let failed = |event: &Event| matches!(event, Event::PaymentFailed { .. });
    if !events.iter().any(failed) {
        return Err(format!("the incomplete payment did not fail: {events:?}").into());
    }
    println!("Payer: my shard came back. The shop got nothing of an incomplete payment.");
    Ok(())
}
