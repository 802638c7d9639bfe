//! Core Lightning's JSON-RPC over its Unix socket, with one connection per call.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use lnd_api::proto::lnrpc::{Channel, Htlc, OpenChannelRequest};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Edge, Info, Paid, after_costs, commitment_msat};

/// Payment timeout in seconds.
const RETRY_FOR: u32 = 60;
/// Generous fee limit in percent, which these tests are not about.
const MAX_FEES_PERCENT: u32 = 50;
const OPEN: &str = "CHANNELD_NORMAL";
/// States before a channel can be used.
const OPENING: [&str; 6] = [
    "OPENINGD",
    "CHANNELD_AWAITING_LOCKIN",
    "DUALOPEND_OPEN_INIT",
    "DUALOPEND_OPEN_COMMIT_READY",
    "DUALOPEND_OPEN_COMMITTED",
    "DUALOPEND_AWAITING_LOCKIN",
];
/// Feature bits of a channel type: static_remotekey, anchors_zero_fee_htlc_tx, scid_alias.
const SCID_ALIAS_TYPE: [u8; 3] = [12, 22, 46];

/// A lightningd instance.
#[derive(Clone, Debug)]
pub struct CoreLightning {
    socket: PathBuf,
}

/// An error returned by lightningd.
#[derive(Clone, Debug)]
struct Refusal(Value);

impl CoreLightning {
    /// The instance that serves this socket.
    pub fn at(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Calls a method with named parameters.
    ///
    /// # Errors
    /// If it cannot be reached, or lightningd's own error.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        let answer = self.exchange(method, parameters).await;
        let answer = answer.with_context(|| format!("lightningd's {method}"))?;
        answer.map_err(|Refusal(error)| anyhow::anyhow!("lightningd's {method}: {error}"))
    }

    async fn exchange(&self, method: &str, parameters: Value) -> Result<Result<Value, Refusal>> {
        let request = json!({
            "jsonrpc": "2.0", "id": "regtest", "method": method, "params": parameters,
        });
        let mut stream = UnixStream::connect(&self.socket).await?;
        stream.write_all(request.to_string().as_bytes()).await?;
        let mut text = Vec::new();
        // A response ends with an empty line.
        while !text.ends_with(b"\n\n") {
            if stream.read_buf(&mut text).await? == 0 {
                bail!("lightningd closed the connection");
            }
        }
        let mut answer: Value = serde_json::from_slice(&text)?;
        let error = answer["error"].take();
        Ok(if error.is_null() {
            Ok(answer["result"].take())
        } else {
            Err(Refusal(error))
        })
    }

    pub(super) async fn info(&self) -> Result<Info> {
        let info = self.call("getinfo", json!({})).await?;
        let is_behind = |key: &str| !info[key].is_null();
        let height = info["blockheight"]
            .as_u64()
            .context("getinfo has no height")?;
        Ok(Info {
            key: text(&info["id"])?,
            height: u32::try_from(height)?,
            synced_to_chain: !is_behind("warning_bitcoind_sync")
                && !is_behind("warning_lightningd_sync"),
        })
    }

    pub(super) async fn address(&self) -> Result<String> {
        let address = self
            .call("newaddr", json!({ "addresstype": "bech32" }))
            .await?;
        text(&address["bech32"])
    }

    pub(super) async fn confirmed_sat(&self) -> Result<u64> {
        let funds = self.call("listfunds", json!({})).await?;
        let outputs = list(&funds["outputs"]).iter();
        let confirmed = outputs.filter(|output| output["status"] == "confirmed");
        let msat = confirmed.map(|output| number(&output["amount_msat"]));
        Ok(msat.sum::<Result<u64>>()? / 1_000)
    }

    pub(super) async fn connect(&self, key: &str, address: &str) -> Result<()> {
        let (host, port) = address
            .rsplit_once(':')
            .context("not of the form host:port")?;
        let port: u16 = port.parse()?;
        let parameters = json!({ "id": key, "host": host, "port": port });
        self.call("connect", parameters).await.map(drop)
    }

    pub(super) async fn disconnect(&self, key: &str) -> Result<()> {
        let parameters = json!({ "id": key, "force": true });
        self.call("disconnect", parameters).await.map(drop)
    }

