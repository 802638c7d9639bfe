//! The graph as shown by a node, forwarding policies and forwarded HTLCs: Alice and Bob connected
//! through Carol, with an additional unannounced channel between Alice and Carol.

mod forwards;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::ListChannelsRequest;
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use serde_json::Value;

use crate::ampcli::Cli;
use crate::binaries;

const CAPACITY_SAT: u64 = 1_000_000;
const PRIVATE_SAT: u64 = 500_000;
/// A node announcement received before its channel was verified is sent again after a minute.
const GOSSIP_LIMIT: Duration = Duration::from_secs(120);
/// Signature of an lnd that is not in this network.
const FOREIGN_SIGNATURE: &str = "d7jbmpgnjsy8txyfneep87uz39yanoaa5dgtodb7omkuke9m97wokrb1r4ahmxtw1t\
                                 xsfi77azaae11cp6xnmoa31eungqc8f6ttef9u";

pub(crate) fn cli<'a>(network: &'a Network, name: &str) -> Cli<'a> {
    Cli {
        network,
        node: &network[name],
    }
}

#[tokio::test]
async fn graph_is_shown_and_forwards_are_recorded() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [
        ChannelPlan::new("alice", "carol", CAPACITY_SAT),
        ChannelPlan::new("carol", "bob", CAPACITY_SAT),
        ChannelPlan::new("alice", "carol", PRIVATE_SAT).private(),
    ];
    let points = network.open(&plans).await?;
    nodes_are_known(&network).await?;
    channels_are_known(&network, &points)?;
    network_statistics_are_correct(&network)?;
    messages_are_signed_by_nodes_of_the_network(&network)?;
    forwards::policies_reach_the_network(&network, &points).await?;
    forwards::invalid_policies_are_rejected(&network, &points)?;
    forwards::forward_is_reported_and_recorded(&network).await?;
    forwards::failed_htlcs_are_reported(&network).await?;
    let before = cli(&network, "carol").json(&["fwdinghistory"])?;
    let fees = cli(&network, "carol").json(&["feereport"])?;
    network.kill(&["carol"])?;
    network.restart(&["carol"]).await?;
    let after = cli(&network, "carol").json(&["fwdinghistory"])?;
    assert_eq!(after, before, "recorded forwards changed after a restart");
    assert_eq!(cli(&network, "carol").json(&["feereport"])?, fees);
    network.finish();
    Ok(())
}

/// Waits until each node knows all three nodes by alias.
async fn nodes_are_known(network: &Network) -> Result<()> {
    for (querier, named) in [("alice", "bob"), ("bob", "alice"), ("carol", "carol")] {
        let what = format!("{querier} to know {named}");
        wait_for(&what, GOSSIP_LIMIT, async || {
            let key = network[named].key();
            let found = cli(network, querier).json(&["getnodeinfo", key])?;
            let node = &found["node"];
            ensure!(node["alias"] == named && node["last_update"] != 0, "{node}");
            assert_eq!(node["pub_key"], key);
            Ok(())
        })
        .await?;
    }
    Ok(())
}

