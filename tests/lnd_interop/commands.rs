//! The commands from lnd's documentation of AMP and keysend, run with lnd's own lncli: lnd pays ampd.
//! Also checks that each program decodes the other's invoices.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use regtest::binaries::LndBinaries;
use regtest::network::Network;
use regtest::node::Software::{Ampd, Lnd};
use regtest::trials;
use regtest::written_invoice::{WrittenInvoice, bytes, number};
use serde_json::Value;

use crate::SETTLE_LIMIT;
use crate::scene::{Scene, row};

/// The command line of a node with the client program that belongs to it.
struct Shell<'a> {
    network: &'a Network,
    name: &'a str,
}

impl Shell<'_> {
    fn program(&self) -> Result<Command> {
        let node = &self.network[self.name];
        if node.software() == Lnd {
            let lnd = LndBinaries::named()?.context("LND_EXE and LNCLI_EXE are not set")?;
            return node.lncli(&lnd);
        }
        let mut ampcli = Command::new(&self.network.binaries().ampcli);
        ampcli
            .env("AMPCLI_NETWORK", "regtest")
            .env("AMPCLI_RPCSERVER", node.rpc_address()?)
            .env("AMPCLI_DATADIR", node.dir());
        Ok(ampcli)
    }

    /// Runs a line of words separated by blanks.
    fn types(&self, line: &str) -> Result<Output> {
        let mut program = self.program()?;
        Ok(program.args(line.split_whitespace()).output()?)
    }

    /// Returns the output of a line that must succeed.
    fn text(&self, line: &str) -> Result<String> {
        let output = self.types(line)?;
        let error = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8(output.stdout)?;
        ensure!(output.status.success(), "{line}: {error}{text}");
        Ok(text)
    }

    fn json(&self, line: &str) -> Result<Value> {
        let text = self.text(line)?;
        serde_json::from_str(&text).with_context(|| format!("{line} printed {text}"))
    }

    /// Pays and checks that the table shows success.
    fn pays(&self, line: &str) -> Result<String> {
        let table = self.text(line)?;
        ensure!(table.contains("SUCCEEDED"), "{line}: {table}");
        Ok(table)
    }

    fn fails(&self, line: &str, why: &str) -> Result<()> {
        let output = self.types(line)?;
        let error = String::from_utf8(output.stderr)?;
        assert_eq!(output.status.code(), Some(1), "{line}: {error}");
        ensure!(error.contains(why), "{line}: {error}");
        Ok(())
    }

    fn last_payment(&self) -> Result<Value> {
        let list = self.json("listpayments --max_payments 1")?;
        Ok(list["payments"][0].clone())
    }
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str> {
    let member = value[name].as_str();
    member.with_context(|| format!("no {name} in {value}"))
}

pub(crate) fn trials() -> trials::Trials {
    trials![
        lncli_commands_from_lnd_documentation_pay_ampd,
        lncli_and_ampcli_decode_amp_invoices_identically,
        lncli_and_ampcli_decode_unusual_invoices_identically,
    ]
}

