//! Invalid messages, and valid messages of unknown types.

use anyhow::Result;
use regtest::raw_peer::{Identity, RawPeer, Target, kind, message};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::attacker::Tally;
use crate::log_lines::flood;
use crate::scene::{Attack, Scene};

#[tokio::test(flavor = "multi_thread")]
async fn survives_invalid_and_unknown_messages() -> Result<()> {
    let mut scene = Scene::start(0).await?;
    let attack = Attack {
        name: "random bytes instead of a handshake, an init, messages",
        busy: true,
        run: garbage,
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "messages of any type with random bodies",
        busy: true,
        run: random_messages,
    };
    scene.endure(attack).await?;
    let attack = Attack {
        name: "unknown odd messages",
        busy: true,
        run: |target, tally| flood(target, tally, || message(60_001, &[7; 1_000])),
    };
    scene.endure(attack).await?;
    scene.finish()
}

async fn garbage(target: Target, tally: Tally) -> Result<()> {
    let mut stream = target.dial().await?;
    stream.write_all(&noise(200)).await?;
    // The node closes the connection.
    stream.read_to_end(&mut Vec::new()).await.ok();
    // Feature bit 1000 is even and unknown, so the node must disconnect.
    let features = [&[0, 0, 0, 126, 1][..], &[0; 125]].concat();
    let init = message(kind::INIT, &features);
    let unknown = RawPeer::connect_with(&target, &Identity::random(), &init).await;
    if let Ok(mut peer) = unknown {
        peer.stay().await;
    }
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    peer.send_garbage(&noise(4_096)).await?;
    peer.stay().await;
    tally.add(3);
    Ok(())
}

/// Runs until the node closes the connection.
async fn random_messages(target: Target, tally: Tally) -> Result<()> {
    let mut peer = RawPeer::connect(&target, &Identity::random()).await?;
    let known = [
        0..2_u16,
        7..10,
        16..20,
        32..42,
        64..82,
        128..137,
        256..266,
        513..514,
    ];
    let messages = (0..100).map(|_| {
        let range = known[fastrand::usize(..known.len())].clone();
        message(fastrand::u16(range), &noise(fastrand::usize(..300)))
    });
    let flooded = peer.flood(messages.collect::<Vec<_>>()).await?;
    tally.add(flooded.sent);
    Ok(())
}

fn noise(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|_| fastrand::u8(..)).collect()
}
