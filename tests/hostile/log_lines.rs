//! Messages that each cause a log line of LDK or ampd.

use anyhow::Result;
use regtest::manual_amp::random;
use regtest::raw_peer::{ChannelTerms, Identity, OpenResult, RawPeer, Target, kind, message};

use crate::attacker::Tally;
use crate::scene::{Attack, Scene};

/// Messages between two checks that the connection is still open.
const MESSAGES: usize = 1_000;
/// Almost the maximum length of an error.
const ERROR_BYTES: usize = 65_000;

#[tokio::test(flavor = "multi_thread")]
async fn survives_floods_of_invalid_messages() -> Result<()> {
    let mut scene = Scene::start(2).await?;
    let attack = Attack {
        name: "peer_storage without a channel",
        busy: true,
        run: |target, tally| flood(target, tally, || peer_storage(10)),
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "messages for channels that do not exist",
        busy: true,
        run: |target, tally| flood(target, tally, for_no_channel),
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "undecryptable onion messages",
        busy: true,
        run: |target, tally| flood(target, tally, onion_message),
    };
    scene.endure(attack).await?;
    scene.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn survives_floods_of_channel_requests_and_long_errors() -> Result<()> {
    let mut scene = Scene::start(0).await?;
    let attack = Attack {
        name: "requests for channels",
        busy: true,
        run: requests,
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "errors of 65,000 bytes",
        busy: false,
        run: long_errors,
    };
    scene.endure(attack).await?;
    scene.finish()
}

/// Sends such messages over one connection as fast as the node accepts them.
pub(crate) async fn flood(target: Target, tally: Tally, make: impl Fn() -> Vec<u8>) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    loop {
        let flooded = peer.flood((0..MESSAGES).map(|_| make())).await?;
        tally.add(flooded.sent);
        if flooded.closed {
            return Ok(());
        }
    }
}

pub(crate) fn peer_storage(bytes: u16) -> Vec<u8> {
    let blob = vec![0; usize::from(bytes)];
    message(
        kind::PEER_STORAGE,
        &[&bytes.to_be_bytes(), &blob[..]].concat(),
    )
}

/// update_fulfill_htlc, update_fail_htlc, update_fee and others, each for a different channel.
fn for_no_channel() -> Vec<u8> {
    let channel = random();
    match fastrand::u8(..4) {
        0 => message(
            kind::UPDATE_FULFILL_HTLC,
            &[&channel[..], &[0; 40]].concat(),
        ),
        1 => message(kind::UPDATE_FAIL_HTLC, &[&channel[..], &[0; 10]].concat()),
        2 => message(kind::UPDATE_FEE, &[&channel[..], &[0; 4]].concat()),
        _ => message(kind::UPDATE_FAIL_MALFORMED_HTLC, &malformed(&channel)),
    }
}

fn malformed(channel: &[u8]) -> Vec<u8> {
    // BADONION and a hash.
    [channel, &[0; 8], &[0; 32], &[0x80, 0]].concat()
}

/// A blinding point and an onion for a key that nobody has.
fn onion_message() -> Vec<u8> {
    let point = Identity::random().key().serialize();
    let hops = [0; 1_300];
    let onion = [&[0][..], &point, &hops, &[0; 32]].concat();
    let length = u16::try_from(onion.len()).unwrap_or(u16::MAX);
    message(
        kind::ONION_MESSAGE,
        &[&point[..], &length.to_be_bytes(), &onion].concat(),
    )
}

async fn requests(target: Target, tally: Tally) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let terms = ChannelTerms::default();
    loop {
        let flooded = peer.flood((0..MESSAGES).map(|_| terms.request())).await?;
        tally.add(flooded.sent);
        if flooded.closed {
            return Ok(());
        }
    }
}

/// A channel that the opener aborts at once with a long error.
async fn long_errors(target: Target, tally: Tally) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let text = "why ".repeat(ERROR_BYTES / 4);
    loop {
        tally.add(1);
        match peer.propose(&ChannelTerms::default()).await? {
            Ok(proposal) => peer.send_error(proposal.temporary_id(), &text).await?,
            Err(_) => {
                if let OpenResult::Signed(channel) =
                    peer.open_unfunded_channel(&ChannelTerms::default()).await?
                {
                    peer.send_error(channel, &text).await?;
                }
            }
        }
    }
}
