//! A single node: one process per directory, no unauthenticated access, a clean shutdown.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::{SendCoinsRequest, StopRequest};
use regtest::api::{Api, Server, amp_to};
use regtest::network::Network;
use regtest::node::Node;
use tonic::Code;

use crate::binaries;

#[tokio::test]
async fn single_node_locks_its_directory_requires_a_macaroon_and_stops_cleanly() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice"]).await?;
    second_process_is_refused(&mut network).await?;
    unauthenticated_calls_are_refused(&network["alice"]).await?;
    ampcli_reaches_it(&network)?;

    let alice = &mut network["alice"];
    alice.api()?.lightning.stop_daemon(StopRequest {}).await?;
    let status = alice.wait_for_end().await?;
    ensure!(status.success(), "exited with {status} after StopDaemon");
    network.restart(&["alice"]).await?;
    let status = network["alice"].stop().await?;
    ensure!(status.success(), "exited with {status} after SIGTERM");
    network.finish();
    Ok(())
}

async fn second_process_is_refused(network: &mut Network) -> Result<()> {
    let mut twin = network.prepare("alice")?;
    let refused = twin.run_to_end().await?;
    assert!(!refused.status.success());
    assert!(
        refused.stderr.contains("in use by another ampd"),
        "{}",
        refused.stderr
    );
    let directory = twin.network_dir().display().to_string();
    assert!(refused.stderr.contains(&directory), "{}", refused.stderr);
    // The first process is not affected.
    network["alice"].api()?.info().await?;
    Ok(())
}

async fn unauthenticated_calls_are_refused(node: &Node) -> Result<()> {
    let macaroon = "data/chain/bitcoin/regtest/admin.macaroon";
    for file in ["regtest/seed", "tls.key", macaroon] {
        let mode = node.dir().join(file).metadata()?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let server = Server {
        address: node.rpc_address()?,
        host: "localhost",
        certificate: &node.certificate()?,
    };
    for (macaroon, why) in [
        (None, "expected 1 macaroon, got 0"),
        (
            Some(""),
            "cannot determine data format of binary-encoded macaroon",
        ),
        (Some("0201036c6e64"), "the macaroon is truncated"),
    ] {
        let unauthorized = Api::new(&server, macaroon)?;
        let lightning = || unauthorized.lightning.clone();
        let coins = SendCoinsRequest {
            send_all: true,
            ..Default::default()
        };
        let answers = [
            unauthorized.info().await.err(),
            unauthorized.channels().await.err(),
            unauthorized.pay(amp_to(node.key(), 1_000)?).await.err(),
            lightning().send_coins(coins).await.err(),
            lightning().stop_daemon(StopRequest {}).await.err(),
        ];
        for answer in answers {
            let status = answer.context("an unauthenticated call succeeded")?;
            assert_eq!((status.code(), status.message()), (Code::Unknown, why));
        }
    }
    Ok(())
}

fn ampcli_reaches_it(network: &Network) -> Result<()> {
    let node = &network["alice"];
    let output = Command::new(&network.binaries().ampcli)
        .args([
            "--network=regtest",
            "--rpcserver",
            node.rpc_address()?,
            "--datadir",
        ])
        .arg(node.dir())
        .arg("getinfo")
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let info: serde_json::Value = serde_json::from_str(&text)?;
    assert_eq!(info["identity_pubkey"], node.key());
    assert_eq!(info["alias"], "alice");
    Ok(())
}