    pub(super) async fn peers(&self) -> Result<Vec<String>> {
        let peers = self.call("listpeers", json!({})).await?;
        let peers = list(&peers["peers"]).iter();
        let connected = peers.filter(|peer| peer["connected"] == true);
        connected.map(|peer| text(&peer["id"])).collect()
    }

    pub(super) async fn open(&self, request: &OpenChannelRequest) -> Result<String> {
        use bitcoin::hex::DisplayHex;
        let mut parameters = json!({
            "id": request.node_pubkey.to_lower_hex_string(),
            "amount": request.local_funding_amount,
            "push_msat": request.push_sat * 1_000,
            "announce": !request.private,
        });
        if request.scid_alias {
            parameters["channel_type"] = json!(SCID_ALIAS_TYPE);
        }
        let opened = self.call("fundchannel", parameters).await?;
        Ok(format!(
            "{}:{}",
            text(&opened["txid"])?,
            number(&opened["outnum"])?
        ))
    }

    pub(super) async fn channels(&self) -> Result<Vec<Channel>> {
        let channels = self.list_channels().await?;
        let open = channels.iter().filter(|channel| channel["state"] == OPEN);
        open.map(channel).collect()
    }

    pub(super) async fn balances_msat(&self) -> Result<(u64, u64)> {
        let (mut local, mut remote) = (0, 0);
        for channel in self.list_channels().await? {
            if channel["state"] == OPEN {
                let ends = ends_msat(&channel)?;
                local += ends.0;
                remote += ends.1;
            }
        }
        Ok((local, remote))
    }

    /// Every channel it remembers, as returned by its own RPC.
    pub async fn list_channels(&self) -> Result<Vec<Value>> {
        let mut channels = self.call("listpeerchannels", json!({})).await?;
        Ok(serde_json::from_value(channels["channels"].take())?)
    }

    pub(super) async fn opening(&self) -> Result<usize> {
        let channels = self.list_channels().await?;
        let is_opening = |channel: &&Value| OPENING.iter().any(|state| channel["state"] == *state);
        Ok(channels.iter().filter(is_opening).count())
    }

    pub(super) async fn close(&self, point: &str) -> Result<()> {
        let parameters = json!({ "id": self.id_of(point).await?, "unilateraltimeout": 0 });
        self.call("close", parameters).await.map(drop)
    }

    pub(super) async fn force_close(&self, point: &str) -> Result<()> {
        // Offers a cooperative close first, which HTLCs block, and force-closes after a second.
        let parameters = json!({ "id": self.id_of(point).await?, "unilateraltimeout": 1 });
        self.call("close", parameters).await.map(drop)
    }

    /// The channel id of a channel point.
    async fn id_of(&self, point: &str) -> Result<String> {
        for channel in self.list_channels().await? {
            if point_of(&channel)? == point {
                return text(&channel["channel_id"]);
            }
        }
        bail!("no channel {point}")
    }

    pub(super) async fn invoice(&self, msat: Option<u64>, private: bool) -> Result<String> {
        let mut parameters = json!({
            "amount_msat": msat.map_or(json!("any"), |msat| json!(msat)),
            "label": format!("{:016x}", fastrand::u64(..)),
            "description": "regtest",
        });
        if private {
            parameters["exposeprivatechannels"] = json!(true);
        }
        text(&self.call("invoice", parameters).await?["bolt11"])
    }

    pub(super) async fn received(&self, hash: &str) -> Result<Option<u64>> {
        let found = self
            .call("listinvoices", json!({ "payment_hash": hash }))
            .await?;
        let invoice = list(&found["invoices"]).first().context("no invoice")?;
        let is_paid = invoice["status"] == "paid";
        is_paid
            .then(|| number(&invoice["amount_received_msat"]))
            .transpose()
    }

    pub(super) async fn pay(&self, invoice: &str, msat: Option<u64>) -> Result<Paid> {
        let mut parameters = json!({
            "bolt11": invoice, "retry_for": RETRY_FOR, "maxfeepercent": MAX_FEES_PERCENT,
        });
        if let Some(msat) = msat {
            parameters["amount_msat"] = json!(msat);
        }
        self.paid("pay", parameters).await
    }

    pub(super) async fn keysend(&self, key: &str, msat: u64) -> Result<Paid> {
        let parameters = json!({
            "destination": key, "amount_msat": msat,
            "retry_for": RETRY_FOR, "maxfeepercent": MAX_FEES_PERCENT,
        });
        self.paid("keysend", parameters).await
    }

