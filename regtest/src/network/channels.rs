//! Opens channels and waits until both ends can use them.

use anyhow::{Context, Result, bail, ensure};
use lnd_api::proto::lnrpc::{Channel, OpenChannelRequest};

use super::{AGREE_LIMIT, Network};
use crate::api::bytes;
use crate::node::Node;
use crate::wait::wait_for;

/// How many channels at a time a node opens to another: ampd accepts no more unconfirmed channels of a peer.
const MAX_PENDING_PER_PEER: usize = 3;

/// On-chain funds of each node in addition to the channels it opens: for fees and for the reserve
/// that anchor channels require at both ends.
const RESERVE_SAT: u64 = 1_000_000;
/// Maximum on-chain cost of opening one channel, plus the reserve of ten channels: unconfirmed change
/// of earlier openings does not count towards the reserve.
const OPENING_FEE_SAT: u64 = 300_000;
/// Depth at which a channel is announced (BOLT 7).
const ANNOUNCEMENT_DEPTH: u32 = 6;

/// A channel to open.
#[derive(Clone, Copy, Debug)]
pub struct ChannelPlan<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub capacity_sat: u64,
    /// Initial balance of the peer.
    pub push_sat: u64,
    /// Whether the channel is unannounced.
    pub private: bool,
    /// Whether its type hides the real short channel id (option_scid_alias).
    pub scid_alias: bool,
}

impl<'a> ChannelPlan<'a> {
    /// A public channel with the whole balance on the opener's side.
    pub fn new(from: &'a str, to: &'a str, capacity_sat: u64) -> Self {
        Self {
            from,
            to,
            capacity_sat,
            push_sat: 0,
            private: false,
            scid_alias: false,
        }
    }

    /// Whether it connects the same two nodes.
    fn joins(&self, other: &Self) -> bool {
        let mut ends = [[self.from, self.to], [other.from, other.to]];
        ends.iter_mut().for_each(|pair| pair.sort_unstable());
        ends[0] == ends[1]
    }

    /// Pushes `sat` to the peer.
    pub fn push(self, push_sat: u64) -> Self {
        Self { push_sat, ..self }
    }

    /// Makes the channel unannounced.
    pub fn private(self) -> Self {
        Self {
            private: true,
            ..self
        }
    }

    /// Makes the channel unannounced and hides its real short channel id (option_scid_alias).
    pub fn scid_alias(self) -> Self {
        Self {
            scid_alias: true,
            ..self.private()
        }
    }
}

