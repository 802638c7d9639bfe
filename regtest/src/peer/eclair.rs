//! Eclair's HTTP interface: form requests, JSON responses.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bitcoin::hex::DisplayHex;
use form_urlencoded::Serializer;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use lnd_api::proto::lnrpc::{Channel, Htlc, OpenChannelRequest};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_util::task::AbortOnDropHandle;

use super::{Edge, Info, Paid, after_costs, commitment_msat};

/// Payment timeout.
const PAYMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Interval between two queries for the state of a payment.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Generous fee limit in percent, which these tests are not about.
const MAX_FEES_PERCENT: u32 = 50;
/// Fee budget of the funding transaction; the default is a thousandth of the channel.
const FUNDING_FEE_SAT: u32 = 100_000;
/// Prefix of states before a channel can be used.
const OPENING: &str = "WAIT_FOR_";

/// An Eclair node.
#[derive(Clone, Debug)]
pub struct Eclair {
    port: u16,
    password: String,
}

impl Eclair {
    /// The instance that listens on this port of 127.0.0.1.
    pub fn at(port: u16, password: &str) -> Self {
        Self {
            port,
            password: password.to_owned(),
        }
    }

    /// Calls a method with form fields.
    ///
    /// # Errors
    /// If it cannot be reached, or Eclair's own error.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.exchange(method, &parameters)
            .await
            .with_context(|| format!("Eclair's {method}"))
    }

    async fn exchange(&self, method: &str, parameters: &Value) -> Result<Value> {
        let (status, text) = self.post(method, form(parameters)).await?;
        if status != StatusCode::OK {
            bail!("HTTP {status}: {text}");
        }
        serde_json::from_str(&text).context(text)
    }

    async fn post(&self, method: &str, form: String) -> Result<(StatusCode, String)> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let login = BASE64_STANDARD.encode(format!(":{}", self.password));
        let request = Request::post(format!("/{method}"))
            .header(header::HOST, "127.0.0.1")
            .header(header::AUTHORIZATION, format!("Basic {login}"))
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(form)))?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8(body.to_vec())?))
    }

    pub(super) async fn info(&self) -> Result<Info> {
        let info = self.call("getinfo", json!({})).await?;
        Ok(Info {
            key: text(&info["nodeId"])?,
            height: u32::try_from(number(&info["blockHeight"])?)?,
            // Eclair answers only once it is synced.
            synced_to_chain: true,
        })
    }

    pub(super) async fn address(&self) -> Result<String> {
        text(&self.call("getnewaddress", json!({})).await?)
    }

    pub(super) async fn confirmed_sat(&self) -> Result<u64> {
        number(&self.call("onchainbalance", json!({})).await?["confirmed"])
    }

    pub(super) async fn connect(&self, key: &str, address: &str) -> Result<()> {
        let parameters = json!({ "uri": format!("{key}@{address}") });
        let answer = self.call("connect", parameters).await?;
        let said = answer.as_str().unwrap_or_default();
        if !said.contains("connected") {
            bail!("Eclair's connect: {answer}");
        }
        Ok(())
    }

    pub(super) async fn disconnect(&self, key: &str) -> Result<()> {
        let parameters = json!({ "nodeId": key });
        self.call("disconnect", parameters).await.map(drop)
    }

    pub(super) async fn peers(&self) -> Result<Vec<String>> {
        let peers = self.call("peers", json!({})).await?;
        let peers = list(&peers).iter();
        let connected = peers.filter(|peer| peer["state"] == "CONNECTED");
        connected.map(|peer| text(&peer["nodeId"])).collect()
    }

    pub(super) async fn open(&self, request: &OpenChannelRequest) -> Result<String> {
        let mut parameters = json!({
            "nodeId": request.node_pubkey.to_lower_hex_string(),
            "fundingSatoshis": request.local_funding_amount,
            "pushMsat": request.push_sat * 1_000,
            "announceChannel": !request.private,
            "fundingFeeBudgetSatoshis": FUNDING_FEE_SAT,
        });
        if request.scid_alias {
            parameters["channelType"] = json!("anchor_outputs_zero_fee_htlc_tx+scid_alias");
        }
        let answer = text(&self.call("open", parameters).await?)?;
        // "created channel CHANNEL_ID with fundingTxId=TXID and fees=..."
        let id = answer.split_whitespace().nth(2).unwrap_or_default();
        if !answer.starts_with("created channel") {
            bail!("unexpected result of Eclair's open: {answer}");
        }
        self.point_of(id).await
    }

    async fn point_of(&self, id: &str) -> Result<String> {
        let channel = self.call("channel", json!({ "channelId": id })).await?;
        text(&commitment(&channel)["fundingInput"])
    }

    pub(super) async fn channels(&self) -> Result<Vec<Channel>> {
        let channels = self.list_channels().await?;
        channels.iter().filter(is_open).map(channel).collect()
    }

    pub(super) async fn balances_msat(&self) -> Result<(u64, u64)> {
        let (mut local, mut remote) = (0, 0);
        for channel in self.list_channels().await?.iter().filter(is_open) {
            let ends = ends_msat(channel)?;
            local += ends.0;
            remote += ends.1;
        }
        Ok((local, remote))
    }

    /// Every channel that is not closed yet, as returned by its own API.
    pub async fn list_channels(&self) -> Result<Vec<Value>> {
        let channels = self.call("channels", json!({})).await?;
        Ok(serde_json::from_value(channels)?)
    }

    pub(super) async fn opening(&self) -> Result<usize> {
        let channels = self.list_channels().await?;
        let is_opening = |channel: &&Value| {
            let state = channel["state"].as_str().unwrap_or_default();
            state.starts_with(OPENING)
        };
        Ok(channels.iter().filter(is_opening).count())
    }

    pub(super) async fn close(&self, point: &str) -> Result<()> {
        self.ends("close", point).await
    }

    pub(super) async fn force_close(&self, point: &str) -> Result<()> {
        self.ends("forceclose", point).await
    }

    async fn ends(&self, method: &str, point: &str) -> Result<()> {
        let id = self.id_of(point).await?;
        let answer = self.call(method, json!({ "channelId": id })).await?;
        // The result is per channel: the outcome of the command, or an error, as a string.
        match answer[&id].as_str() {
            Some("ok") => Ok(()),
            Some(text) if text.contains("closed channel") => Ok(()),
            _ => bail!("Eclair's {method}: {answer}"),
        }
    }

    async fn id_of(&self, point: &str) -> Result<String> {
        for channel in self.list_channels().await? {
            if commitment(&channel)["fundingInput"] == point {
                return text(&channel["channelId"]);
            }
        }
        bail!("no channel {point}")
    }

    pub(super) async fn invoice(&self, msat: Option<u64>, private: bool) -> Result<String> {
        let mut parameters = json!({ "description": "regtest" });
        if let Some(msat) = msat {
            parameters["amountMsat"] = json!(msat);
        }
        if private {
            let channels = self.list_channels().await?;
            let ids = channels.iter().map(|channel| text(&channel["channelId"]));
            let ids = ids.collect::<Result<Vec<_>>>()?;
            parameters["privateChannelIds"] = json!(ids.join(","));
        }
        text(&self.call("createinvoice", parameters).await?["serialized"])
    }

    pub(super) async fn received(&self, hash: &str) -> Result<Option<u64>> {
        let parameters = json!({ "paymentHash": hash });
        let found = self.call("getreceivedinfo", parameters).await?;
        let status = &found["status"];
        let is_paid = status["type"] == "received";
        is_paid.then(|| number(&status["amount"])).transpose()
    }

    pub(super) async fn pay(&self, invoice: &str, msat: Option<u64>) -> Result<Paid> {
        let mut parameters = json!({
            "invoice": invoice,
            "maxFeePct": MAX_FEES_PERCENT,
            "blocking": true,
            "timeoutSeconds": PAYMENT_TIMEOUT.as_secs(),
        });
        if let Some(msat) = msat {
            parameters["amountMsat"] = json!(msat);
        }
        // A payment rejected locally has neither sent nor failed attempts in `getsentinfo`.
        let end = match self.call("payinvoice", parameters).await {
            Ok(end) => end,
            Err(error) => return Ok(Paid::Failed(format!("{error:#}"))),
        };
        match end["type"].as_str() {
            Some("payment-sent") => Ok(Paid::Succeeded(text(&end["paymentPreimage"])?)),
            Some("payment-failed") => Ok(Paid::Failed(end.to_string())),
            _ => bail!("Eclair's payinvoice: {end}"),
        }
    }

    pub(super) async fn keysend(&self, key: &str, msat: u64) -> Result<Paid> {
        let parameters = json!({
            "nodeId": key, "amountMsat": msat, "maxFeePct": MAX_FEES_PERCENT,
        });
        let id = match self.call("sendtonode", parameters).await {
            Ok(id) => text(&id)?,
            Err(error) => return Ok(Paid::Failed(format!("{error:#}"))),
        };
        let end = tokio::time::timeout(PAYMENT_TIMEOUT, self.end_of(&id));
        end.await.context("Eclair's payment does not complete")?
    }

    async fn end_of(&self, id: &str) -> Result<Paid> {
        loop {
            // One entry per part; none while Eclair is still finding a route.
            let attempts = self.call("getsentinfo", json!({ "id": id })).await?;
            let statuses: Vec<&Value> =
                list(&attempts).iter().map(|part| &part["status"]).collect();
            let is = |kind: &str| statuses.iter().any(|status| status["type"] == kind);
            if !statuses.is_empty() && !is("pending") {
                let sent = statuses.iter().find(|status| status["type"] == "sent");
                return Ok(match sent {
                    Some(sent) => Paid::Succeeded(text(&sent["paymentPreimage"])?),
                    None => Paid::Failed(attempts.to_string()),
                });
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    pub(super) async fn graph(&self) -> Result<Vec<Edge>> {
        let channels = self.call("allchannels", json!({})).await?;
        let updates = self.call("allupdates", json!({})).await?;
        let ends = |id: &Value| {
            let mut channels = list(&channels).iter();
            channels.find(|channel| channel["shortChannelId"] == *id)
        };
        let mut edges = Vec::new();
        for update in list(&updates) {
            let id = &update["shortChannelId"];
            let Some(channel) = ends(id) else { continue };
            let is_first = update["channelFlags"]["isNode1"] == true;
            let source = &channel[if is_first { "a" } else { "b" }];
            edges.push(Edge {
                channel: text(id)?,
                source: text(source)?,
            });
        }
        Ok(edges)
    }
}

/// Encodes the fields of a form.
fn form(parameters: &Value) -> String {
    let mut form = Serializer::new(String::new());
    for (name, value) in parameters.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => form.append_pair(name, text),
            other => form.append_pair(name, &other.to_string()),
        };
    }
    form.finish()
}

