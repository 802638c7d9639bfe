//! The shell commands from lnd's documentation of AMP and keysend, unchanged except for `ampcli`
//! instead of `lncli`, and the commands that list and delete the resulting payments.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::TrackPaymentsRequest;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use serde_json::Value;
use tokio::time::timeout;
use tonic::Streaming;

use crate::{SETTLE_LIMIT, binaries};

/// A shell in which `ampcli` finds its node.
struct Shell<'a> {
    network: &'a Network,
    node: &'a Node,
}

impl Shell<'_> {
    /// Runs a line and types an answer to its prompt.
    fn answered(&self, line: &str, answer: &str) -> Result<Output> {
        let programs = self.network.binaries().ampcli.parent();
        let mut shell = Command::new("/bin/sh")
            .args(["-ec", line])
            .env("PATH", programs.context("ampcli has no parent directory")?)
            .env("AMPCLI_NETWORK", "regtest")
            .env("AMPCLI_RPCSERVER", self.node.rpc_address()?)
            .env("AMPCLI_DATADIR", self.node.dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot run a shell")?;
        let keyboard = shell.stdin.take().context("no stdin")?;
        // Ignored: a command without a prompt does not read it.
        let _ = writeln!(&keyboard, "{answer}");
        drop(keyboard);
        Ok(shell.wait_with_output()?)
    }

    /// Returns the output of a line that must succeed.
    fn text(&self, line: &str) -> Result<String> {
        let output = self.answered(line, "yes")?;
        let error = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{line}: {error}{text}");
        Ok(text)
    }

    fn json(&self, line: &str) -> Result<Value> {
        let text = self.text(line)?;
        serde_json::from_str(&text).with_context(|| format!("{line} printed {text}"))
    }

    /// Checks that a line fails with status 1 and prints this table and reason.
    fn fails(&self, line: &str, table: &str, reason: &str) -> Result<()> {
        let output = self.answered(line, "yes")?;
        let (text, error) = (
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        );
        assert_eq!(output.status.code(), Some(1), "{line}: {text}{error}");
        assert!(text.contains(table), "{line}: {text}");
        assert!(error.contains(reason), "{line}: {error}");
        Ok(())
    }

    /// Lists payments, oldest first.
    fn payments(&self, flags: &str) -> Result<Vec<Value>> {
        let list = self.json(&format!("ampcli listpayments {flags}"))?;
        Ok(list["payments"].as_array().context("no list")?.clone())
    }
}

#[tokio::test]
async fn payment_commands_from_lnd_documentation_work_unchanged() -> Result<()> {
    let network = alice_and_bob().await?;
    let [alice, bob] = shells(&network);
    let mut updates = track_all(&alice).await?;

    let invoice = bob.json("ampcli addinvoice --amt 1000 --memo='my first amp' --amp")?;
    let hash = text(&invoice, "r_hash")?;
    let request = text(&invoice, "payment_request")?;
    pays_an_amp_invoice(&alice, &bob, request, hash)?;
    pays_a_public_key(&alice, &bob)?;
    pays_to_a_chosen_payment_address(&alice, &bob, request, hash)?;
    pays_an_invoice_without_amount(&alice, &bob)?;
    pays_with_keysend(&alice, &bob)?;
    fails_with_status_1(&alice)?;
    messages_and_records_arrive(&alice, &bob)?;

    let listed = alice.payments("")?;
    assert_eq!(listed.len(), 9);
    for paid in &listed {
        let told = end_of_next(&mut updates).await?;
        assert_eq!(told.payment_hash, text(paid, "payment_hash")?);
        assert_eq!(told.status(), PaymentStatus::Succeeded);
    }
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// A channel from Alice to Bob, who accepts spontaneous payments.
async fn alice_and_bob() -> Result<Network> {
    let mut network = Network::start(binaries()).await?;
    let mut nodes = Vec::new();
    for name in ["alice", "bob"] {
        let mut node = network.prepare(name)?;
        node.set_raw("accept-amp", "true");
        node.set_raw("accept-keysend", "true");
        nodes.push(node);
    }
    network.add(nodes).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan]).await?;
    Ok(network)
}

fn shells(network: &Network) -> [Shell<'_>; 2] {
    ["alice", "bob"].map(|name| Shell {
        network,
        node: &network[name],
    })
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    let member = value[name].as_str();
    member.with_context(|| format!("no {name} in {value}"))
}

async fn track_all(shell: &Shell<'_>) -> Result<Streaming<Payment>> {
    let request = TrackPaymentsRequest {
        no_inflight_updates: true,
    };
    let mut router = shell.node.api()?.router;
    Ok(router.track_payments(request).await?.into_inner())
}