impl Network {
    /// Funds and connects the nodes, opens the channels and waits until both ends can use them. Returns
    /// the channel points as `txid:index`, in the order of the plans.
    ///
    /// Other nodes may learn of public channels slightly later: see [`Network::pay_routed`].
    pub async fn open(&self, plans: &[ChannelPlan<'_>]) -> Result<Vec<String>> {
        let everybody: Vec<&Node> = self.running().collect();
        self.fund(&everybody, plans).await?;
        self.open_funded(plans).await
    }

    /// Like [`Network::open`], but nodes that open no channel get no funds.
    pub async fn open_without_reserve(&self, plans: &[ChannelPlan<'_>]) -> Result<Vec<String>> {
        let opens = |node: &&Node| plans.iter().any(|plan| plan.from == node.name());
        let openers: Vec<&Node> = self.running().filter(opens).collect();
        self.fund(&openers, plans).await?;
        self.open_funded(plans).await
    }

    /// Like [`Network::open`] for one channel, but mines blocks one at a time: each node has sent its
    /// messages for one depth before it sees the next block.
    pub async fn open_slowly(&self, plan: &ChannelPlan<'_>) -> Result<String> {
        let everybody: Vec<&Node> = self.running().collect();
        self.fund(&everybody, &[*plan]).await?;
        self.connect(plan.from, plan.to).await?;
        let point = self.open_one(plan).await?;
        self.wait_broadcast(std::slice::from_ref(&point)).await?;
        for _ in 0..ANNOUNCEMENT_DEPTH {
            self.mine(1).await?;
        }
        self.wait_usable().await?;
        Ok(point)
    }

    async fn open_funded(&self, plans: &[ChannelPlan<'_>]) -> Result<Vec<String>> {
        let mut points = Vec::new();
        // Channels after this index are waiting for confirmations.
        let mut first = 0;
        for (index, plan) in plans.iter().enumerate() {
            let waiting = plans[first..index].iter();
            if waiting.filter(|other| plan.joins(other)).count() == MAX_PENDING_PER_PEER {
                self.confirm(&points[first..]).await?;
                first = index;
            }
            self.connect(plan.from, plan.to).await?;
            points.push(self.open_one(plan).await?);
        }
        self.confirm(&points[first..]).await?;
        Ok(points)
    }

    async fn confirm(&self, points: &[String]) -> Result<()> {
        self.wait_broadcast(points).await?;
        self.mine(ANNOUNCEMENT_DEPTH).await?;
        self.wait_usable().await
    }

    /// Sends one output per channel, since change can be spent only once confirmed, and one for the
    /// reserve of each node.
    async fn fund(&self, nodes: &[&Node], plans: &[ChannelPlan<'_>]) -> Result<()> {
        let mut outputs = Vec::new();
        for node in nodes {
            outputs.push((node.address().await?, RESERVE_SAT));
            for plan in plans.iter().filter(|plan| plan.from == node.name()) {
                outputs.push((node.address().await?, plan.capacity_sat + OPENING_FEE_SAT));
            }
        }
        self.bitcoind.fund(&outputs).await?;
        self.mine(1).await?;
        for node in nodes {
            let expected: u64 = plans
                .iter()
                .filter(|plan| plan.from == node.name())
                .map(|plan| plan.capacity_sat + OPENING_FEE_SAT)
                .sum();
            self.wait_wallet(node.name(), expected + RESERVE_SAT)
                .await?;
        }
        Ok(())
    }

    /// Waits until a node's confirmed on-chain balance is at least `sat`.
    pub async fn wait_wallet(&self, name: &str, sat: u64) -> Result<()> {
        let what = format!("{sat} sat in {name}'s wallet");
        wait_for(&what, AGREE_LIMIT, async || {
            let confirmed = self[name].confirmed_sat().await?;
            ensure!(confirmed >= sat, "the confirmed balance is {confirmed} sat");
            Ok(())
        })
        .await
    }

    async fn open_one(&self, plan: &ChannelPlan<'_>) -> Result<String> {
        let request = OpenChannelRequest {
            node_pubkey: bytes(self[plan.to].key())?,
            local_funding_amount: i64::try_from(plan.capacity_sat)?,
            push_sat: i64::try_from(plan.push_sat)?,
            private: plan.private,
            scid_alias: plan.scid_alias,
            ..Default::default()
        };
        let point = self[plan.from].open_channel(request).await;
        point.with_context(|| format!("cannot open {plan:?}"))
    }

    async fn wait_broadcast(&self, points: &[String]) -> Result<()> {
        wait_for("the funding transactions", AGREE_LIMIT, async || {
            let mempool = self.bitcoind.mempool().await?;
            let missing = points.iter().find(|point| {
                let txid = point.split(':').next().unwrap_or_default();
                mempool.iter().all(|known| known != txid)
            });
            missing.map_or(Ok(()), |point| bail!("{point} is not in the mempool"))
        })
        .await
    }

    /// Waits until each channel of each running node is active at both ends, or at one end if the other
    /// is not part of this network.
    pub async fn wait_usable(&self) -> Result<()> {
        for node in self.running() {
            let what = format!("{}'s channels to be usable", node.name());
            wait_for(&what, AGREE_LIMIT, async || {
                let pending = node.opening().await?;
                ensure!(pending == 0, "{pending} channels are not open yet");
                let channels = node.channels().await?;
                let idle = channels.iter().find(|channel| !channel.active);
                idle.map_or(Ok(()), |channel| {
                    bail!("{} is inactive", self.describe(channel))
                })
            })
            .await?;
        }
        Ok(())
    }

    /// Describes a channel from the view of one end.
    pub(crate) fn describe(&self, channel: &Channel) -> String {
        let peer = self
            .nodes()
            .find(|node| node.key() == channel.remote_pubkey);
        let peer = peer.map_or(channel.remote_pubkey.as_str(), |node| node.name());
        format!("the channel {} with {peer}", channel.channel_point)
    }
}
