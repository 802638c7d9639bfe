//! Wallet commands of ampcli, compared with lncli.

use std::path::Path;

use anyhow::{Context, Result};
use regtest::network::Network;
use serde_json::Value;

use super::{external_address, fund};
use crate::ampcli::Cli;
use crate::binaries;

#[tokio::test]
async fn ampcli_supports_the_wallet_commands_of_lncli() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice"]).await?;
    let alice = Cli {
        network: &network,
        node: &network["alice"],
    };
    fund(&network, "alice").await?;
    lists(&alice)?;
    payments(&alice).await?;
    leases(&alice)?;
    psbts(&alice).await?;
    accounts(&alice)?;
    network.finish();
    Ok(())
}

/// The member names of an object in the order in which they are printed.
fn names(value: &Value) -> Vec<&String> {
    value
        .as_object()
        .map(|o| o.keys().collect())
        .unwrap_or_default()
}

fn recorded(file: &str) -> Result<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lnd-api/tests/data/lnd-output");
    Ok(serde_json::from_str(&std::fs::read_to_string(
        path.join(file),
    )?)?)
}

fn text(value: &Value) -> Result<&str> {
    value
        .as_str()
        .with_context(|| format!("{value} is not a string"))
}

fn lists(alice: &Cli<'_>) -> Result<()> {
    let ours = alice.json(&["listchaintxns", "--start_height=1"])?;
    let lnds = recorded("listchaintxns.json")?;
    assert_eq!(names(&ours), names(&lnds));
    let (ours, lnds) = (&ours["transactions"][0], &lnds["transactions"][0]);
    assert_eq!(names(ours), names(lnds));
    for list in ["output_details", "previous_outpoints"] {
        assert_eq!(names(&ours[list][0]), names(&lnds[list][0]));
    }
    let none = alice.json(&["listchaintxns", "--end_height", "1"])?;
    assert_eq!(none["transactions"], Value::Array(vec![]));

    let ours = alice.json(&["listunspent", "1", "6"])?;
    let lnds = recorded("listunspent.json")?;
    assert_eq!(ours["utxos"].as_array().map(Vec::len), Some(3));
    assert_eq!(names(&ours["utxos"][0]), names(&lnds["utxos"][0]));
    assert!(ours["utxos"][0]["amount_sat"].is_number());
    let none = alice.json(&["listunspent", "--unconfirmed_only"])?;
    assert_eq!(none["utxos"], Value::Array(vec![]));
    Ok(())
}

async fn payments(alice: &Cli<'_>) -> Result<()> {
    let to = external_address(alice.network).await?;
    let amounts = format!("{{\"{to}\": 30000}}");
    let estimate = alice.json(&["estimatefee", &amounts, "--conf_target=6"])?;
    assert_eq!(names(&estimate), names(&recorded("estimatefee.json")?));
    assert_eq!(estimate["sat_per_vbyte"], "12");
    let sent = alice.json(&["sendmany", &amounts, "--sat_per_vbyte=2", "--label=rent"])?;
    let txid = text(&sent["txid"])?;
    let output = format!("{txid}:0");
    let bumped = alice.json(&["wallet", "bumpfee", "--sat_per_vbyte", "9", &output])?;
    let bumped = text(&bumped["status"])?
        .rsplit(' ')
        .next()
        .context("no txid")?;
    let found = alice.json(&["wallet", "gettx", bumped])?;
    assert_eq!(found["label"], "rent");
    alice.refused(&["wallet", "labeltx", bumped, "tea"], "already labelled")?;
    let said = alice.text(&["wallet", "labeltx", "--overwrite", bumped, "tea"])?;
    assert_eq!(said, format!("Transaction: {bumped} labelled with: tea\n"));
    let rate = alice.json(&["wallet", "estimatefeerate", "6"])?;
    assert_eq!(
        (&rate["sat_per_kw"], &rate["sat_per_vbyte"]),
        (&3000.into(), &12.into())
    );
    alice.network.mine(1).await
}