/// Returns the next successful payment.
async fn end_of_next(updates: &mut Streaming<Payment>) -> Result<Payment> {
    loop {
        let update = timeout(SETTLE_LIMIT, updates.message()).await??;
        let update = update.context("the stream has ended")?;
        if update.status() == PaymentStatus::Succeeded {
            return Ok(update);
        }
    }
}

/// Repeatedly, and with the obsolete flag of older instructions.
fn pays_an_amp_invoice(alice: &Shell, bob: &Shell, request: &str, hash: &str) -> Result<()> {
    let line = format!("ampcli payinvoice --pay_req {request}");
    let refused = alice.answered(&line, "no")?;
    assert_eq!(refused.status.code(), Some(1));
    let prompt = String::from_utf8(refused.stdout)?;
    let expected = format!(
        "Payment hash: {hash}\nDescription: my first amp\nAmount (in satoshis): 1000\n\
         Fee limit (in satoshis): 1000\nDestination: {}\nConfirm payment (yes/no): ",
        bob.node.key()
    );
    assert_eq!(prompt, expected);

    let table = alice.text(&line)?;
    for part in ["HTLC_STATE", "Amount + fee:   1000 + 0 sat", "SUCCEEDED"] {
        assert!(table.contains(part), "{part} is not in {table}");
    }
    alice.text(&format!(
        "ampcli payinvoice --pay_req {request} --amp-reuse"
    ))?;
    let paid = bob.json(&format!("ampcli lookupinvoice {hash}"))?;
    assert_eq!(paid["amt_paid_sat"], "2000");
    assert_eq!(
        paid["amp_invoice_state"].as_object().map(|sets| sets.len()),
        Some(2)
    );
    Ok(())
}

fn pays_a_public_key(alice: &Shell, bob: &Shell) -> Result<()> {
    let key = bob.node.key();
    let table = alice.text(&format!("ampcli sendpayment --amt 1000 --dest {key} --amp"))?;
    assert!(
        table.contains("Payment status: SUCCEEDED, preimage: "),
        "{table}"
    );
    let paid = alice.payments("--max_payments 1")?.remove(0);
    let set_id = text(&paid, "payment_hash")?;
    let hop = &paid["htlcs"][0]["route"]["hops"][0];
    assert_eq!(hop["amp_record"]["set_id"], set_id);
    assert_eq!(hop["mpp_record"]["total_amt_msat"], "1000000");
    assert_eq!(alice.text(&format!("ampcli trackpayment {set_id}"))?, table);
    let tracked = alice.json(&format!("ampcli trackpayment --json {set_id}"))?;
    assert_eq!(tracked, paid);
    Ok(())
}

/// To Bob this is a spontaneous payment with its own invoice.
fn pays_to_a_chosen_payment_address(
    alice: &Shell,
    bob: &Shell,
    request: &str,
    hash: &str,
) -> Result<()> {
    let address = "5a".repeat(32);
    alice.text(&format!(
        "ampcli payinvoice --pay_req {request} --pay_addr {address}"
    ))?;
    let own = bob.json(&format!("ampcli lookupinvoice --payment_addr {address}"))?;
    assert_eq!(own["amt_paid_sat"], "1000");
    let invoice = bob.json(&format!("ampcli lookupinvoice {hash}"))?;
    assert_eq!(invoice["amt_paid_sat"], "2000", "as before");
    Ok(())
}

fn pays_an_invoice_without_amount(alice: &Shell, bob: &Shell) -> Result<()> {
    let invoice = bob.json("ampcli addinvoice --memo tea")?;
    let request = text(&invoice, "payment_request")?;
    alice.text(&format!("ampcli payinvoice {request} --amt 700"))?;
    let hash = text(&invoice, "r_hash")?;
    let paid = bob.json(&format!("ampcli lookupinvoice {hash}"))?;
    assert_eq!(
        (&paid["state"], &paid["amt_paid_sat"]),
        (&"SETTLED".into(), &"700".into())
    );
    Ok(())
}

fn pays_with_keysend(alice: &Shell, bob: &Shell) -> Result<()> {
    let key = bob.node.key();
    alice.text(&format!(
        "ampcli sendpayment --dest {key} --amt 10 --keysend"
    ))?;
    let paid = alice.payments("--max_payments 1")?.remove(0);
    let hop = &paid["htlcs"][0]["route"]["hops"][0];
    assert_eq!(
        hop["custom_records"]["5482373484"],
        paid["payment_preimage"]
    );
    assert!(hop["mpp_record"].is_null() && hop["amp_record"].is_null());
    let hash = text(&paid, "payment_hash")?;
    let received = bob.json(&format!("ampcli lookupinvoice {hash}"))?;
    assert_eq!(received["is_keysend"], true);
    assert_eq!(received["amt_paid_sat"], "10");
    Ok(())
}