async fn lncli_commands_from_lnd_documentation_pay_ampd() -> Result<()> {
    let network = alice_and_lena().await?;
    let [alice, lena] = shells(&network);
    let invoice = alice.json("addinvoice --amt 1000 --memo=tips --amp")?;
    pays_an_amp_invoice(&lena, &alice, &invoice)?;
    pays_to_a_chosen_payment_address(&lena, &alice, &invoice)?;
    pays_an_invoice_without_amount(&lena, &alice)?;
    pays_a_public_key(&lena, &alice)?;
    pays_with_keysend(&lena, &alice)?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// An ampd and an lnd, which already knows the route to ampd.
async fn alice_and_lena() -> Result<Network> {
    let network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    for (payer, payee) in [("alice", "lena"), ("lena", "alice")] {
        Scene::new(&network, payer, &[payee])
            .known_route(1_000)
            .await?;
    }
    Ok(network)
}

fn shells(network: &Network) -> [Shell<'_>; 2] {
    ["alice", "lena"].map(|name| Shell { network, name })
}

/// Repeatedly, but always with the flag, which ampcli does not require.
fn pays_an_amp_invoice(lena: &Shell<'_>, alice: &Shell<'_>, invoice: &Value) -> Result<()> {
    let (request, hash) = (text(invoice, "payment_request")?, text(invoice, "r_hash")?);
    lena.fails(
        &format!("payinvoice -f {request}"),
        "the AMP flag (--amp or SendPaymentRequest.Amp) must be set to pay an AMP invoice",
    )?;
    for _ in 0..2 {
        lena.pays(&format!("payinvoice --amp -f {request}"))?;
    }
    let paid = alice.json(&format!("lookupinvoice {hash}"))?;
    assert_eq!(paid["amt_paid_sat"], "2000");
    let sets = paid["amp_invoice_state"].as_object().context("no sets")?;
    assert_eq!(sets.len(), 2);
    assert!(sets.contains_key(text(&lena.last_payment()?, "payment_hash")?));
    Ok(())
}

fn pays_to_a_chosen_payment_address(
    lena: &Shell<'_>,
    alice: &Shell<'_>,
    invoice: &Value,
) -> Result<()> {
    let (request, hash) = (text(invoice, "payment_request")?, text(invoice, "r_hash")?);
    let address = "5a".repeat(32);
    lena.pays(&format!(
        "sendpayment --amp --pay_addr {address} -f --pay_req {request}"
    ))?;
    let own = alice.json(&format!("lookupinvoice --payment_addr {address}"))?;
    assert_eq!(own["amt_paid_sat"], "1000");
    let before = alice.json(&format!("lookupinvoice {hash}"))?;
    assert_eq!(before["amt_paid_sat"], "2000", "as before");
    Ok(())
}

fn pays_an_invoice_without_amount(lena: &Shell<'_>, alice: &Shell<'_>) -> Result<()> {
    let invoice = alice.json("addinvoice --amp")?;
    let request = text(&invoice, "payment_request")?;
    lena.fails(
        &format!("payinvoice --amp -f {request}"),
        "amount must be specified when paying a zero amount invoice",
    )?;
    lena.pays(&format!("payinvoice --amp --amt 700 -f {request}"))?;
    let hash = text(&invoice, "r_hash")?;
    let paid = alice.json(&format!("lookupinvoice {hash}"))?;
    assert_eq!(paid["amt_paid_sat"], "700");
    Ok(())
}

fn pays_a_public_key(lena: &Shell<'_>, alice: &Shell<'_>) -> Result<()> {
    let key = alice.network[alice.name].key();
    lena.pays(&format!("sendpayment --dest {key} --amt 1000 --amp -f"))?;
    let paid = lena.last_payment()?;
    let set_id = text(&paid, "payment_hash")?;
    let hop = &paid["htlcs"][0]["route"]["hops"][0];
    assert_eq!(hop["amp_record"]["set_id"], set_id);
    assert_eq!(hop["mpp_record"]["total_amt_msat"], "1000000");
    let table = lena.text(&format!("trackpayment {set_id}"))?;
    ensure!(table.contains("SUCCEEDED"), "{table}");
    let tracked = lena.json(&format!("trackpayment --json {set_id}"))?;
    assert_eq!(tracked["htlcs"], paid["htlcs"]);
    let received = alice.json("listinvoices --max_invoices 1")?;
    let invoice = &received["invoices"][0];
    assert_eq!(invoice["amp_invoice_state"][set_id]["state"], "SETTLED");
    Ok(())
}

fn pays_with_keysend(lena: &Shell<'_>, alice: &Shell<'_>) -> Result<()> {
    let key = alice.network[alice.name].key();
    lena.pays(&format!("sendpayment --dest {key} --amt 10 --keysend -f"))?;
    let paid = lena.last_payment()?;
    let hop = &paid["htlcs"][0]["route"]["hops"][0];
    assert_eq!(
        hop["custom_records"]["5482373484"],
        paid["payment_preimage"]
    );
    let hash = text(&paid, "payment_hash")?;
    let received = alice.json(&format!("lookupinvoice {hash}"))?;
    assert_eq!(received["is_keysend"], true);
    assert_eq!(received["amt_paid_sat"], "10");
    Ok(())
}

async fn lncli_and_ampcli_decode_amp_invoices_identically() -> Result<()> {
    let network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    let [alice, lena] = shells(&network);
    for payee in [&alice, &lena] {
        let invoice = payee.json("addinvoice --amt 1000 --memo=tips --amp")?;
        let request = text(&invoice, "payment_request")?;
        let line = format!("decodepayreq {request}");
        let read = lena.json(&line)?;
        assert_eq!(read, alice.json(&line)?);
        assert_eq!(read["destination"], network[payee.name].key());
        assert_eq!(read["payment_hash"], invoice["r_hash"]);
        assert_eq!(read["payment_addr"], invoice["payment_addr"]);
        assert_eq!(read["num_satoshis"], "1000");
        assert_eq!(read["description"], "tips");
        has_the_features_of_amp(&read)?;
    }
    network.finish();
    Ok(())
}

/// Numbers in more quintets than needed, padding, an explicit key: both decode to the signing key. Also
/// invoices that both reject, and ones that lnd accepts although BOLT 11 calls them invalid.
async fn lncli_and_ampcli_decode_unusual_invoices_identically() -> Result<()> {
    let network = row(&[("alice", Ampd), ("lena", Lnd)]).await?;
    let [alice, lena] = shells(&network);
    let secret = SecretKey::from_slice(&[5; 32])?;
    let key = secret.public_key(&Secp256k1::new());
    let written = || WrittenInvoice::new("lnbcrt10u").with('9', &number(1 << 14 | 1 << 8, 3));
    let readable = [
        written().with('x', &number(60, 8)),
        written().with('c', &number(80, 4)),
        written().with('x', &number(0, 1)),
        written()
            .with('n', &bytes(&key.serialize()))
            .with('c', &number(80, 12)),
    ];
    for invoice in readable {
        let line = format!("decodepayreq {}", invoice.signed(&secret));
        let read = lena.json(&line)?;
        assert_eq!(read["destination"], key.to_string(), "{invoice:?}");
        // Without `c` lnd assumes 24 blocks, BOLT 11 requires 18.
        let ours = alice.json(&line)?;
        for member in ["destination", "expiry", "payment_hash", "num_msat"] {
            assert_eq!(ours[member], read[member], "{invoice:?}");
        }
    }
    let wrong = [
        (
            written().with('r', &[]),
            "route hint field contains no hop data",
        ),
        (
            written().with('h', &bytes(&[4; 32])),
            "both description and description hash set",
        ),
    ];
    for (invoice, why) in wrong {
        let line = format!("decodepayreq {}", invoice.signed(&secret));
        lena.fails(&line, why)?;
        alice.fails(&line, why)?;
    }
    let only_lnds = [
        WrittenInvoice::new("lnbcrt010u"),
        WrittenInvoice::new("lnbcrt10u").with('9', &number(1 << 14 | 1 << 8, 4)),
    ];
    for invoice in only_lnds {
        let line = format!("decodepayreq {}", invoice.signed(&secret));
        assert_eq!(lena.json(&line)?["destination"], key.to_string());
        alice.fails(&line, "which BOLT 11 forbids")?;
    }
    network.finish();
    Ok(())
}

fn has_the_features_of_amp(read: &Value) -> Result<()> {
    let features = read["features"].as_object().context("no features")?;
    let bits: BTreeSet<_> = features.keys().map(String::as_str).collect();
    assert_eq!(bits, BTreeSet::from(["8", "14", "30"]));
    let amp = &features["30"];
    assert_eq!(amp["name"], "amp");
    assert_eq!(amp["is_required"], true);
    assert_eq!(amp["is_known"], true);
    Ok(())
}
