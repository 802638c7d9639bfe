//! Test fixture with a payer, a receiver and the nodes between them.

use std::time::{SystemTime, UNIX_EPOCH};

use ampd::invoices::Limits;
use ampd::model::attempt::{AttemptRecord, AttemptState};
use ampd::model::htlc::HtlcState;
use ampd::model::payment::{FailureReason, PaymentState};
use ampd::payments::{Method, NewPayment, PaymentView};
use ldk_amp::{PaymentAddr, SetId};
use tokio::sync::watch;

use crate::network::Network;
use crate::payer::{Payer, Policy, payment};
use crate::receiver::Receiver;
use crate::scene::LIMITS;

pub(crate) const PAYER: usize = 0;
pub(crate) const RECEIVER: usize = 1;
pub(crate) const FIRST_MIDDLE: usize = 2;
/// The channel capacity; a tenth of it may be in flight.
pub(crate) const CHANNEL_SAT: u64 = 1_000_000;
/// An amount in msat that needs exactly two routes.
pub(crate) const TWO_ROUTES_MSAT: u64 = 150_000_000;
/// An amount in msat that one route can carry.
pub(crate) const ONE_ROUTE_MSAT: u64 = 50_000_000;

/// A route over one intermediate node, identified by its second channel's short channel id.
pub(crate) struct Route {
    pub middle: usize,
    pub scid: u64,
    pub policy: Policy,
}

pub(crate) struct Scene {
    pub network: Network,
    pub payer: Payer,
    pub receiver: Receiver,
    pub routes: Vec<Route>,
}

impl Scene {
    /// Creates routes that carry 100,000 sat each, not yet known to the payer.
    pub(crate) fn new(routes: usize) -> Self {
        Self::with(routes, LIMITS, CHANNEL_SAT)
    }

    /// Creates routes that carry half of what is announced to the payer.
    pub(crate) fn with_low_capacity_routes(routes: usize) -> Self {
        Self::with(routes, LIMITS, CHANNEL_SAT / 2)
    }

    /// Creates a receiver that refuses AMP payments without an invoice.
    pub(crate) fn without_accept_amp(routes: usize) -> Self {
        let limits = Limits {
            accept_amp: false,
            ..LIMITS
        };
        Self::with(routes, limits, CHANNEL_SAT)
    }

    fn with(routes: usize, limits: Limits, last_channel_sat: u64) -> Self {
        let network = Network::new(FIRST_MIDDLE + routes);
        let route = |middle: usize| {
            network.channel_of(PAYER, middle, CHANNEL_SAT);
            let scid = network.channel_of(middle, RECEIVER, last_channel_sat);
            let channels = network.nodes[middle].node.list_channels();
            let to_receiver = channels.iter().find(|c| c.short_channel_id == Some(scid));
            let config = to_receiver.unwrap().config.unwrap();
            Route {
                middle,
                scid,
                policy: Policy {
                    fee_base_msat: config.forwarding_fee_base_msat,
                    cltv_delta: config.cltv_expiry_delta,
                },
            }
        };
        let routes = (FIRST_MIDDLE..FIRST_MIDDLE + routes).map(route).collect();
        Self {
            payer: Payer::new(&network, PAYER),
            receiver: Receiver::new(&network, RECEIVER, limits),
            network,
            routes,
        }
    }

    /// Announces these routes to the payer with their actual policies.
    pub(crate) fn announce_routes(&self, routes: impl IntoIterator<Item = usize>) {
        for route in routes {
            let Route {
                middle,
                scid,
                policy,
            } = self.routes[route];
            self.learn_channel(scid, middle, policy);
        }
    }

    /// Announces the actual policies of routes that the payer already knows.
    pub(crate) fn update_routes(&self, routes: impl IntoIterator<Item = usize>) {
        for route in routes {
            let Route { scid, policy, .. } = self.routes[route];
            self.payer.learn_policy(scid, policy, 2);
        }
    }

    /// Announces this route to the payer with an outdated fee, so that HTLCs over it fail.
    pub(crate) fn announce_stale_route(&self, route: usize) {
        let Route {
            middle,
            scid,
            policy,
        } = self.routes[route];
        let fee_base_msat = 0;
        self.learn_channel(
            scid,
            middle,
            Policy {
                fee_base_msat,
                ..policy
            },
        );
    }

    /// Disconnects this route's intermediate node from the receiver.
    pub(crate) fn disconnect_from_receiver(&self, route: usize) {
        self.network.disconnect(self.routes[route].middle, RECEIVER);
    }

    pub(crate) fn reconnect_to_receiver(&self, route: usize) {
        self.network.reconnect(self.routes[route].middle, RECEIVER);
    }

    fn learn_channel(&self, scid: u64, middle: usize, policy: Policy) {
        self.payer
            .learn_channel(&self.network, scid, [middle, RECEIVER], policy);
    }

    /// Returns an AMP payment to the receiver's public key, or to this payment address.
    pub(crate) fn amp(&self, amount_msat: u64, payment_addr: Option<PaymentAddr>) -> NewPayment {
        let method = Method::Amp { payment_addr };
        payment(&self.network, RECEIVER, amount_msat, method)
    }

    /// Delivers messages and handles events until all nodes are idle.
    pub(crate) fn run(&self) {
        loop {
            self.network.run_until_idle();
            let mut moved = self.receiver.handle_events();
            for event in self.network.events(PAYER) {
                moved = true;
                self.payer.handle(event);
            }
            for route in &self.routes {
                moved |= !self.network.events(route.middle).is_empty();
            }
            if !moved {
                return;
            }
        }
    }

    /// Runs the network until the payment satisfies the condition.
    pub(crate) fn run_until(
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
            self.payer.wait_for_change(views);
        }
    }

    pub(crate) fn start(&self, payment: NewPayment) -> watch::Receiver<PaymentView> {
        self.payer.start(payment).unwrap()
    }

    pub(crate) fn pay(&self, payment: NewPayment) -> PaymentView {
        let mut views = self.start(payment);
        self.run_until(&mut views, PaymentView::is_final)
    }

    /// Runs the network until the receiver holds at least this many shards.
    pub(crate) fn run_until_held(
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

    /// Times out all sets held by the receiver.
    pub(crate) fn expire_sets(&self) {
        self.receiver.registry.expire_sets(now() + 121);
    }
}

pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}

pub(crate) fn set_of(view: &PaymentView) -> SetId {
    SetId::from_bytes(view.record.identifier)
}

pub(crate) fn in_state(view: &PaymentView, state: AttemptState) -> Vec<&AttemptRecord> {
    let attempts = view.attempts.iter();
    attempts.filter(|attempt| attempt.state == state).collect()
}

#[track_caller]
pub(crate) fn assert_failed(view: &PaymentView, reason: FailureReason) {
    assert_eq!(view.record.state, PaymentState::Failed);
    assert_eq!(view.record.failure_reason, reason);
    assert!(in_state(view, AttemptState::Succeeded).is_empty());
}

#[track_caller]
pub(crate) fn assert_succeeded(view: &PaymentView) {
    let ended = (view.record.state, view.record.failure_reason);
    assert_eq!(ended, (PaymentState::Succeeded, FailureReason::None));
    let settled = in_state(view, AttemptState::Succeeded);
    let sum: u64 = settled.iter().map(|attempt| attempt.amount_msat()).sum();
    assert_eq!(sum, view.record.terms.amount_msat);
}