fn commitment(channel: &Value) -> &Value {
    &channel["data"]["commitments"]["active"][0]
}

/// An open channel whose peer is offline has one of the last two states.
fn is_open(channel: &&Value) -> bool {
    let state = channel["state"].as_str().unwrap_or_default();
    ["NORMAL", "OFFLINE", "SYNCING"].contains(&state)
}

fn channel(from: &Value) -> Result<Channel> {
    let commitment = commitment(from);
    let (local, remote) = ends_msat(from)?;
    let htlcs = list(&commitment["localCommit"]["spec"]["htlcs"]);
    Ok(Channel {
        active: from["state"] == "NORMAL",
        remote_pubkey: text(&from["nodeId"])?,
        channel_point: text(&commitment["fundingInput"])?,
        capacity: i64::try_from(number(&commitment["fundingAmount"])?)?,
        local_balance: i64::try_from(local / 1_000)?,
        remote_balance: i64::try_from(remote / 1_000)?,
        private: parameters(from)["channelFlags"]["announceChannel"] == false,
        initiator: is_opener(from),
        pending_htlcs: vec![Htlc::default(); htlcs.len()],
        ..Default::default()
    })
}

/// The balances of both ends, its own first.
fn ends_msat(channel: &Value) -> Result<(u64, u64)> {
    let spec = &commitment(channel)["localCommit"]["spec"];
    let cost = commitment_msat(number(&spec["commitTxFeerate"])?, true);
    let ends = (number(&spec["toLocal"])?, number(&spec["toRemote"])?);
    Ok(after_costs(ends, is_opener(channel), cost))
}

