//! Test fixture with payers, a receiver and the channels between them.

use ampd::invoices::Limits;
use ampd::model::htlc::HtlcState;
use ampd::model::invoice::InvoiceRecord;
use ldk_amp::{PaymentAddr, SetId, SetLimits};
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields, Retry};
use lightning::routing::router::{PaymentParameters, RouteParameters};
use lightning::types::payment::{PaymentHash, PaymentPreimage};

use crate::network::{FINAL_DELTA, Network, Outgoing};
use crate::receiver::{Receiver, StoredSet};
use crate::sender::{Attempts, Outcome, Shard, shards};

const PAYER: usize = 0;
const RECEIVER: usize = 1;
const OTHER_PAYER: usize = 2;

pub(crate) const LIMITS: Limits = Limits {
    accept_amp: true,
    accept_keysend: true,
    set: SetLimits {
        max_htlcs: 128,
        hold_seconds: 120,
        claim_margin_blocks: 2,
    },
    max_open_sets: 100,
    max_held_per_channel: 100,
    default_cltv_delta: 80,
};

/// Returns a set id for tests.
pub(crate) const fn set(number: u8) -> SetId {
    SetId::from_bytes([number; 32])
}

pub(crate) fn addr(invoice: &InvoiceRecord) -> PaymentAddr {
    invoice.payment_addr
}

/// Returns a stored set whose HTLCs are held.
pub(crate) fn held(amt_paid_msat: u64, htlcs: usize) -> Option<StoredSet> {
    stored_set(HtlcState::Accepted, amt_paid_msat, htlcs)
}

/// Returns a stored set of which every HTLC is settled.
pub(crate) fn settled(amt_paid_msat: u64, htlcs: usize) -> Option<StoredSet> {
    stored_set(HtlcState::Settled, amt_paid_msat, htlcs)
}

/// Returns a stored set of which every HTLC is canceled.
pub(crate) fn canceled(htlcs: usize) -> Option<StoredSet> {
    stored_set(HtlcState::Canceled, 0, htlcs)
}

fn stored_set(state: HtlcState, amt_paid_msat: u64, htlcs: usize) -> Option<StoredSet> {
    Some(StoredSet {
        state,
        amt_paid_msat,
        htlcs: vec![state; htlcs],
    })
}

pub(crate) struct Scene {
    pub network: Network,
    pub receiver: Receiver,
    /// Each payer with its channel.
    channels: Vec<(usize, u64)>,
    attempts: Attempts,
}

impl Scene {
    /// Creates one payer with a channel to the receiver.
    pub(crate) fn new() -> Self {
        Self::with(LIMITS)
    }

    pub(crate) fn with(limits: Limits) -> Self {
        Self::build(&[PAYER], limits)
    }

    pub(crate) fn with_two_payers() -> Self {
        Self::build(&[PAYER, OTHER_PAYER], LIMITS)
    }

    fn build(payers: &[usize], limits: Limits) -> Self {
        let network = Network::new(payers.len() + 1);
        let channel = |payer: &usize| (*payer, network.channel(*payer, RECEIVER));
        Self {
            channels: payers.iter().map(channel).collect(),
            receiver: Receiver::new(&network, RECEIVER, limits),
            network,
            attempts: Attempts::default(),
        }
    }

    /// Sends the shard and runs all nodes until idle.
    pub(crate) fn send(&self, shard: &Shard) -> PaymentId {
        self.send_from(0, shard)
    }

    /// Sends as the first (0) or second (1) payer.
    pub(crate) fn send_from(&self, payer: usize, shard: &Shard) -> PaymentId {
        let (from, scid) = self.channels[payer];
        let id = self.attempts.next_id();
        self.network.send_htlc(Outgoing {
            from,
            hops: &[(RECEIVER, scid)],
            amount_msat: shard.amount_msat,
            final_delta: shard.final_delta,
            hash: shard.hash,
            onion: shard.onion(),
            id,
        });
        self.run();
        id
    }