fn leases(alice: &Cli<'_>) -> Result<()> {
    let utxos = alice.json(&["listunspent"])?;
    let coin = text(&utxos["utxos"][0]["outpoint"])?;
    let id = "ab".repeat(32);
    let lease = [
        "wallet",
        "leaseoutput",
        "--outpoint",
        coin,
        "--lockid",
        &id,
        "--expiry=60",
    ];
    let leased = alice.json(&lease)?;
    let list = alice.json(&["wallet", "listleases"])?;
    assert_eq!(
        names(&list[0]),
        ["id", "outpoint", "expiration", "pk_script", "value"]
    );
    assert_eq!(
        (text(&list[0]["id"])?, text(&list[0]["outpoint"])?),
        (id.as_str(), coin)
    );
    assert_eq!(
        list[0]["expiration"].to_string(),
        text(&leased["expiration"])?
    );
    alice.refused(
        &["wallet", "releaseoutput", coin],
        "output unlock not alowed",
    )?;
    let released = alice.json(&["wallet", "releaseoutput", coin, "--lockid", &id])?;
    assert_eq!(released["status"], format!("output {coin} released"));
    assert_eq!(alice.json(&["wallet", "listleases"])?, Value::Array(vec![]));
    Ok(())
}

async fn psbts(alice: &Cli<'_>) -> Result<()> {
    let to = external_address(alice.network).await?;
    let amounts = format!("{{\"{to}\": 30000}}");
    let fund = [
        "wallet",
        "psbt",
        "fund",
        "--outputs",
        &amounts,
        "--sat_per_vbyte=3",
    ];
    let funded = alice.json(&fund)?;
    assert_eq!(names(&funded), ["psbt", "change_output_index", "locks"]);
    let coin = text(&funded["locks"][0]["outpoint"])?;
    alice.json(&["wallet", "releaseoutput", coin])?;
    let inputs = format!("[\"{coin}\"]");
    let funded = alice.json(&[&fund[..], &["--inputs", &inputs]].concat())?;
    assert_eq!(funded["locks"][0]["outpoint"], coin);
    let psbt = text(&funded["psbt"])?;
    let signed = alice.json(&["wallet", "psbt", "sign", psbt])?;
    assert_eq!(signed["signed_input_indexes"], Value::Array(vec![0.into()]));
    let psbt = text(&signed["psbt"])?;
    let done = alice.json(&["wallet", "psbt", "finalize", psbt])?;
    let published = alice.json(&["wallet", "publishtx", text(&done["final_tx"])?])?;
    let mempool = alice.network.bitcoind.mempool().await?;
    assert_eq!(mempool, [text(&published["txid"])?]);
    let p2tr = [&fund[..], &["--change_type=p2tr"]].concat();
    alice.refused(&p2tr, "change of type p2tr is not supported")
}

fn accounts(alice: &Cli<'_>) -> Result<()> {
    let list = alice.json(&["wallet", "accounts", "list"])?;
    let account = &list["accounts"][0];
    assert_eq!(account["derivation_path"], "m/84'/1'/0'");
    assert!(
        text(&account["extended_public_key"])?.starts_with("vpub"),
        "{account}"
    );
    assert_eq!(account["external_key_count"], 3);
    let other = ["wallet", "accounts", "list", "--address_type=p2tr"];
    assert_eq!(alice.json(&other)?["accounts"], Value::Array(vec![]));
    let list = alice.json(&["wallet", "addresses", "list"])?;
    let addresses = &list["account_with_addresses"][0]["addresses"];
    assert_eq!(addresses[0]["derivation_path"], "m/84'/1'/0'/0/0");
    let reserve = alice.json(&["wallet", "requiredreserve", "--additional_channels", "2"])?;
    // Two channels at the fee rate used on regtest without an estimate.
    assert_eq!(reserve["required_reserve"], "52188");
    Ok(())
}
