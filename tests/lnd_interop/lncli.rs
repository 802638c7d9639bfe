//! lnd's own lncli controls ampd: the AMP commands from its documentation, and the most common
//! commands. Its output has the same structure as ampcli's.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use regtest::binaries::LndBinaries;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Software::Ampd;
use regtest::trials;
use serde_json::Value;

use crate::scene::CAPACITY_SAT;
use crate::{SETTLE_LIMIT, binaries};

pub(crate) fn trials() -> trials::Trials {
    trials![lncli_works_with_ampd_and_prints_the_same_as_ampcli]
}

async fn lncli_works_with_ampd_and_prints_the_same_as_ampcli() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd), ("bob", Ampd)]).await?;
    let plan = ChannelPlan::new("alice", "bob", CAPACITY_SAT).push(CAPACITY_SAT / 2);
    network.open(&[plan]).await?;
    let [alice, bob] = ["alice", "bob"].map(|name| Owner {
        network: &network,
        name,
    });
    let facts = amp(&alice, &bob)?;
    network.wait_settled(SETTLE_LIMIT).await?;
    for line in LINES {
        alice.prints_the_same(&facts.fill(line))?;
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// Commands for both programs, with placeholders for values provided by [`amp`].
const LINES: [&str; 33] = [
    "getinfo",
    "walletbalance",
    "channelbalance",
    "listchannels",
    "pendingchannels",
    "closedchannels",
    "listpeers",
    "newaddress p2wkh",
    "addinvoice --amt 5 --memo tea",
    "addinvoice --amp",
    "listinvoices",
    "lookupinvoice {hash}",
    "decodepayreq {request}",
    "listpayments",
    "trackpayment --json {set}",
    "describegraph",
    "getnodeinfo {key}",
    "getchaninfo {channel}",
    "getnetworkinfo",
    "feereport",
    "fwdinghistory",
    "listchaintxns",
    "listunspent",
    "queryroutes {key} 1000",
    "buildroute --amt 1000 --hops {key}",
    "estimateroutefee --dest {key} --amt 1000",
    "signmessage hello",
    "state",
    "listmacaroonids",
    "listpermissions",
    "wallet accounts list",
    "wallet addresses list",
    "sendpayment --json -f --dest {key} --amt 7 --keysend",
];

/// Creates an AMP invoice, pays it twice, pays a key, and looks everything up.
fn amp(alice: &Owner<'_>, bob: &Owner<'_>) -> Result<Facts> {
    let made = bob.lncli("addinvoice --amp --amt=1000 --memo=tips")?;
    let (request, hash) = (text(&made, "payment_request")?, text(&made, "r_hash")?);
    let decoded = alice.lncli(&format!("decodepayreq {request}"))?;
    assert_eq!(decoded["features"]["30"]["name"], "amp");
    let key = text(&decoded, "destination")?;
    let mut sets = Vec::new();
    for _ in 0..2 {
        let paid = alice.lncli(&format!("payinvoice --json --amp -f {request}"))?;
        assert_eq!(paid["status"], "SUCCEEDED", "{paid}");
        sets.push(text(&paid, "payment_hash")?);
    }
    let spontaneous = alice.lncli(&format!(
        "sendpayment --json -f --dest={key} --amt=500 --amp"
    ))?;
    assert_eq!(spontaneous["status"], "SUCCEEDED", "{spontaneous}");
    let found = bob.lncli(&format!("lookupinvoice {hash}"))?;
    assert_eq!(found["amt_paid_sat"], "2000");
    for set in &sets {
        assert_eq!(
            found["amp_invoice_state"][set]["state"], "SETTLED",
            "{found}"
        );
        let tracked = alice.lncli(&format!("trackpayment --json {set}"))?;
        assert_eq!(tracked["status"], "SUCCEEDED");
    }
    let listed = bob.lncli("listinvoices")?;
    let listed = listed["invoices"]
        .as_array()
        .context("the response has no invoices")?;
    assert_eq!(
        listed
            .iter()
            .filter(|invoice| invoice["is_amp"] == true)
            .count(),
        2
    );
    let own = alice.lncli("addinvoice --amp")?;
    let channels = alice.network[alice.name].dir().join("regtest");
    ensure!(channels.exists());
    let channel = alice.lncli("listchannels")?["channels"][0]["scid"].clone();
    Ok(Facts(BTreeMap::from([
        ("{key}", key),
        ("{hash}", text(&own, "r_hash")?),
        ("{request}", request),
        ("{set}", sets.remove(0)),
        (
            "{channel}",
            channel
                .as_str()
                .context("the node has no channel")?
                .to_owned(),
        ),
    ])))
}

/// Values of the placeholders.
struct Facts(BTreeMap<&'static str, String>);

impl Facts {
    fn fill(&self, line: &str) -> String {
        let fill = |line: String, (name, text): (&&str, &String)| line.replace(*name, text);
        self.0.iter().fold(line.to_owned(), fill)
    }
}

/// A node with both client programs.
struct Owner<'a> {
    network: &'a Network,
    name: &'a str,
}

impl Owner<'_> {
    fn lncli(&self, line: &str) -> Result<Value> {
        let node = &self.network[self.name];
        let mut lncli = Command::new(
            LndBinaries::named()?
                .context("LND_EXE and LNCLI_EXE are not set")?
                .lncli,
        );
        lncli
            .arg("--network=regtest")
            .arg(format!("--rpcserver={}", node.rpc_address()?));
        lncli.arg(format!("--lnddir={}", node.dir().display()));
        printed(lncli, line)
    }

    fn ampcli(&self, line: &str) -> Result<Value> {
        let node = &self.network[self.name];
        let mut ampcli = Command::new(&self.network.binaries().ampcli);
        ampcli
            .arg("--network=regtest")
            .arg(format!("--rpcserver={}", node.rpc_address()?));
        ampcli.arg(format!("--datadir={}", node.dir().display()));
        printed(ampcli, line)
    }

    fn prints_the_same(&self, line: &str) -> Result<()> {
        let (lncli, ampcli) = (self.lncli(line)?, self.ampcli(line)?);
        let (lnd, ours) = (shape(&lncli), shape(&ampcli));
        ensure!(lnd == ours, "{line}\nlncli: {lncli:#}\nampcli: {ampcli:#}");
        Ok(())
    }
}

fn printed(mut program: Command, line: &str) -> Result<Value> {
    let output = program.args(line.split_whitespace()).output()?;
    let (text, errors) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{line}: {errors}{text}");
    serde_json::from_str(&text).with_context(|| format!("{line} printed {text}"))
}

fn text(value: &Value, name: &str) -> Result<String> {
    let member = value[name].as_str();
    Ok(member
        .with_context(|| format!("no {name} in {value}"))?
        .to_owned())
}

/// Names and types of all members; for a list, those of its first item.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "switch".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().collect();
            let shapes = members.into_iter();
            shapes
                .map(|(name, value)| (name.clone(), shape(value)))
                .collect()
        }
    }
}