    pub(crate) fn send_all(&self, shards: &[Shard]) -> Vec<PaymentId> {
        shards.iter().map(|shard| self.send(shard)).collect()
    }

    /// Sends a keysend with this preimage through the payer's own LDK.
    pub(crate) fn send_keysend(
        &self,
        preimage: PaymentPreimage,
        amount_msat: u64,
        onion: RecipientOnionFields,
    ) -> PaymentId {
        let nodes = &self.network.nodes;
        let receiver = nodes[RECEIVER].node.get_our_node_id();
        let to = PaymentParameters::for_keysend(receiver, FINAL_DELTA, false);
        let route = RouteParameters::from_payment_params_and_value(to, amount_msat);
        let id = self.attempts.next_id();
        nodes[PAYER]
            .node
            .send_spontaneous_payment(Some(preimage), onion, id, route, Retry::Attempts(0))
            .unwrap();
        self.run();
        id
    }

    /// Returns an HTLC that pays `amount_msat` to a regular (non-AMP) invoice of the receiver.
    pub(crate) fn regular(&self, hash: PaymentHash, amount_msat: u64) -> Shard {
        let receiver = self.network.nodes[RECEIVER].node;
        // The registry here uses other keys than the test node, so take the secret from LDK.
        let secret = receiver.create_inbound_payment_for_hash(hash, None, 7_200, None);
        let addr = PaymentAddr::from_bytes(secret.unwrap().0);
        let shard = shards(set(0xff), addr, &[amount_msat]).remove(0);
        shard.with_hash(hash).without_amp()
    }

    /// Delivers messages and handles events until all nodes are idle.
    pub(crate) fn run(&self) {
        loop {
            self.network.run_until_idle();
            let mut moved = self.receiver.handle_events();
            for (payer, _) in &self.channels {
                for event in self.network.events(*payer) {
                    moved = true;
                    self.attempts.handle(event);
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Connects this many blocks, after delivering everything in flight.
    pub(crate) fn mine(&self, blocks: u32) {
        self.run();
        self.network.mine(blocks);
        self.run();
    }

    /// Expires the registry's sets as of this Unix time in seconds.
    pub(crate) fn expire_sets_at(&self, now: u64) {
        self.receiver.registry.expire_sets(now);
        self.run();
    }

    pub(crate) fn restart(&mut self) {
        self.receiver.restart();
        self.run();
    }

    pub(crate) fn outcome(&self, attempt: &PaymentId) -> Outcome {
        self.attempts.outcome(attempt)
    }

    pub(crate) fn outcomes(&self, attempts: &[PaymentId]) -> Vec<Outcome> {
        attempts.iter().map(|id| self.outcome(id)).collect()
    }

    /// Returns PERM|15 with this shard's amount and the current height.
    pub(crate) fn refusal(&self, shard: &Shard) -> Outcome {
        Outcome::Refused {
            amount_msat: shard.amount_msat,
            height: self.network.height(),
        }
    }

    pub(crate) fn stored_set(&self, set_id: SetId) -> Option<StoredSet> {
        self.receiver.stored_set(set_id)
    }

    /// Asserts that the shard is refused with PERM|15 and not stored.
    pub(crate) fn assert_refused_and_not_stored(&self, shard: &Shard, case: &str) {
        let before = (
            self.receiver.invoices(),
            self.receiver.htlcs(shard.set_id()),
        );
        let attempt = self.send(shard);
        assert_eq!(self.outcome(&attempt), self.refusal(shard), "{case}");
        let after = (
            self.receiver.invoices(),
            self.receiver.htlcs(shard.set_id()),
        );
        assert_eq!(after, before, "{case}");
    }

    /// Asserts that these shards together settle.
    pub(crate) fn assert_settles(&self, shards: &[Shard]) {
        let attempts = self.send_all(shards);
        assert_eq!(
            self.outcomes(&attempts),
            vec![Outcome::Settled; shards.len()]
        );
    }
}
