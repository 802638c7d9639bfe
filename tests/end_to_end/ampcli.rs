//! ampcli with live nodes: every command of the README's walk-through.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use regtest::network::Network;
use regtest::node::Node;
use regtest::wait::wait_for;
use serde_json::Value;

use crate::binaries;

const FUNDS_SAT: u64 = 3_000_000;
const LIMIT: Duration = Duration::from_secs(60);

/// ampcli with the flags needed to reach one node.
pub(crate) struct Cli<'a> {
    pub(crate) network: &'a Network,
    pub(crate) node: &'a Node,
}

fn succeeded(output: Output, args: &[&str]) -> Result<String> {
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ampcli {args:?}: {error}");
    Ok(String::from_utf8(output.stdout)?)
}

impl Cli<'_> {
    fn command(&self, args: &[&str]) -> Result<Command> {
        let mut command = Command::new(&self.network.binaries().ampcli);
        command
            .env("AMPCLI_NETWORK", "regtest")
            .args(["--rpcserver", self.node.rpc_address()?, "--datadir"])
            .arg(self.node.dir())
            .args(args);
        Ok(command)
    }

    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        self.command(args)?.output().context("cannot run ampcli")
    }

    /// Runs a command and types an answer to its prompt.
    pub(crate) fn answered(&self, args: &[&str], answer: &str) -> Result<Output> {
        let mut command = self.command(args)?;
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot run ampcli")?;
        let keyboard = child.stdin.take().context("no stdin")?;
        writeln!(&keyboard, "{answer}")?;
        child.wait_with_output().context("ampcli did not exit")
    }

    /// Returns the output of a command that must succeed.
    pub(crate) fn text(&self, args: &[&str]) -> Result<String> {
        succeeded(self.run(args)?, args)
    }

    /// Like `text`, in another working directory.
    pub(crate) fn text_in(&self, directory: &Path, args: &[&str]) -> Result<String> {
        let output = self.command(args)?.current_dir(directory).output()?;
        succeeded(output, args)
    }

    pub(crate) fn json(&self, args: &[&str]) -> Result<Value> {
        let text = self.text(args)?;
        serde_json::from_str(&text).with_context(|| format!("{args:?} printed {text}"))
    }

    /// Checks that a command fails with exit code 1 and one line on stderr that contains `why`.
    pub(crate) fn refused(&self, args: &[&str], why: &str) -> Result<()> {
        let output = self.run(args)?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{args:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{args:?}: {error}");
        assert!(
            error.starts_with("[ampcli]") && error.contains(why),
            "{args:?}: {error}"
        );
        assert!(output.stdout.is_empty(), "{args:?} printed to stdout");
        Ok(())
    }
}

#[tokio::test]
async fn readme_walk_through_works() -> Result<()> {
    let mut network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let alice = Cli {
        network: &network,
        node: &network["alice"],
    };
    let bob = Cli {
        network: &network,
        node: &network["bob"],
    };
    fund(&alice).await?;
    let first = open(&alice, &bob).await?;
    let second = open(&alice, &bob).await?;
    pay_a_public_key(&alice, &bob)?;
    pay_an_invoice(&alice, &bob)?;
    pay_a_static_invoice(&alice, &bob)?;
    close(&alice, &first, false).await?;
    close(&alice, &second, true).await?;
    errors_are_one_line(&alice, &bob)?;

    alice.json(&["stop"])?;
    let status = network["alice"].wait_for_end().await?;
    ensure!(status.success(), "exit status {status} after ampcli stop");
    network.finish();
    Ok(())
}

async fn fund(alice: &Cli<'_>) -> Result<()> {
    assert_eq!(alice.json(&["getinfo"])?["alias"], "alice");
    let address = alice.json(&["newaddress", "p2wkh"])?;
    let address = address["address"]
        .as_str()
        .context("the response has no address")?;
    let network = alice.network;
    network
        .bitcoind
        .fund(&[(address.to_owned(), FUNDS_SAT)])
        .await?;
    network.mine(1).await?;
    network.wait_wallet("alice", FUNDS_SAT).await?;
    let balance = alice.json(&["walletbalance"])?;
    assert_eq!(balance["confirmed_balance"], FUNDS_SAT.to_string());
    Ok(())
}

