//! A node pays with AMP in three shards. At least one fails on the way; its amount is sent again.
//!
//! Run it with `cargo run -p ldk-amp --example send`. The network:
//!
//! ```text
//! payer ── left ──── shop      cheaper, but `left` can only forward about 35,000 sat to the shop
//!    └──── right ────┘
//! ```

mod counterparty;
mod network;

use std::collections::HashMap;
use std::error::Error;

use bitcoin::secp256k1::PublicKey;
use ldk_amp::{
    AmpRecord, HtlcSet, MppRecord, PaymentAddr, SetId, SetLimits, Share, Splitter, recipient_fields,
};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, Retry};
use lightning::routing::router::{PaymentParameters, RouteParameters};

use counterparty::receive_shard;
use network::{Network, Node, random};

const PAYER: usize = 0;
const LEFT: usize = 1;
const RIGHT: usize = 2;
const SHOP: usize = 3;

/// One AMP payment. A real node stores the root, and each shard before it sends it.
struct Payment<'a> {
    node: &'a Node,
    to: PublicKey,
    set_id: SetId,
    mpp: MppRecord,
    splitter: Splitter,
    /// The share and the amount in msat of each shard in flight.
    in_flight: HashMap<PaymentId, (Share, u64)>,
    settled_msat: u64,
    /// Avoided by later shards. So the retries come to an end.
    failed_channels: Vec<u64>,
}

impl Payment<'_> {
    /// Sends a shard with this amount.
    fn send(&mut self, amount_msat: u64) -> Result<(), Box<dyn Error>> {
        // The last shard gets what is left of the root, so that all shares together are the root.
        let live: u64 = self.in_flight.values().map(|(_, msat)| msat).sum();
        let last = self.settled_msat + live + amount_msat == self.mpp.total_msat;
        let index = u32::from_be_bytes(random());
        let shard = self.splitter.next_shard(random(), index, last)?;
        let amp = AmpRecord {
            share: shard.share.clone(),
            set_id: self.set_id,
            child_index: shard.index,
        };
        let (hash, id) = (shard.child.hash, PaymentId(shard.child.hash.0));
        let sat = amount_msat / 1_000;
        println!("Payer: I send a shard of {sat} sat, payment hash {hash}.");

        // To LDK every shard is a payment of its own: one path, and no retries, since a retry needs
        // another hash.
        let mut to = PaymentParameters::from_node_id(self.to, 80).with_max_path_count(1);
        to.previously_failed_channels = self.failed_channels.clone();
        let route = RouteParameters::from_payment_params_and_value(to, amount_msat);
        let fields = recipient_fields(&self.mpp, Some(&amp), None, &[])?;
        let manager = &self.node.manager;
        manager
            .send_payment(hash, fields, id, route, Retry::Attempts(0))
            .map_err(|error| format!("LDK cannot send the shard: {error:?}"))?;
        self.in_flight.insert(id, (shard.share, amount_msat));
        Ok(())
    }

    fn handle(&mut self, event: Event) -> Result<(), Box<dyn Error>> {
        match event {
            Event::PaymentSent {
                payment_id: Some(id),
                payment_preimage,
                ..
            } => {
                let (_, amount_msat) = self.in_flight.remove(&id).ok_or("an unknown shard")?;
                self.settled_msat += amount_msat;
                let sat = amount_msat / 1_000;
                println!("Payer: {sat} sat arrived, preimage {payment_preimage}.");
            }
            Event::PaymentPathFailed {
                payment_failed_permanently: true,
                ..
            } => return Err("the shop refused the payment".into()),
            Event::PaymentPathFailed {
                short_channel_id: Some(scid),
                ..
            } => self.failed_channels.push(scid),
            // The shard is over. Its share goes back to the root, to be split again.
            Event::PaymentFailed { payment_id: id, .. } => {
                let (share, amount_msat) = self.in_flight.remove(&id).ok_or("an unknown shard")?;
                self.splitter.merge_back(&share);
                let sat = amount_msat / 1_000;
                println!("Payer: a shard of {sat} sat failed. I send its amount as two shards.");
                self.send(amount_msat / 2)?;
                self.send(amount_msat - amount_msat / 2)?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut network = Network::new(&[0, 0, 5_000, 0]);
    network.open_channel(PAYER, LEFT, 1_000_000, 0)?;
    network.open_channel(PAYER, RIGHT, 1_000_000, 0)?;
    network.open_channel(SHOP, LEFT, 1_000_000, 45_000)?;
    network.open_channel(SHOP, RIGHT, 1_000_000, 500_000)?;
    let [payer, shop] = [PAYER, SHOP].map(|node| &network.nodes[node]);

    let (set_id, total_msat) = (SetId::from_bytes(random()), 90_000_000);
    println!("Payer: I pay 90000 sat to the shop in three shards, with the set id {set_id}.");
    let mut payment = Payment {
        node: payer,
        to: shop.id,
        set_id,
        // The address is that of an invoice; for a payment without one it is random.
        mpp: MppRecord {
            payment_addr: PaymentAddr::from_bytes(random()),
            total_msat,
        },
        splitter: Splitter::new(Share::from_bytes(random())),
        in_flight: HashMap::new(),
        settled_msat: 0,
        failed_channels: Vec::new(),
    };
    for _ in 0..3 {
        payment.send(total_msat / 3)?;
    }
    let mut set = HtlcSet::new(set_id, SetLimits::default());
    while payment.settled_msat < total_msat {
        network.run();
        let events = [LEFT, RIGHT].map(|node| network.nodes[node].events());
        let received = shop.events();
        let sent = payer.events();
        if events.iter().chain([&received, &sent]).all(Vec::is_empty) {
            return Err("the payment is stuck".into());
        }
        for event in received {
            receive_shard(shop, &mut set, event);
        }
        for event in sent {
            payment.handle(event)?;
        }
    }
    println!("Payer: all {} sat arrived.", payment.settled_msat / 1_000);
    Ok(())
}