fn parameters(channel: &Value) -> &Value {
    &channel["data"]["commitments"]["channelParams"]
}

fn is_opener(channel: &Value) -> bool {
    parameters(channel)["localParams"]["isChannelOpener"] == true
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> Result<String> {
    let text = value.as_str().map(str::to_owned);
    text.with_context(|| format!("{value} is not a string"))
}

fn number(value: &Value) -> Result<u64> {
    value
        .as_u64()
        .with_context(|| format!("{value} is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Output of Eclair 0.14 for a channel that it opened with half of the capacity pushed.
    fn recorded() -> Value {
        json!({
            "nodeId": "028172fa6a1553ce96df1ab710f63991b955bfe20c8d0d8ecb3af4cb7d462afab1",
            "state": "NORMAL",
            "data": { "commitments": {
                "channelParams": {
                    "localParams": { "isChannelOpener": true, "paysCommitTxFees": true },
                    "channelFlags": { "announceChannel": true },
                },
                "active": [{
                    "fundingInput":
                        "5e9453225e1519319214975ae502236624ab8c4e2cbc7c5fb00e626468f276c9:1",
                    "fundingAmount": 1_000_000,
                    "localCommit": { "spec": {
                        "htlcs": [],
                        "commitTxFeerate": 2_500,
                        "toLocal": 500_000_000,
                        "toRemote": 500_000_000,
                    } },
                }],
            } },
        })
    }

    #[test]
    fn opener_pays_for_commitment_and_anchors() {
        let channel = channel(&recorded()).unwrap();
        assert_eq!(
            (channel.local_balance, channel.remote_balance),
            (496_530, 500_000)
        );
        assert!(channel.active && channel.initiator && !channel.private);
        assert!(channel.channel_point.ends_with(":1"));
    }

    #[test]
    fn form_escapes_reserved_characters() {
        let fields = json!({ "uri": "key@127.0.0.1:9735", "amountMsat": 5 });
        assert_eq!(form(&fields), "uri=key%40127.0.0.1%3A9735&amountMsat=5");
    }
}
