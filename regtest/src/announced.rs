//! Public channels of nodes that are not running, for tests that need a network graph.
//!
//! The funding outputs exist on chain and all keys are known here, so any node accepts their
//! announcements. One transaction funds any number of channels.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256d};
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1, SecretKey, ecdsa};
use bitcoin::{Address, Block, Network, ScriptBuf, Txid};
use lightning::ln::chan_utils::make_funding_redeemscript;
use lightning::ln::msgs::{
    ChannelAnnouncement, ChannelUpdate, NodeAnnouncement, UnsignedChannelAnnouncement,
    UnsignedChannelUpdate, UnsignedNodeAnnouncement,
};
use lightning::routing::gossip::{NodeAlias, NodeId};
use lightning::types::features::{ChannelFeatures, NodeFeatures};
use lightning::util::scid_utils::scid_from_parts;
use lightning::util::ser::Writeable;
use lnd_api::proto::lnrpc::ChannelGraphRequest;
use serde_json::json;

use crate::api::Api;
use crate::bitcoind::Bitcoind;
use crate::manual_amp::random;
use crate::raw_peer::{Identity, RawPeer, Target, encode};
use crate::wait::wait_for;

/// Capacity of each channel.
pub const CAPACITY_SAT: u64 = 100_000;
/// Depth of the funding transaction at which a channel may be announced (BOLT 7).
const DEPTH: u32 = 6;

/// Waits until a node (ampd or lnd) knows at least `channels` channels with both updates of each.
pub async fn wait_known(api: &Api, channels: usize, limit: Duration) -> Result<()> {
    let what = format!("{channels} channels in the graph");
    wait_for(&what, limit, async || {
        let request = ChannelGraphRequest::default();
        let graph = api.lightning.clone().describe_graph(request).await?;
        let edges = graph.into_inner().edges;
        let complete = edges
            .iter()
            .filter(|edge| edge.node1_policy.is_some() && edge.node2_policy.is_some());
        let (all, complete) = (edges.len(), complete.count());
        ensure!(
            all == channels && complete == channels,
            "{all} channels, {complete} with both updates"
        );
        Ok(())
    })
    .await
}

/// Channels between nodes that are not running, and their announcements.
#[derive(Debug)]
pub struct AnnouncedChannels {
    channels: Vec<Channel>,
    nodes: Vec<NodeAnnouncement>,
}

#[derive(Debug)]
struct Channel {
    announcement: ChannelAnnouncement,
    updates: [ChannelUpdate; 2],
}

/// The keys of a channel, in the order of its node ids.
struct Keys {
    nodes: [SecretKey; 2],
    funding: [SecretKey; 2],
}

impl AnnouncedChannels {
    /// Funds `count` channels in one transaction from bitcoind's wallet and mines it six blocks deep.
    /// Each node has at most 20 channels.
    pub async fn fund(bitcoind: &Bitcoind, count: usize) -> Result<Self> {
        let nodes: Vec<SecretKey> = (0..count / 10 + 2).map(|_| key()).collect();
        let keys: Vec<Keys> = (0..count).map(|number| keys(&nodes, number)).collect();
        let addresses = keys.iter().map(|keys| {
            let address = Address::from_script(&keys.script(), Network::Regtest);
            Ok((address?.to_string(), CAPACITY_SAT))
        });
        let addresses: Vec<_> = addresses.collect::<Result<_>>()?;
        let txid: Txid = bitcoind.fund(&addresses).await?.parse()?;
        let blocks = bitcoind.mine(DEPTH).await?;
        let height = bitcoind.height().await? + 1 - DEPTH;
        let first = blocks.first().context("no block was mined")?;
        let block = bitcoind.call("getblock", json!([first, 0])).await?;
        let block: Block = deserialize_hex(block.as_str().context("no block")?)?;
        let (place, transaction) = (0u64..)
            .zip(&block.txdata)
            .find(|(_, transaction)| transaction.compute_txid() == txid)
            .context("the funding transaction was not mined")?;
        let now = unix_time()?;
        let channels = keys.iter().map(|keys| {
            let script = keys.script();
            let mut outputs = (0u64..).zip(&transaction.output);
            let output = outputs.find(|(_, output)| output.script_pubkey == script);
            let (output, _) = output.context("the funding transaction lacks an output")?;
            let scid = scid_from_parts(height.into(), place, output).ok();
            Ok(keys.channel(scid.context("invalid short channel id")?, now))
        });
        Ok(Self {
            channels: channels.collect::<Result<_>>()?,
            nodes: nodes.iter().map(|key| announce_node(key, now)).collect(),
        })
    }

