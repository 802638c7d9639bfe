//! A node that joins late learns all previously announced channels, whatever program its only peer
//! runs, and new channels as they are announced.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bitcoin::constants::ChainHash;
use lightning::ln::msgs::{
    QueryChannelRange, QueryShortChannelIds, ReplyChannelRange, ReplyShortChannelIdsEnd,
};
use lightning::util::ser::LengthReadable;
use regtest::announced::{AnnouncedChannels, wait_known};
use regtest::network::Network;
use regtest::raw_peer::{Identity, RawPeer, Received, Target, encode, kind};
use tokio::time::{Instant, timeout};

use crate::binaries;

const CHANNELS: usize = 200;
/// Number of peers that send endless queries.
const GREEDY: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);

/// Starts Alice and waits until she knows the channels.
async fn alice_knows(channels: usize) -> Result<(Network, AnnouncedChannels)> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let announced = AnnouncedChannels::fund(&network.bitcoind, channels).await?;
    network.wait_synced().await?;
    let alice = &network["alice"];
    let _old = announced.announce_to(&Target::of(alice)?).await?;
    wait_known(&alice.api()?, channels, LIMIT).await?;
    Ok((network, announced))
}

#[tokio::test]
async fn late_ampd_learns_all_channels_from_ampd() -> Result<()> {
    let (mut network, _) = alice_knows(CHANNELS).await?;
    network.add(vec![network.prepare("bob")?]).await?;
    network.connect("bob", "alice").await?;
    let bob = network["bob"].api()?;
    wait_known(&bob, CHANNELS, LIMIT).await?;
    let new = AnnouncedChannels::fund(&network.bitcoind, 1).await?;
    network.wait_synced().await?;
    let _new = new.announce_to(&Target::of(&network["alice"])?).await?;
    wait_known(&bob, CHANNELS + 1, LIMIT).await?;
    network.finish();
    Ok(())
}

fn range_query() -> Vec<u8> {
    encode(&QueryChannelRange {
        chain_hash: ChainHash::REGTEST,
        first_blocknum: 0,
        number_of_blocks: u32::MAX,
    })
}

fn ids_query(scids: &[u64]) -> Vec<u8> {
    encode(&QueryShortChannelIds {
        chain_hash: ChainHash::REGTEST,
        short_channel_ids: scids.to_vec(),
    })
}

fn decode<M: LengthReadable>(message: &Received) -> M {
    M::read_from_fixed_length_buffer(&mut &message.body[..]).expect("the message is valid")
}

/// Queries like lnd, which sends no gossip filter before this has completed.
async fn asks_for_the_graph(target: &Target) -> Result<(Vec<u64>, Vec<u16>)> {
    let mut peer = RawPeer::connect(target, &Identity::random()).await?;
    peer.send(&range_query()).await?;
    let mut scids = Vec::new();
    loop {
        let reply = peer.read_kind(kind::REPLY_CHANNEL_RANGE).await?;
        let reply: ReplyChannelRange = decode(&reply);
        scids.extend(reply.short_channel_ids);
        if reply.sync_complete {
            break;
        }
    }
    peer.send(&ids_query(&scids)).await?;
    let mut kinds = Vec::new();
    loop {
        let message = peer.read().await?;
        if message.kind == kind::REPLY_SHORT_CHANNEL_IDS_END {
            let end: ReplyShortChannelIdsEnd = decode(&message);
            assert!(end.full_information);
            return Ok((scids, kinds));
        }
        kinds.push(message.kind);
    }
}

fn count(kinds: &[u16], wanted: u16) -> usize {
    kinds.iter().filter(|kind| **kind == wanted).count()
}

