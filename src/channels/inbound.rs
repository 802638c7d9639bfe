//! Decides whether to accept channels that peers ask to open.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::Amount;
use bitcoin::secp256k1::PublicKey;
use lightning::events::InboundChannelFunds;
use lightning::ln::channel_state::ChannelDetails;

use super::acceptors::{ChannelAcceptors, Terms};
use super::depth;
use super::inbound_request::Request;
use super::list::{ChannelState, state};
use super::open::describe;
use super::pending_decisions::PendingDecisions;
use super::unfunded::{self, NewPeer, Origin, UnfundedChannels};
use super::user_channel_id::UserChannelId;
use crate::ldk::ChannelManager;

/// The number of unconfirmed channels that one peer may have. It is one below LDK's limit, so that
/// the peer gets lnd's error text, which wallets recognize, instead of LDK's.
pub const MAX_PENDING_PER_PEER: usize = 3;

/// The conditions under which an inbound channel is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptRules {
    /// The smallest capacity, in sat.
    pub min_channel_sat: u64,
    /// The number of unconfirmed channels that one peer may have (lnd's `maxpendingchannels`).
    pub max_pending_per_peer: usize,
    /// Refuses anchor channels while the wallet cannot pay for their force close. If false, a node
    /// without on-chain funds can receive its first channel, as with lnd.
    pub require_reserve: bool,
}

/// The on-chain funds for force-closing one more anchor channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ForcedCloseFunds {
    /// The amount by which the wallet falls short of the reserve, including that channel.
    pub missing: Amount,
    /// The minimum fee rate of bitcoind's mempool, in sat per 1000 weight units.
    pub mempool_min_sat_per_kw: u32,
}

/// Queries the wallet and the mempool.
pub type AskFunds = dyn Fn() -> ForcedCloseFunds + Send + Sync;

/// What the node knows about its peers.
pub trait KnownPeers: Send + Sync {
    /// Returns the address from which the peer is connected, or `None` if it is disconnected.
    fn address(&self, peer: &PublicKey) -> Option<IpAddr>;
    fn is_connected(&self, peer: &PublicKey) -> bool;
    /// Returns whether the peer has a confirmed channel, with us or with others, and so has paid
    /// on-chain fees.
    fn has_paid(&self, peer: &PublicKey) -> bool;
}

/// The reason for refusing a channel; the text is sent to the peer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    #[error("chan size of {asked} sat is below min chan size of {min} sat")]
    TooSmall { asked: u64, min: u64 },
    #[error("Number of pending channels exceed maximum")]
    TooManyPending,
    /// Too many channels of this peer, or of all peers without a confirmed channel, whose funding
    /// transaction is unknown.
    #[error("too many channels without a funding transaction, try again later")]
    TooManyUnfunded,
    #[error("zero-conf channels are not accepted")]
    ZeroConf,
    #[error("dual-funded channels are not accepted")]
    DualFunded,
    #[error("not enough funds in reserve to accept an anchor channel")]
    Reserve,
    /// The commitment transaction could not confirm, as we have no funds to bump its fee.
    #[error(
        "commitment feerate of {offered} sat/kw is below the mempool minimum fee of {least} sat/kw"
    )]
    CommitmentFee { offered: u32, least: u32 },
    /// The reason given by a channel acceptor.
    #[error("{0}")]
    Decided(String),
    /// LDK's reason, or a failure of the random number generator.
    #[error("{0}")]
    Failed(String),
}

/// Accepts or refuses requests for inbound channels.
pub struct Acceptor {
    manager: Arc<ChannelManager>,
    rules: AcceptRules,
    funds: Arc<AskFunds>,
    unfunded: Arc<UnfundedChannels>,
    known_peers: Arc<dyn KnownPeers>,
    acceptors: ChannelAcceptors,
    decisions: PendingDecisions,
}

