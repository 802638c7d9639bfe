//! A payer, a receiver, the nodes between them, and what a test asks of them.

use std::time::{SystemTime, UNIX_EPOCH};

use ldk_amp::{PaymentAddr, SetId};
use ampd::invoices::Limits;
use ampd::payments::{Method, NewPayment, PaymentView};
use ampd::storage::invoices::HtlcState;
use ampd::storage::payments::{AttemptRecord, AttemptState, FailureReason, PaymentState};
use tokio::sync::watch;

use crate::network::Network;
use crate::payer::{Payer, Policy, payment};
use crate::receiver::Receiver;
use crate::scene::LIMITS;

pub const PAYER: usize = 0;
pub const RECEIVER: usize = 1;
pub const FIRST_MIDDLE: usize = 2;
/// A tenth of it may be in flight.
pub const CHANNEL_SAT: u64 = 1_000_000;
/// More than one way carries, and not more than two.
pub const OVER_TWO_WAYS: u64 = 150_000_000;
pub const OVER_ONE_WAY: u64 = 50_000_000;

/// A way over one node, by the short channel id of its second channel.
pub struct Way {
    pub middle: usize,
    pub scid: u64,
    pub policy: Policy,
}

pub struct Scene {
    pub network: Network,
    pub payer: Payer,
    pub receiver: Receiver,
    pub ways: Vec<Way>,
}

impl Scene {
    /// Ways of 100,000 sat each that the payer has not heard of.
    pub fn new(ways: usize) -> Self {
        Self::with(ways, LIMITS, CHANNEL_SAT)
    }

    /// Ways that carry half of what the payer will hear.
    pub fn of_poor_ways(ways: usize) -> Self {
        Self::with(ways, LIMITS, CHANNEL_SAT / 2)
    }

    /// To a receiver that refuses AMP payments without an invoice.
    pub fn without_accept_amp(ways: usize) -> Self {
        let limits = Limits {
            accept_amp: false,
            ..LIMITS
        };
        Self::with(ways, limits, CHANNEL_SAT)
    }

    fn with(ways: usize, limits: Limits, last_channel_sat: u64) -> Self {
        let network = Network::new(FIRST_MIDDLE + ways);
        let way = |middle: usize| {
            network.channel_of(PAYER, middle, CHANNEL_SAT);
            let scid = network.channel_of(middle, RECEIVER, last_channel_sat);
            let channels = network.nodes[middle].node.list_channels();
            let to_receiver = channels.iter().find(|c| c.short_channel_id == Some(scid));
            let config = to_receiver.unwrap().config.unwrap();
            Way {
                middle,
                scid,
                policy: Policy {
                    fee_base_msat: config.forwarding_fee_base_msat,
                    cltv_delta: config.cltv_expiry_delta,
                },
            }
        };
        let ways = (FIRST_MIDDLE..FIRST_MIDDLE + ways).map(way).collect();
        Self {
            payer: Payer::new(&network, PAYER),
            receiver: Receiver::new(&network, RECEIVER, limits),
            network,
            ways,
        }
    }

    /// The payer hears of these ways as they are.
    pub fn open_ways(&self, ways: impl IntoIterator<Item = usize>) {
        for way in ways {
            let Way {
                middle,
                scid,
                policy,
            } = self.ways[way];
            self.hear_of(scid, middle, policy);
        }
    }

    /// The payer hears that these ways, of which it heard before, are as they are.
    pub fn open_ways_again(&self, ways: impl IntoIterator<Item = usize>) {
        for way in ways {
            let Way { scid, policy, .. } = self.ways[way];
            self.payer.hear_of_policy(scid, policy, 2);
        }
    }

    /// The payer hears of this way, but not that it has become dearer: HTLCs over it fail.
    pub fn open_stale_way(&self, way: usize) {
        let Way {
            middle,
            scid,
            policy,
        } = self.ways[way];
        let fee_base_msat = 0;
        self.hear_of(
            scid,
            middle,
            Policy {
                fee_base_msat,
                ..policy
            },
        );
    }

    /// The node in the middle of this way loses its connection to the receiver.
    pub fn disconnect_from_receiver(&self, way: usize) {
        self.network.disconnect(self.ways[way].middle, RECEIVER);
    }

    pub fn reconnect_to_receiver(&self, way: usize) {
        self.network.reconnect(self.ways[way].middle, RECEIVER);
    }

    fn hear_of(&self, scid: u64, middle: usize, policy: Policy) {
        self.payer
            .hear_of(&self.network, scid, [middle, RECEIVER], policy);
    }

    /// To the receiver's public key, or with this address.
    pub fn amp(&self, amount_msat: u64, payment_addr: Option<PaymentAddr>) -> NewPayment {
        let method = Method::Amp { payment_addr };
        payment(&self.network, RECEIVER, amount_msat, method)
    }

    /// Everybody handles events until nothing moves any more.
    pub fn run(&self) {
        loop {
            self.network.settle_down();
            let mut moved = self.receiver.handle_events();
            for event in self.network.events(PAYER) {
                moved = true;
                self.payer.handle(event);
            }
            for way in &self.ways {
                moved |= !self.network.events(way.middle).is_empty();
            }
            if !moved {
                return;
            }
        }
    }

    /// Everything goes on until the payment is so.
    pub fn run_until(
        &self,
        views: &mut watch::Receiver<PaymentView>,
        condition: impl Fn(&PaymentView) -> bool,
    ) -> PaymentView {
        loop {
            self.run();
            let view = views.borrow_and_update().clone();
            if condition(&view) {
                return view;
            }
            self.payer.glance(views);
        }
    }

    pub fn start(&self, payment: NewPayment) -> watch::Receiver<PaymentView> {
        self.payer.start(payment).unwrap()
    }

    pub fn pay(&self, payment: NewPayment) -> PaymentView {
        let mut views = self.start(payment);
        self.run_until(&mut views, PaymentView::is_final)
    }

    /// At least so many shards have arrived and wait for the others.
    pub fn run_until_held(
        &self,
        views: &mut watch::Receiver<PaymentView>,
        htlcs: usize,
    ) -> PaymentView {
        self.run_until(views, |view| {
            let held = self.receiver.htlcs(set_of(view)).into_iter();
            held.filter(|htlc| htlc.state == HtlcState::Accepted)
                .count()
                >= htlcs
        })
    }

    /// The receiver's patience ends.
    pub fn expire_sets(&self) {
        self.receiver.registry.expire_sets(now() + 121);
    }
}

pub fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

pub fn set_of(view: &PaymentView) -> SetId {
    SetId::from_bytes(view.record.identifier)
}

pub fn in_state(view: &PaymentView, state: AttemptState) -> Vec<&AttemptRecord> {
    let attempts = view.attempts.iter();
    attempts.filter(|attempt| attempt.state == state).collect()
}

#[track_caller]
pub fn assert_failed(view: &PaymentView, reason: FailureReason) {
    assert_eq!(view.record.state, PaymentState::Failed);
    assert_eq!(view.record.failure_reason, reason);
    assert!(in_state(view, AttemptState::Succeeded).is_empty());
}

#[track_caller]
pub fn assert_succeeded(view: &PaymentView) {
    let ended = (view.record.state, view.record.failure_reason);
    assert_eq!(ended, (PaymentState::Succeeded, FailureReason::None));
    let settled = in_state(view, AttemptState::Succeeded);
    let sum: u64 = settled.iter().map(|attempt| attempt.amount_msat()).sum();
    assert_eq!(sum, view.record.terms.amount_msat);
}