fn channels_are_known(network: &Network, points: &[String]) -> Result<()> {
    let alice = cli(network, "alice");
    let bob = network["bob"].key();
    let found = alice.json(&["getnodeinfo", "--include_channels", bob])?;
    assert_eq!(found["num_channels"], 1);
    assert_eq!(found["total_capacity"], CAPACITY_SAT.to_string());
    let channel = &found["channels"][0];
    assert_eq!(
        channel["chan_point"], points[1],
        "channel point found on chain"
    );
    assert_eq!(channel["auth_proof"], Value::Null);

    // A remote channel, by channel id and by funding output.
    let number = channel["channel_id"].as_str().context("no channel_id")?;
    let by_number = alice.json(&["getchaninfo", number, "--include_auth_proof"])?;
    let by_point = ["getchaninfo", "--chan_point", &points[1]];
    assert_eq!(alice.json(&by_point)?, *channel);
    for name in ["node_sig1", "bitcoin_sig1", "node_sig2", "bitcoin_sig2"] {
        let signature = by_number["auth_proof"][name].as_str().context("no proof")?;
        assert!(signature.starts_with("30"), "{signature} is not DER");
    }
    let policy = &channel["node1_policy"];
    assert_eq!(policy["fee_base_msat"], "1000");
    assert_eq!(policy["time_lock_delta"], 80);

    // The unannounced channel must be unknown to others.
    let private = alice.json(&["getchaninfo", "--chan_point", &points[2]])?;
    assert_eq!(private["capacity"], PRIVATE_SAT.to_string());
    for name in ["node1_policy", "node2_policy"] {
        assert_eq!(private[name]["fee_base_msat"], "1000", "{private}");
    }
    let number = private["channel_id"].as_str().context("no channel_id")?;
    cli(network, "bob").refused(&["getchaninfo", number], "edge not found")?;
    alice.refused(&["getchaninfo"], "chan_id or chan_point argument missing")?;
    let unknown_key = "02".repeat(33);
    alice.refused(&["getnodeinfo", &unknown_key], "unable to find node")
}

fn network_statistics_are_correct(network: &Network) -> Result<()> {
    let bob = cli(network, "bob").json(&["getnetworkinfo"])?;
    assert_eq!(bob["num_nodes"], 3);
    assert_eq!(bob["num_channels"], 2);
    assert_eq!(bob["graph_diameter"], 2);
    assert_eq!(bob["max_out_degree"], 2);
    assert_eq!(bob["total_network_capacity"], "2000000");
    let alice = cli(network, "alice");
    assert_eq!(alice.json(&["getnetworkinfo"])?["num_channels"], 3);

    let count = |graph: &Value, list: &str| graph[list].as_array().map(Vec::len);
    let public = alice.json(&["describegraph"])?;
    assert_eq!(count(&public, "nodes"), Some(3));
    assert_eq!(count(&public, "edges"), Some(2));
    let all = alice.json(&["describegraph", "--include_unannounced"])?;
    assert_eq!(count(&all, "edges"), Some(3));
    let points = all["edges"].as_array().context("no edges")?.iter();
    assert!(points.clone().all(|edge| edge["chan_point"] != ""));

    let aliases = alice.json(&["listaliases"])?;
    assert_eq!(count(&aliases, "alias_maps"), Some(2));
    Ok(())
}

fn messages_are_signed_by_nodes_of_the_network(network: &Network) -> Result<()> {
    let signed = cli(network, "alice").json(&["signmessage", "--msg", "hello"])?;
    let signature = signed["signature"].as_str().context("no signature")?;
    let bob = cli(network, "bob");
    let verified = bob.json(&["verifymessage", "hello", signature])?;
    assert_eq!(verified["valid"], true);
    assert_eq!(verified["pubkey"], network["alice"].key());
    let other = bob.json(&["verifymessage", "hallo", signature])?;
    assert_eq!(other["valid"], false);
    let strange = bob.json(&["verifymessage", "hello", FOREIGN_SIGNATURE])?;
    assert_eq!(strange["valid"], false, "the signer is not in this network");
    assert!(strange["pubkey"].as_str().unwrap().starts_with("029b6941"));
    bob.refused(
        &["verifymessage", "hello", "!"],
        "failed to decode signature",
    )
}

/// The channel id of the channel with this channel point.
pub(crate) async fn number(network: &Network, name: &str, point: &str) -> Result<u64> {
    let mut lightning = network[name].api()?.lightning;
    let listed = lightning
        .list_channels(ListChannelsRequest::default())
        .await?;
    let channels = listed.into_inner().channels;
    let channel = channels.iter().find(|one| one.channel_point == point);
    Ok(channel.context("no such channel")?.chan_id)
}