/// Connects if necessary, opens a channel and returns its channel point.
async fn open(alice: &Cli<'_>, bob: &Cli<'_>) -> Result<String> {
    let (network, key) = (alice.network, bob.node.key());
    let open_before = list(alice, "listchannels", "channels")?.len();
    if open_before == 0 {
        alice.json(&["connect", &format!("{key}@{}", bob.node.peer_address())])?;
        assert_eq!(list(alice, "listpeers", "peers")?[0]["pub_key"], key);
    }
    let opened = alice.json(&["openchannel", "--node_key", key, "--local_amt", "1000000"])?;
    let txid = opened["funding_txid"]
        .as_str()
        .context("the response has no funding_txid")?;
    let pending = list(alice, "pendingchannels", "pending_open_channels")?;
    assert_eq!(pending.len(), 1);
    let point = pending[0]["channel"]["channel_point"].clone();
    let point = point
        .as_str()
        .context("the channel has no channel_point")?
        .to_owned();
    assert!(
        point.starts_with(txid),
        "{point} is not an output of {txid}"
    );
    network.mine(6).await?;
    network.wait_usable().await?;
    let channels = list(alice, "listchannels", "channels")?;
    assert_eq!(channels.len(), open_before + 1);
    let channel = channels.iter().find(|one| one["channel_point"] == *point);
    let channel = channel.context("the channel is not listed")?;
    assert_eq!(channel["active"], true);
    assert_eq!(channel["remote_pubkey"], key);
    assert_eq!(channel["capacity"], "1000000");
    Ok(point)
}

fn list(cli: &Cli<'_>, command: &str, field: &str) -> Result<Vec<Value>> {
    let answer = cli.json(&[command])?;
    let list = answer[field].as_array();
    list.cloned()
        .with_context(|| format!("{command} has no list {field}: {answer}"))
}

fn pay_a_public_key(alice: &Cli<'_>, bob: &Cli<'_>) -> Result<()> {
    let key = bob.node.key();
    let pay = ["sendpayment", "--dest", key, "--amt", "50000", "--amp"];
    let table = alice.text(&pay)?;
    for part in ["HTLC_STATE", "SUCCEEDED", "50000", &key[..6]] {
        assert!(table.contains(part), "{part} is missing in {table}");
    }
    let mut pay = pay.to_vec();
    pay[4] = "7000msat";
    pay.push("--json");
    // One line per update; the last one has the final state.
    let text = alice.text(&pay)?;
    let mut updates = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let last = updates.try_fold(Value::Null, |_, update| update)?;
    assert_eq!(last["status"], "SUCCEEDED");
    assert_eq!(last["value_msat"], "7000");
    let record = &last["htlcs"][0]["route"]["hops"][0]["amp_record"];
    assert_eq!(record["set_id"], last["payment_hash"]);

    let received = list(bob, "listinvoices", "invoices")?;
    assert_eq!(received.len(), 2);
    assert!(received.iter().all(|invoice| invoice["is_amp"] == true));
    Ok(())
}

fn pay_an_invoice(alice: &Cli<'_>, bob: &Cli<'_>) -> Result<()> {
    let invoice = bob.json(&["addinvoice", "--amt", "50000", "--memo", "tea"])?;
    let request = invoice["payment_request"]
        .as_str()
        .context("no payment_request")?;
    let hash = invoice["r_hash"].as_str().context("no r_hash")?;
    assert_eq!(bob.json(&["lookupinvoice", hash])?["state"], "OPEN");
    let decoded = alice.json(&["decodepayreq", request])?;
    assert_eq!(decoded["num_satoshis"], "50000");
    assert_eq!(decoded["description"], "tea");

    let table = alice.text(&["payinvoice", "--force", request])?;
    assert!(table.contains("SUCCEEDED"), "{table}");
    let settled = bob.json(&["lookupinvoice", hash])?;
    assert_eq!(settled["state"], "SETTLED");
    assert_eq!(settled["amt_paid_sat"], "50000");
    let payments = list(alice, "listpayments", "payments")?;
    assert_eq!(payments.len(), 3);
    assert_eq!(payments[2]["payment_hash"], hash);
    Ok(())
}