#[tokio::test]
async fn gossip_queries_return_the_whole_graph() -> Result<()> {
    let (network, announced) = alice_knows(CHANNELS).await?;
    let target = Target::of(&network["alice"])?;
    let (scids, kinds) = timeout(LIMIT, asks_for_the_graph(&target)).await??;
    assert_eq!(scids, announced.scids());
    assert_eq!(count(&kinds, kind::CHANNEL_ANNOUNCEMENT), CHANNELS);
    assert_eq!(count(&kinds, kind::CHANNEL_UPDATE), 2 * CHANNELS);
    assert_eq!(
        count(&kinds, kind::NODE_ANNOUNCEMENT),
        announced.nodes(),
        "every channel is sent once"
    );
    network.finish();
    Ok(())
}

/// Some peers repeat their queries endlessly and do not read the responses.
#[tokio::test]
async fn peer_is_answered_while_others_send_endless_queries() -> Result<()> {
    let (network, announced) = alice_knows(CHANNELS).await?;
    let target = Target::of(&network["alice"])?;
    let scids = announced.scids();
    let before = resident(&network)?;
    let mut greedy = Vec::new();
    for _ in 0..GREEDY {
        let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
        let scids = scids.clone();
        greedy.push(tokio::spawn(async move {
            let queries = (0..100_000).map(|number| match number % 2 {
                0 => range_query(),
                _ => ids_query(&scids),
            });
            peer.send_unread(queries, Duration::from_secs(5)).await;
            peer
        }));
    }
    for _ in 0..3 {
        let began = Instant::now();
        let (listed, kinds) = timeout(LIMIT, asks_for_the_graph(&target)).await??;
        assert_eq!(listed.len(), CHANNELS);
        assert_eq!(count(&kinds, kind::CHANNEL_ANNOUNCEMENT), CHANNELS);
        eprintln!("responded in {:?}", began.elapsed());
    }
    let grown = resident(&network)?.saturating_sub(before);
    eprintln!("memory grew by {grown} kB");
    ensure!(grown < 50_000, "resident memory grew by {grown} kB");
    network.finish();
    Ok(())
}

/// Resident memory of Alice's node in kB.
fn resident(network: &Network) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", network["alice"].pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number.context("no VmRSS")?.parse()?)
}

/// As in Eclair, the gossip filter covers only new messages; old ones must be queried.
#[tokio::test]
async fn channels_are_learned_from_peers_that_only_answer_queries() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let announced = AnnouncedChannels::fund(&network.bitcoind, CHANNELS).await?;
    network.wait_synced().await?;
    let target = Target::of(&network["alice"])?;
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let alice = network["alice"].api()?;
    tokio::select! {
        ended = answer_queries(&mut peer, &announced) => ended?,
        known = wait_known(&alice, CHANNELS, LIMIT) => known?,
    }
    network.finish();
    Ok(())
}

async fn answer_queries(peer: &mut RawPeer, announced: &AnnouncedChannels) -> Result<()> {
    loop {
        let message = peer.read().await?;
        for answer in answers(announced, &message)? {
            peer.send(&answer).await?;
        }
    }
}

fn answers(announced: &AnnouncedChannels, message: &Received) -> Result<Vec<Vec<u8>>> {
    match message.kind {
        kind::QUERY_CHANNEL_RANGE => {
            let query: QueryChannelRange = decode(message);
            Ok(vec![encode(&ReplyChannelRange {
                chain_hash: query.chain_hash,
                first_blocknum: query.first_blocknum,
                number_of_blocks: query.number_of_blocks,
                sync_complete: true,
                short_channel_ids: announced.scids(),
            })])
        }
        kind::QUERY_SHORT_CHANNEL_IDS => {
            let query: QueryShortChannelIds = decode(message);
            let mut answers = Vec::new();
            for scid in query.short_channel_ids {
                answers.extend(announced.answer(scid)?);
            }
            answers.push(encode(&ReplyShortChannelIdsEnd {
                chain_hash: query.chain_hash,
                full_information: true,
            }));
            Ok(answers)
        }
        _ => Ok(Vec::new()),
    }
}