    /// The short channel ids, in order.
    pub fn scids(&self) -> Vec<u64> {
        let channels = self.channels.iter();
        let mut scids: Vec<u64> = channels
            .map(|channel| channel.announcement.contents.short_channel_id)
            .collect();
        scids.sort_unstable();
        scids
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// All announcements (type and body): the channels, each with its two updates, then the nodes.
    pub fn messages(&self) -> Vec<Vec<u8>> {
        let channels = self.channels.iter().flat_map(Channel::messages);
        channels.chain(self.nodes.iter().map(encode)).collect()
    }

    /// The response to a query for this channel (type and body), without node announcements.
    ///
    /// # Errors
    /// If this channel is not one of these.
    pub fn answer(&self, scid: u64) -> Result<Vec<Vec<u8>>> {
        let mut channels = self.channels.iter();
        let channel =
            channels.find(|channel| channel.announcement.contents.short_channel_id == scid);
        Ok(channel.context("no such channel")?.messages())
    }

    /// Announces all channels to a running node. The node may still be verifying them when this returns:
    /// keep the connection open and poll its graph. lnd drops unverified announcements on disconnect.
    pub async fn announce_to(&self, target: &Target) -> Result<RawPeer> {
        let mut peer = RawPeer::connect(target, &Identity::random()).await?;
        let flooded = peer.flood(self.messages()).await?;
        ensure!(
            !flooded.closed,
            "the node closed the connection: {flooded:?}"
        );
        // The pong shows that it has read everything.
        peer.ping().await?;
        Ok(peer)
    }
}

impl Channel {
    fn messages(&self) -> Vec<Vec<u8>> {
        let [one, two] = &self.updates;
        vec![encode(&self.announcement), encode(one), encode(two)]
    }
}

impl Keys {
    fn script(&self) -> ScriptBuf {
        let [one, two] = self.funding.map(|key| public(&key));
        make_funding_redeemscript(&one, &two).to_p2wsh()
    }

    fn channel(&self, short_channel_id: u64, timestamp: u32) -> Channel {
        let [node_id_1, node_id_2] = self.nodes.map(|key| node_id(&key));
        let [bitcoin_key_1, bitcoin_key_2] = self.funding.map(|key| node_id(&key));
        let contents = UnsignedChannelAnnouncement {
            features: ChannelFeatures::empty(),
            chain_hash: ChainHash::REGTEST,
            short_channel_id,
            node_id_1,
            node_id_2,
            bitcoin_key_1,
            bitcoin_key_2,
            excess_data: Vec::new(),
        };
        Channel {
            announcement: ChannelAnnouncement {
                node_signature_1: sign(&contents, &self.nodes[0]),
                node_signature_2: sign(&contents, &self.nodes[1]),
                bitcoin_signature_1: sign(&contents, &self.funding[0]),
                bitcoin_signature_2: sign(&contents, &self.funding[1]),
                contents,
            },
            updates: [0, 1].map(|side| self.update(short_channel_id, side, timestamp)),
        }
    }

    fn update(&self, short_channel_id: u64, side: u8, timestamp: u32) -> ChannelUpdate {
        let contents = UnsignedChannelUpdate {
            chain_hash: ChainHash::REGTEST,
            short_channel_id,
            timestamp,
            message_flags: 1,
            channel_flags: side,
            cltv_expiry_delta: 80,
            htlc_minimum_msat: 1,
            htlc_maximum_msat: CAPACITY_SAT * 990,
            fee_base_msat: 1_000,
            fee_proportional_millionths: 1,
            excess_data: Vec::new(),
        };
        ChannelUpdate {
            signature: sign(&contents, &self.nodes[usize::from(side)]),
            contents,
        }
    }
}

/// Each node has channels with its successors in a ring; the lower key comes first (BOLT 7).
fn keys(nodes: &[SecretKey], number: usize) -> Keys {
    let one = number % nodes.len();
    let ahead = 1 + number / nodes.len() % (nodes.len() - 1);
    let other = (one + ahead) % nodes.len();
    let mut nodes = [nodes[one], nodes[other]];
    nodes.sort_by_key(node_id);
    Keys {
        nodes,
        funding: [key(), key()],
    }
}

fn announce_node(key: &SecretKey, timestamp: u32) -> NodeAnnouncement {
    let contents = UnsignedNodeAnnouncement {
        features: NodeFeatures::empty(),
        timestamp,
        node_id: node_id(key),
        rgb: [0; 3],
        alias: NodeAlias([b'x'; 32]),
        addresses: Vec::new(),
        excess_address_data: Vec::new(),
        excess_data: Vec::new(),
    };
    NodeAnnouncement {
        signature: sign(&contents, key),
        contents,
    }
}

/// The current time minus a margin, so that it is in no node's future.
fn unix_time() -> Result<u32> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(u32::try_from(now.as_secs())?.saturating_sub(10))
}

fn sign(contents: &impl Writeable, key: &SecretKey) -> ecdsa::Signature {
    let digest = sha256d::Hash::hash(&contents.encode()).to_byte_array();
    Secp256k1::signing_only().sign_ecdsa(&Message::from_digest(digest), key)
}

fn key() -> SecretKey {
    SecretKey::from_slice(&random()).expect("a random 32 byte string is a valid key")
}

fn public(key: &SecretKey) -> PublicKey {
    key.public_key(&Secp256k1::signing_only())
}

fn node_id(key: &SecretKey) -> NodeId {
    NodeId::from_pubkey(&public(key))
}