impl Acceptor {
    pub fn new(
        manager: Arc<ChannelManager>,
        rules: AcceptRules,
        funds: Arc<AskFunds>,
        unfunded: Arc<UnfundedChannels>,
        known_peers: Arc<dyn KnownPeers>,
    ) -> Self {
        Self {
            manager,
            rules,
            funds,
            unfunded,
            known_peers,
            acceptors: ChannelAcceptors::default(),
            decisions: PendingDecisions::default(),
        }
    }

    /// Returns the channel acceptors, which are asked about requests that satisfy the rules.
    pub fn acceptors(&self) -> &ChannelAcceptors {
        &self.acceptors
    }

    /// Returns whether a request waits for the decision of a channel acceptor.
    pub fn has_pending_decisions(&self) -> bool {
        !self.decisions.is_empty()
    }

    /// Accepts or refuses the request, either now or once the channel acceptors have decided. LDK
    /// keeps the request pending until then.
    pub fn open_channel_request(self: &Arc<Self>, request: Request) {
        if let Err(refusal) = self.check(&request) {
            return self.refuse(&request, &refusal);
        }
        if self.acceptors.is_empty() {
            return self.accept_or_refuse(&request, Terms::default());
        }
        let pending = self.decisions.enter(
            request.counterparty_node_id,
            request.temporary_channel_id,
            self.rules.max_pending_per_peer,
        );
        let Some(pending) = pending else {
            return self.refuse(&request, &Refusal::TooManyPending);
        };
        let acceptor = self.clone();
        tokio::spawn(async move {
            match acceptor.acceptors.decide(&request).await {
                Ok(terms) => acceptor.accept_or_refuse(&request, terms),
                Err(reason) => acceptor.refuse(&request, &Refusal::Decided(reason)),
            }
            drop(pending);
        });
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        let existing = self.manager.list_channels();
        self.rules.check(request, &existing, (self.funds)())
    }

    /// Checks the rules again: other channels may have been added while the acceptors decided.
    fn accept_or_refuse(&self, request: &Request, terms: Terms) {
        let peer = request.counterparty_node_id;
        let accepted = self
            .check(request)
            .and_then(|()| self.accept(request, terms));
        match accepted {
            Ok(()) => {
                tracing::info!(%peer, sat = request.funding_satoshis, "channel accepted");
                self.warn_of_missing_reserve(request);
            }
            Err(refusal) => self.refuse(request, &refusal),
        }
    }

    fn accept(&self, request: &Request, terms: Terms) -> Result<(), Refusal> {
        let terms = Terms {
            min_depth_blocks: terms.min_depth_blocks.or(depth::of(request)),
            ..terms
        };
        let id = UserChannelId::draw(false, !request.is_announced)
            .map_err(|error| Refusal::Failed(error.to_string()))?;
        self.admit(id, request)?;
        self.manager
            .accept_inbound_channel(
                &request.temporary_channel_id,
                &request.counterparty_node_id,
                id.value(),
                Some(terms.overrides()),
            )
            .map_err(|error| {
                self.unfunded.withdraw(id.value());
                Refusal::Failed(describe(&error))
            })
    }

    /// Counts the channel as unfunded, and closes another one if LDK's limit is near.
    fn admit(&self, id: UserChannelId, request: &Request) -> Result<(), Refusal> {
        let peer = request.counterparty_node_id;
        let new_peer = NewPeer {
            peer,
            origin: Origin::new(self.known_peers.address(&peer)),
            has_paid: self.known_peers.has_paid(&peer),
        };
        let funds = &request.channel_negotiation_type;
        let pushed = !matches!(funds, InboundChannelFunds::PushMsat(0));
        self.unfunded
            .admit(id.value(), new_peer, pushed, Instant::now())
            .map_err(|_| Refusal::TooManyUnfunded)?;
        let made = self.make_room(new_peer);
        if made.is_err() {
            self.unfunded.withdraw(id.value());
        }
        made
    }