fn fails_with_status_1(alice: &Shell) -> Result<()> {
    // A key without a node.
    let key = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";
    alice.fails(
        &format!("ampcli sendpayment --amt 1000 --dest {key} --amp"),
        "Payment status: FAILED, reason: FAILURE_REASON_NO_ROUTE",
        "[ampcli] FAILED",
    )?;
    assert_eq!(alice.payments("")?.len(), 6);
    let all = alice.payments("--include_incomplete")?;
    assert_eq!(all[6]["status"], "FAILED");
    Ok(())
}

fn messages_and_records_arrive(alice: &Shell, bob: &Shell) -> Result<()> {
    let key = bob.node.key();
    let invoice = bob.json("ampcli addinvoice --amt 5 --memo tea")?;
    let request = text(&invoice, "payment_request")?;
    for (command, message, hex) in [
        (
            format!("sendpayment --dest {key} --amt 5 --amp"),
            "a b",
            "612062",
        ),
        (
            format!("sendpayment --dest {key} --amt 5 --keysend"),
            "c",
            "63",
        ),
        (format!("payinvoice --force {request}"), "d", "64"),
    ] {
        alice.text(&format!(
            "ampcli {command} --message '{message}' --data 70000=0102"
        ))?;
        let sent = alice.payments("--max_payments 1")?.remove(0);
        let records = &sent["htlcs"][0]["route"]["hops"][0]["custom_records"];
        assert_eq!(
            (&records["70000"], &records["34349334"]),
            (&"0102".into(), &hex.into())
        );
        let last = bob.json("ampcli listinvoices --max_invoices 3")?;
        let invoices = last["invoices"].as_array().context("no list")?;
        let has_them = |invoice: &Value| invoice["htlcs"][0]["custom_records"] == *records;
        assert!(invoices.iter().any(has_them), "{last}");
    }
    Ok(())
}

#[tokio::test]
async fn deleted_payments_stay_deleted() -> Result<()> {
    let mut network = alice_and_bob().await?;
    make_and_delete(&network)?;
    let status = network["alice"].stop().await?;
    ensure!(status.success(), "exited with {status}");
    network.restart(&["alice"]).await?;
    network.wait_usable().await?;
    let [alice, bob] = shells(&network);
    assert!(alice.payments("--include_incomplete")?.is_empty());
    let key = bob.node.key();
    alice.text(&format!("ampcli sendpayment --dest {key} --amt 10 --amp"))?;
    let paid = alice.payments("--count_total_payments")?.remove(0);
    assert_eq!(paid["payment_index"], "5", "payment indices continue");
    network.finish();
    Ok(())
}

/// Makes three payments that succeed and one that fails, and deletes all of them.
fn make_and_delete(network: &Network) -> Result<()> {
    let [alice, bob] = shells(network);
    let key = bob.node.key();
    for _ in 0..3 {
        alice.text(&format!("ampcli sendpayment --dest {key} --amt 10 --amp"))?;
    }
    let unknown_key = "036578a1115e56317819f35d7fd55979a1539bafab72a9017cf33c3d5d45df4f8a";
    alice.answered(
        &format!("ampcli sendpayment --dest {unknown_key} --amt 5 --amp"),
        "",
    )?;
    let payments = alice.payments("--include_incomplete")?;
    assert_eq!(payments.len(), 4);
    let status = |line: &str| -> Result<String> {
        let answer = alice.json(&format!("ampcli deletepayments {line}"))?;
        Ok(text(&answer, "status")?.to_owned())
    };
    let of_one = format!("--payment_hash {}", text(&payments[0], "payment_hash")?);
    assert_eq!(status(&of_one)?, "payment deleted");
    alice.fails(
        &format!("ampcli deletepayments {of_one}"),
        "",
        "payment isn't initiated",
    )?;
    alice.fails("ampcli deletepayments", "", "set --all or --payment_hash")?;
    let none = "0 payments deleted, failed_htlcs_only=true";
    assert_eq!(status("--all --failed_htlcs_only")?, none);
    assert_eq!(
        status("--all")?,
        "1 payments deleted, failed_htlcs_only=false"
    );
    assert_eq!(alice.payments("--include_incomplete")?.len(), 2);
    let two = "2 payments deleted, failed_htlcs_only=false";
    assert_eq!(status("--all --include_non_failed")?, two);
    Ok(())
}
