//! Zeus accepts channels from trusted peers, and receives custom messages from services.

use anyhow::{Context, Result};
use regtest::network::Network;
use regtest::rest::{Answer, Rest, base64, has};
use regtest::socket::Socket;
use regtest::wait::wait_for;
use serde_json::{Value, json};

use super::{get, post};
use crate::recorded::{fund, mine_until, number, refused};

/// Over a WebSocket, on which Zeus first sends an empty object.
pub(super) async fn hears_messages(from: &Rest, to: &Rest, network: &Network) -> Result<()> {
    let mut socket = to.socket("/v1/custommessage/subscribe?method=GET").await?;
    socket.send(&json!({})).await?;
    let message = json!({
        "peer": base64(network["bob"].key())?, "type": 37913, "data": base64(&"7b7d".repeat(2))?,
    });
    post(from, "/v1/custommessage", &message).await?;
    let received = socket.next().await?.context("no message")?;
    let sender = base64(network["alice"].key())?;
    let expected = json!({"peer": sender, "type": 37913, "data": message["data"]});
    assert_eq!(received["result"], expected);
    Ok(())
}

pub(super) async fn decides(opener: &Rest, decider: &Rest, network: &Network) -> Result<()> {
    fund(network, "alice", &[700_000; 3]).await?;
    let mut socket = decider.socket("/v1/channels/acceptor?method=POST").await?;
    // Zeus sends a decision before any request; it applies to no channel.
    socket.send(&json!({"accept": true})).await?;
    accepts(opener, &mut socket, network).await?;
    asks_for_terms(opener, &mut socket, network).await?;
    refuses(opener, &mut socket, network).await?;
    drop(socket);
    leaves(opener, network).await
}

fn order(network: &Network) -> Value {
    json!({
        "node_pubkey_string": network["bob"].key(), "local_funding_amount": "400000",
        "push_sat": "1000", "private": true, "sat_per_vbyte": "2",
    })
}

/// Returns the result for the opener and the last request to the acceptor: LDK retries with a simpler
/// channel type after a refusal.
async fn open(
    opener: &Rest,
    socket: &mut Socket,
    network: &Network,
    mut answer: Value,
) -> Result<(Answer, Value)> {
    let order = order(network);
    let opening = opener.post("/v1/channels", &order);
    tokio::pin!(opening);
    let mut asked = Value::Null;
    loop {
        tokio::select! {
            opened = &mut opening => return Ok((opened?, asked)),
            question = socket.next() => {
                asked = question?.context("the acceptor has ended")?["result"].clone();
                answer["pending_chan_id"] = asked["pending_chan_id"].clone();
                socket.send(&answer).await?;
            }
        }
    }
}

async fn accepts(opener: &Rest, socket: &mut Socket, network: &Network) -> Result<()> {
    let answer = json!({"accept": true, "zero_conf": false});
    let (opened, asked) = open(opener, socket, network, answer).await?;
    has(&opened.json()?, &["funding_txid_bytes", "output_index"])?;
    assert_eq!(asked["node_pubkey"], base64(network["alice"].key())?);
    assert_eq!(asked["wants_zero_conf"], false);
    assert_eq!(
        (number(&asked, "funding_amt")?, number(&asked, "push_amt")?),
        (400_000, 1_000_000)
    );
    assert_eq!(asked["commitment_type"], "ANCHORS");
    assert_eq!(
        (&asked["csv_delay"], &asked["channel_flags"]),
        (&json!(144), &json!(0))
    );
    Ok(())
}

async fn asks_for_terms(opener: &Rest, socket: &mut Socket, network: &Network) -> Result<()> {
    let answer = json!({"accept": true, "csv_delay": 288, "min_htlc_in": "2000"});
    let (opened, _) = open(opener, socket, network, answer).await?;
    opened.json()?;
    let open = |list: &Value| {
        list["channels"]
            .as_array()
            .is_some_and(|all| all.len() == 3)
    };
    let list = mine_until(network, opener, "/v1/channels?active_only=true", open).await?;
    let channels = list["channels"].as_array().context("no list")?;
    let strict = channels
        .iter()
        .find(|one| one["local_constraints"]["csv_delay"] == 288);
    let limits = &strict.context("no channel with these terms")?["local_constraints"];
    assert_eq!(limits["min_htlc_msat"], "2000");
    network.wait_usable().await
}

/// With an error text for the peer, and with terms that are not supported.
async fn refuses(opener: &Rest, socket: &mut Socket, network: &Network) -> Result<()> {
    let answer = json!({"accept": false, "error": "not before noon"});
    let (opened, _) = open(opener, socket, network, answer).await?;
    refused(&opened, "not before noon")?;
    let answer = json!({"accept": true, "zero_conf": true});
    let (opened, _) = open(opener, socket, network, answer).await?;
    refused(&opened, "channel rejected")
}

/// Once the acceptor disconnects, the node decides on its own again.
async fn leaves(opener: &Rest, network: &Network) -> Result<()> {
    wait_for("an opening without an acceptor", crate::LIMIT, async || {
        post(opener, "/v1/channels", &order(network)).await
    })
    .await?;
    let all = |list: &Value| {
        list["channels"]
            .as_array()
            .is_some_and(|all| all.len() == 4)
    };
    mine_until(network, opener, "/v1/channels?active_only=true", all).await?;
    get(opener, "/v1/channels/pending").await?;
    network.wait_usable().await
}