    fn make_room(&self, new_peer: NewPeer) -> Result<(), Refusal> {
        let channels = self.manager.list_channels();
        let unfunded = unfunded::without_funded_channel(&channels);
        if !unfunded::is_near_limit(&unfunded, &new_peer.peer) {
            return Ok(());
        }
        let connected = |peer: &_| self.known_peers.is_connected(peer);
        let victim = self
            .unfunded
            .victim(&unfunded, new_peer.origin, connected, Instant::now())
            .ok_or(Refusal::TooManyUnfunded)?;
        let of_victim = channels.iter();
        for channel in of_victim.filter(|one| one.counterparty.node_id == victim) {
            let id = channel.channel_id;
            tracing::info!(
                peer = %victim, channel = %id,
                "closed a channel without a known funding transaction to accept another"
            );
            let message = "funding transaction not seen".to_owned();
            let closed = self
                .manager
                .force_close_broadcasting_latest_txn(&id, &victim, message);
            if let Err(error) = closed {
                // It was closed in the meantime.
                tracing::debug!(error = describe(&error), "the channel is already closed");
            }
        }
        Ok(())
    }

    fn warn_of_missing_reserve(&self, request: &Request) {
        let missing_sat = (self.funds)().missing.to_sat();
        if request.channel_type.supports_anchors_zero_fee_htlc_tx() && missing_sat > 0 {
            tracing::warn!(
                missing_sat,
                "the on-chain wallet cannot pay for a force close of this channel: deposit some coins"
            );
        }
    }

    fn refuse(&self, request: &Request, refusal: &Refusal) {
        let peer = request.counterparty_node_id;
        tracing::info!(%peer, sat = request.funding_satoshis, %refusal, "channel refused");
        let refused = self.manager.force_close_broadcasting_latest_txn(
            &request.temporary_channel_id,
            &request.counterparty_node_id,
            refusal.to_string(),
        );
        if let Err(error) = refused {
            // The peer disconnected, or LDK refused the request itself. The request is gone either
            // way.
            tracing::debug!(
                error = describe(&error),
                "the refused channel is already closed"
            );
        }
    }
}

impl AcceptRules {
    /// Checks the request against the rules, given the existing channels.
    fn check(
        &self,
        request: &Request,
        existing: &[ChannelDetails],
        funds: ForcedCloseFunds,
    ) -> Result<(), Refusal> {
        let (asked, min) = (request.funding_satoshis, self.min_channel_sat);
        if asked < min {
            return Err(Refusal::TooSmall { asked, min });
        }
        if matches!(
            request.channel_negotiation_type,
            InboundChannelFunds::DualFunded
        ) {
            return Err(Refusal::DualFunded);
        }
        if request.channel_type.requires_zero_conf() {
            return Err(Refusal::ZeroConf);
        }
        if pending_with(existing, &request.counterparty_node_id) >= self.max_pending_per_peer {
            return Err(Refusal::TooManyPending);
        }
        if request.channel_type.supports_anchors_zero_fee_htlc_tx() {
            self.check_funds(request, funds)?;
        }
        Ok(())
    }

    /// Checks that the commitment transaction can confirm. Without funds for a fee bump, its own
    /// fee has to suffice. LDK's limit (`MinAllowedAnchorChannelRemoteFee`) is not suitable for
    /// this: it also force-closes accepted channels when fee rates rise.
    fn check_funds(&self, request: &Request, funds: ForcedCloseFunds) -> Result<(), Refusal> {
        if funds.missing == Amount::ZERO {
            return Ok(());
        }
        if self.require_reserve {
            return Err(Refusal::Reserve);
        }
        let offered = request.params.commitment_feerate_sat_per_1000_weight;
        let least = funds.mempool_min_sat_per_kw;
        if offered < least {
            return Err(Refusal::CommitmentFee { offered, least });
        }
        Ok(())
    }
}

/// The number of this peer's channels that are not usable yet, opened by either side (as lnd counts).
fn pending_with(existing: &[ChannelDetails], peer: &PublicKey) -> usize {
    existing
        .iter()
        .filter(|channel| channel.counterparty.node_id == *peer)
        .filter(|channel| state(channel) == ChannelState::Opening)
        .count()
}

#[cfg(test)]
pub(super) mod tests;
