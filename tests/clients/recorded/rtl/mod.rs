//! Ride The Lightning (`server/controllers/lnd`).

mod channels;
mod dashboard;
mod graph;
mod invoices;
mod lists;
mod payments;
mod wallet;

use anyhow::Result;
use regtest::rest::{Answer, Rest};
use regtest::trials;
use serde_json::Value;

use super::{both, finish};
use crate::Pair;

pub(crate) fn trials() -> trials::Trials {
    trials![
        rtl_displays_receives_and_pays,
        rtl_manages_channels,
        rtl_manages_the_on_chain_wallet,
    ]
}

async fn rtl_displays_receives_and_pays() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, payee] = both(&pair.network)?;
    dashboard::shows(&payer).await?;
    let invoice = invoices::makes(&payee).await?;
    payments::pays(&payer, &invoice).await?;
    payments::pays_by_amp(&payer, &payee).await?;
    invoices::follows(&payee, &payer).await?;
    invoices::reads_a_message(&payee, &payer, pair.network["bob"].key()).await?;
    lists::shows(&payer).await?;
    lists::unpaid(&payee).await?;
    graph::shows(&payer, pair.network["bob"].key()).await?;
    finish(pair).await
}

async fn rtl_manages_channels() -> Result<()> {
    let pair = Pair::start().await?;
    let [node, _] = both(&pair.network)?;
    channels::connects(&node, &pair.network).await?;
    channels::sets_the_terms(&node).await?;
    let point = channels::opens(&node, &pair.network).await?;
    channels::closes(&node, &pair.network, &point).await?;
    finish(pair).await
}

async fn rtl_manages_the_on_chain_wallet() -> Result<()> {
    let pair = Pair::start().await?;
    let [node, other] = both(&pair.network)?;
    wallet::finds_it_unlocked(&node).await?;
    wallet::leases_a_coin(&node).await?;
    let txid = wallet::sends(&node, &other).await?;
    wallet::labels(&node, &txid).await?;
    wallet::pays_a_higher_fee(&node, &pair.network, &txid).await?;
    finish(pair).await
}

/// RTL sends JSON with the content type of a form.
async fn post(node: &Rest, path: &str, body: &Value) -> Result<Answer> {
    let form = "application/x-www-form-urlencoded";
    node.send("POST", path, &body.to_string(), form).await
}
