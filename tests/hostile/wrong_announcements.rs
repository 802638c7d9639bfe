//! Validly signed announcements of channels whose funding transactions do not exist.

use std::fs;

use anyhow::{Context, Result};
use bitcoin::absolute::LockTime;
use bitcoin::consensus::encode::serialize_hex;
use bitcoin::script::PushBytesBuf;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Witness};
use regtest::network::Network;
use regtest::raw_peer::{Identity, RawPeer, Target, forged_announcement, short_channel_id};
use serde_json::json;

use crate::attacker::Tally;
use crate::scene::{Attack, Scene};

/// Size of a large block in bytes, slightly less than the maximum without witness data.
const LARGE: usize = 950_000;
const BLOCKS: u32 = 3;
/// The coinbase outputs of these blocks are anyone-can-spend and have matured.
const FIRST_COIN: u32 = 6;
/// Maximum number of bytes that bitcoind may write: a large block takes two megabytes of hex.
const MAX_WRITTEN: u64 = 64 << 20;
const MESSAGES: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn survives_announcements_of_nonexistent_channels() -> Result<()> {
    let mut scene = Scene::start(2).await?;
    let first = large_blocks(&scene.network).await?;
    let before = written(&scene.network)?;
    let attack = Attack {
        name: "announcements of nonexistent transactions in large blocks",
        busy: false,
        run: move |target, tally| announce(target, tally, move |number| first + number % BLOCKS),
    };
    scene.endure(attack).await?;
    let bytes = written(&scene.network)? - before;
    println!("bitcoind wrote {bytes} bytes");
    if bytes > MAX_WRITTEN {
        let what = format!("bitcoind wrote {bytes} bytes, limit {MAX_WRITTEN}");
        scene.violation(
            "announcements of nonexistent transactions in large blocks",
            what,
        );
    }
    let attack = Attack {
        name: "announcements with block heights above the tip",
        busy: false,
        run: |target, tally| announce(target, tally, |number| 100_000 + number),
    };
    scene.endure(attack).await?;
    scene.finish()
}

/// Number of bytes that bitcoind has written to files and connections.
fn written(network: &Network) -> Result<u64> {
    let io = fs::read_to_string(format!("/proc/{}/io", network.bitcoind.pid()?))?;
    let bytes = io.lines().find_map(|line| line.strip_prefix("wchar: "));
    Ok(bytes.context("no wchar")?.parse()?)
}

/// Announces channels in blocks at these heights.
async fn announce(target: Target, tally: Tally, height: impl Fn(u32) -> u32) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let mut number = 0;
    loop {
        let messages = (0..MESSAGES).map(|_| {
            number += 1;
            let transaction = 1_000 + fastrand::u32(..100_000);
            forged_announcement(short_channel_id(height(number), transaction, 0))
        });
        let flooded = peer.flood(messages.collect::<Vec<_>>()).await?;
        tally.add(flooded.sent);
        if flooded.closed {
            return Ok(());
        }
    }
}

/// Mines blocks of a megabyte and returns the height of the first.
async fn large_blocks(network: &Network) -> Result<u32> {
    let height = network.bitcoind.height().await?;
    for number in 0..BLOCKS {
        let transaction = large(network, FIRST_COIN + number).await?;
        let block = json!(["raw(51)", [transaction]]);
        network.bitcoind.call("generateblock", block).await?;
    }
    network.wait_synced().await?;
    Ok(height + 1)
}

/// Spends the anyone-can-spend coinbase output of the block at this height in a large transaction.
async fn large(network: &Network, height: u32) -> Result<String> {
    let bitcoind = &network.bitcoind;
    let hash = bitcoind.call("getblockhash", json!([height])).await?;
    let block = bitcoind.call("getblock", json!([hash])).await?;
    let coinbase = block["tx"][0]
        .as_str()
        .context("the block has no coinbase")?;
    let data = PushBytesBuf::try_from(vec![0; LARGE])?;
    let transaction = Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::new(coinbase.parse()?, 0),
            script_sig: ScriptBuf::new(),
            sequence: Sequence::MAX,
            witness: Witness::new(),
        }],
        output: vec![TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        }],
    };
    Ok(serialize_hex(&transaction))
}
