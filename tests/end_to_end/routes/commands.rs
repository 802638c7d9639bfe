//! Routing commands of ampcli, compared with lncli.

use std::path::Path;

use anyhow::{Context, Result};
use regtest::network::Network;
use serde_json::Value;

use crate::ampcli::Cli;

fn alice(network: &Network) -> Cli<'_> {
    Cli {
        network,
        node: &network["alice"],
    }
}

fn text<'a>(value: &'a Value, pointer: &str) -> Result<&'a str> {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.with_context(|| format!("no string {pointer} in {value}"))
}

/// The names of all members in the order in which they are printed.
fn names(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = format!("{at}/{name}");
                found.push(name.clone());
                names(value, &name, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, at, found)),
        _ => {}
    }
}

fn looks_as(ours: &Value, file: &str) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lnd-api/tests/data/lnd-output");
    let lnd: Value = serde_json::from_str(&std::fs::read_to_string(path.join(file))?)?;
    let (mut our_names, mut lnd_names) = (Vec::new(), Vec::new());
    names(ours, "", &mut our_names);
    names(&lnd, "", &mut lnd_names);
    assert_eq!(our_names, lnd_names, "{file}");
    Ok(())
}

/// Through Carol to Bob, like the recorded routes with one forwarding node.
pub(super) async fn output_matches_lncli(network: &Network) -> Result<()> {
    let alice = alice(network);
    let (carol, bob) = (network["carol"].key(), network["bob"].key());
    let first = format!("--ignore_pair={}:{bob}", network["alice"].key());
    let found = alice.json(&["queryroutes", bob, "1000", &first])?;
    looks_as(&found, "queryroutes.json")?;
    assert_eq!(found["success_prob"], 1);
    let hop = &found["routes"][0]["hops"][0];
    assert_eq!(hop["chan_capacity"], "1000000");
    assert_eq!(hop["tlv_payload"], true);

    let hops = format!("--hops={carol},{bob}");
    let address = format!("--payment_addr={}", "11".repeat(32));
    let built = alice.json(&["buildroute", "--amt=1000", &hops, &address])?;
    looks_as(&built, "buildroute.json")?;
    let height = network.bitcoind.height().await?;
    assert_eq!(built["route"]["hops"][1]["expiry"], height + 80);

    let estimate = alice.json(&["estimateroutefee", "--dest", bob, "--amt=1000"])?;
    looks_as(&estimate, "estimateroutefee.json")?;
    assert_eq!(
        estimate["routing_fee_msat"], "0",
        "the route is the direct channel"
    );
    Ok(())
}

pub(super) async fn built_route_pays_at_the_estimated_cost(network: &Network) -> Result<()> {
    let alice = alice(network);
    let bob = Cli {
        network,
        node: &network["bob"],
    };
    let channel = first_channel(&alice, network["dave"].key())?;
    let only = format!("--outgoing_chan_id={channel}");
    let invoice = bob.json(&["addinvoice", "--amt=70000"])?;
    let request = text(&invoice, "/payment_request")?;
    let before = alice.json(&["listpayments", "--include_incomplete"])?;
    let probed = alice.json(&["estimateroutefee", "--pay_req", request, &only])?;
    let graph = [
        "estimateroutefee",
        "--dest",
        network["bob"].key(),
        "--amt=70000",
        &only,
    ];
    assert_eq!(alice.json(&graph)?, probed, "both estimates are the same");
    let static_invoice = bob.json(&["addinvoice", "--amp", "--amt=70000"])?;
    let static_request = text(&static_invoice, "/payment_request")?;
    let amp = ["estimateroutefee", "--pay_req", static_request, &only];
    assert_eq!(alice.json(&amp)?, probed, "AMP invoices can be probed");
    let after = alice.json(&["listpayments", "--include_incomplete"])?;
    assert_eq!(before, after, "probes are not listed as payments");

    let hops = format!("--hops={},{}", network["dave"].key(), network["bob"].key());
    let address = format!("--payment_addr={}", text(&invoice, "/payment_addr")?);
    let built = alice.text(&["buildroute", "--amt=70000", &hops, &address])?;
    let hash = text(&invoice, "/r_hash")?;
    let paid = alice.json(&["sendtoroute", "--payment_hash", hash, "--routes", &built])?;
    assert_eq!(paid["status"], "SUCCEEDED");
    assert_eq!(paid["route"]["total_fees_msat"], probed["routing_fee_msat"]);
    let settled = bob.json(&["lookupinvoice", hash])?;
    assert_eq!(settled["state"], "SETTLED");
    alice.refused(
        &["sendtoroute", hash, &built],
        "code = AlreadyExists desc = invoice is already paid",
    )?;

    let pay = ["payinvoice", "-f", "--json", static_request, &only];
    let paid = alice.json(&pay)?;
    assert_eq!(paid["fee_msat"], probed["routing_fee_msat"]);
    let no_amount = bob.json(&["addinvoice", "--amp"])?;
    let no_amount = text(&no_amount, "/payment_request")?;
    alice.refused(
        &["estimateroutefee", "--pay_req", no_amount],
        "payment request amount must be greater than 0",
    )
}

/// The channel id of Alice's first channel with this peer.
fn first_channel(alice: &Cli<'_>, peer: &str) -> Result<String> {
    let list = alice.json(&["listchannels", "--peer", peer])?;
    Ok(text(&list, "/channels/0/scid")?.to_owned())
}

pub(super) fn queried_routes_respect_restrictions(network: &Network) -> Result<()> {
    let alice = alice(network);
    let (us, bob) = (network["alice"].key(), network["bob"].key());
    let (carol, dave) = (network["carol"].key(), network["dave"].key());
    let no_direct = format!("--ignore_pair={us}:{bob}");
    let no_carol = format!("--ignore_pair={carol}:{bob}");
    let query = ["queryroutes", bob, "1000", &no_direct, &no_carol];
    let found = alice.json(&query)?;
    assert_eq!(text(&found, "/routes/0/hops/0/pub_key")?, dave);
    let judged = alice.json(&["queryroutes", bob, "1000", "--use_mc"])?;
    assert!(judged["success_prob"].is_number());

    let query = ["queryroutes", bob, "1000", &no_direct, "--fee_limit=0"];
    alice.refused(&query, "no route within the fee limit of 0 msat")?;
    let query = ["queryroutes", bob, "9000000"];
    alice.refused(&query, "insufficient local balance")?;
    let hops = format!("--hops={carol},{dave}");
    alice.refused(
        &["buildroute", "--amt=1000", &hops],
        "no matching outgoing channel available for node index 1",
    )
}