fn pay_a_static_invoice(alice: &Cli<'_>, bob: &Cli<'_>) -> Result<()> {
    let svg = bob.node.dir().join("tips.svg");
    let svg = svg.to_str().context("not UTF-8")?;
    let add = [
        "addinvoice",
        "--amp",
        "--memo=tips",
        "--expiry=never",
        "--qr",
        "--qr-file",
        svg,
    ];
    let output = bob.run(&add)?;
    // Drawing the QR code must not disturb programs that read the JSON.
    let invoice: Value = serde_json::from_slice(&output.stdout)?;
    assert!(String::from_utf8(output.stderr)?.contains('▀'));
    let drawn = fs::read_to_string(svg)?;
    assert!(drawn.starts_with("<svg"), "{drawn}");
    let request = invoice["payment_request"]
        .as_str()
        .context("no payment_request")?;
    let hash = invoice["r_hash"].as_str().context("no r_hash")?;

    let pay = ["payinvoice", "--amt=30000", request];
    let refused = alice.answered(&pay, "no")?;
    assert_eq!(refused.status.code(), Some(1));
    let prompt = String::from_utf8(refused.stdout)?;
    assert!(prompt.contains("Amount (in satoshis): 30000\n"), "{prompt}");
    let paid = String::from_utf8(alice.answered(&pay, "yes")?.stdout)?;
    assert!(paid.contains("SUCCEEDED"), "{paid}");
    let again = [
        "sendpayment",
        "--pay_req",
        request,
        "--amt=7",
        "--amp",
        "-f",
    ];
    assert!(alice.text(&again)?.contains("SUCCEEDED"));
    alice.refused(&["payinvoice", request], "amount must be specified")?;

    let settled = bob.json(&["lookupinvoice", hash])?;
    assert_eq!(settled["amt_paid_sat"], "30007");
    assert_eq!(settled["expiry"], "1576800000");
    let qr = alice.text(&["qr", request])?;
    assert!(qr.contains('▀'), "{qr}");
    Ok(())
}

async fn close(alice: &Cli<'_>, point: &str, force: bool) -> Result<()> {
    let mut args = vec!["closechannel", "--chan_point", point];
    if force {
        args.push("--force");
    }
    let closing = alice.json(&args)?;
    assert!(closing["closing_txid"].is_string(), "{closing}");
    let kind = if force {
        "pending_force_closing_channels"
    } else {
        "waiting_close_channels"
    };
    wait_for("the channel to be closed", LIMIT, async || {
        alice.network.mine(6).await?;
        let closed = list(alice, "closedchannels", "channels")?;
        let ours = closed.iter().any(|one| one["channel_point"] == point);
        let pending = list(alice, "pendingchannels", kind)?;
        ensure!(ours && pending.is_empty(), "pending: {pending:?}");
        Ok(())
    })
    .await
}

fn errors_are_one_line(alice: &Cli<'_>, bob: &Cli<'_>) -> Result<()> {
    let key = bob.node.key();
    let unknown = "11".repeat(32);
    alice.refused(&["lookupinvoice", &unknown], "unable to locate invoice")?;
    alice.refused(&["payinvoice", "--force", "lnbcrt1nonsense"], "")?;
    alice.refused(
        &["closechannel", "--chan_point", &format!("{unknown}:0")],
        "not found",
    )?;
    // No channel is left: the payment fails after printing its table.
    let pay = ["sendpayment", "--dest", key, "--amt", "50000", "--amp"];
    let failed = alice.run(&pay)?;
    assert_eq!(failed.status.code(), Some(1));
    let table = String::from_utf8(failed.stdout)?;
    assert!(table.contains("FAILED"), "{table}");
    // An invalid command line.
    let wrong = alice.run(&["sendpayment", "--nonsense"])?;
    assert_eq!(wrong.status.code(), Some(2));
    Ok(())
}