    /// Calls a method that sends a payment.
    pub async fn paid(&self, method: &str, parameters: Value) -> Result<Paid> {
        Ok(match self.exchange(method, parameters).await? {
            Ok(paid) => Paid::Succeeded(text(&paid["payment_preimage"])?),
            Err(Refusal(error)) => Paid::Failed(error.to_string()),
        })
    }

    pub(super) async fn graph(&self) -> Result<Vec<Edge>> {
        let channels = self.call("listchannels", json!({})).await?;
        let edges = list(&channels["channels"]).iter().map(|edge| {
            Ok(Edge {
                channel: text(&edge["short_channel_id"])?,
                source: text(&edge["source"])?,
            })
        });
        edges.collect()
    }
}

fn channel(from: &Value) -> Result<Channel> {
    let (local, remote) = ends_msat(from)?;
    Ok(Channel {
        active: from["peer_connected"] == true && from["reestablished"] == true,
        remote_pubkey: text(&from["peer_id"])?,
        channel_point: point_of(from)?,
        capacity: i64::try_from(number(&from["total_msat"])? / 1_000)?,
        local_balance: i64::try_from(local / 1_000)?,
        remote_balance: i64::try_from(remote / 1_000)?,
        private: from["private"] == true,
        initiator: from["opener"] == "local",
        pending_htlcs: vec![Htlc::default(); list(&from["htlcs"]).len()],
        ..Default::default()
    })
}

/// The balances of both ends, its own first.
fn ends_msat(channel: &Value) -> Result<(u64, u64)> {
    let types = list(&channel["channel_type"]["names"]);
    let has_anchors = types.iter().any(|name| {
        let name = name.as_str().unwrap_or_default();
        name.starts_with("anchors")
    });
    let cost = commitment_msat(number(&channel["feerate"]["perkw"])?, has_anchors);
    let local = number(&channel["to_us_msat"])?;
    let remote = number(&channel["total_msat"])? - local;
    let is_opener = channel["opener"] == "local";
    Ok(after_costs((local, remote), is_opener, cost))
}

fn point_of(channel: &Value) -> Result<String> {
    let txid = text(&channel["funding_txid"])?;
    Ok(format!("{txid}:{}", number(&channel["funding_outnum"])?))
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

    /// Output of lightningd 26.06 for a channel that it opened with half of the capacity pushed.
    fn recorded() -> Value {
        json!({
            "peer_id": "02490aea3145971b6a46d2144d73c47a5ef73d87943f0d9e95a1acfa6bd5dd50b1",
            "peer_connected": true,
            "reestablished": true,
            "channel_type": { "bits": [12, 22], "names": ["static_remotekey/even", "anchors/even"] },
            "state": "CHANNELD_NORMAL",
            "last_tx_fee_msat": 2_810_000,
            "feerate": { "perkw": 2_500, "perkb": 10_000 },
            "funding_txid": "e70e8e5b6bce63cd51907d50189582b9ce60f79d320c10513c4dd33fc934623b",
            "funding_outnum": 0,
            "private": false,
            "opener": "local",
            "to_us_msat": 500_000_000,
            "total_msat": 1_000_000_000,
            "htlcs": [],
        })
    }

    #[test]
    fn opener_pays_for_commitment_and_anchors() {
        let mine = recorded();
        // `last_tx_fee_msat` and 660 sat of anchors.
        assert_eq!(ends_msat(&mine).unwrap(), (496_530_000, 500_000_000));
        let mut theirs = mine;
        theirs["opener"] = json!("remote");
        assert_eq!(ends_msat(&theirs).unwrap(), (500_000_000, 496_530_000));
    }

    #[test]
    fn channel_is_active_only_when_connected_and_reestablished() {
        let channel_of = |key: &str, value: bool| {
            let mut from = recorded();
            from[key] = json!(value);
            channel(&from).unwrap()
        };
        assert!(channel_of("peer_connected", true).active);
        assert!(!channel_of("peer_connected", false).active);
        assert!(!channel_of("reestablished", false).active);
        assert_eq!(
            channel(&recorded()).unwrap().channel_point,
            "e70e8e5b6bce63cd51907d50189582b9ce60f79d320c10513c4dd33fc934623b:0"
        );
    }
}
