//! Zeus connected to its user's node (`backends/LND.ts`).

mod acceptor;
mod channels;
mod coins;
mod invoices;
mod node;
mod payments;

use anyhow::{Result, ensure};
use regtest::rest::{Answer, Rest};
use regtest::trials;
use serde_json::Value;

use super::{both, finish};
use crate::Pair;

pub(crate) fn trials() -> trials::Trials {
    trials![
        zeus_displays_pays_and_receives,
        zeus_opens_and_closes_channels,
        zeus_accepts_or_rejects_channels,
        zeus_manages_the_on_chain_wallet,
    ]
}

async fn zeus_displays_pays_and_receives() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, payee] = both(&pair.network)?;
    let key = pair.network["bob"].key();
    node::shows(&payer).await?;
    invoices::is_paid_by_amp(&payer, &payee).await?;
    invoices::chooses_preimage_and_hints(&payer, &payee).await?;
    payments::pays_a_key_by_amp(&payer, &payee, key).await?;
    payments::pays_a_key(&payer, &payee, key).await?;
    payments::signs(&payer, &payee).await?;
    node::shows_what_happened(&payer, &payee).await?;
    finish(pair).await
}

async fn zeus_opens_and_closes_channels() -> Result<()> {
    let pair = Pair::start().await?;
    let [node, _] = both(&pair.network)?;
    channels::sets_the_terms(&node).await?;
    channels::shows_the_network(&node, pair.network["bob"].key()).await?;
    let opened = channels::opens(&node, &pair.network).await?;
    channels::closes(&node, &pair.network, &opened).await?;
    let opened = channels::opens_and_follows(&node, &pair.network).await?;
    channels::closes_by_force(&node, &pair.network, &opened).await?;
    finish(pair).await
}

async fn zeus_accepts_or_rejects_channels() -> Result<()> {
    let pair = Pair::start().await?;
    let [opener, decider] = both(&pair.network)?;
    acceptor::hears_messages(&opener, &decider, &pair.network).await?;
    acceptor::decides(&opener, &decider, &pair.network).await?;
    finish(pair).await
}

async fn zeus_manages_the_on_chain_wallet() -> Result<()> {
    let pair = Pair::start().await?;
    let [node, other] = both(&pair.network)?;
    coins::lists(&node).await?;
    let txid = coins::sends(&node, &other).await?;
    coins::pays_a_higher_fee(&node, &pair.network, &txid).await?;
    coins::chooses_its_coins(&node, &other, &pair.network).await?;
    coins::asks_for_what_is_not_there(&node).await?;
    finish(pair).await
}

/// Zeus reads the last non-empty line, or the whole response if it has no line break.
fn last(answer: &Answer) -> Result<Value> {
    ensure!(answer.status < 300, "{answer:?}");
    match answer.text.contains('\n') {
        true => {
            let lines: Vec<_> = answer.text.split('\n').collect();
            Ok(serde_json::from_str(lines[lines.len() - 2])?)
        }
        false => answer.json(),
    }
}

async fn get(node: &Rest, path: &str) -> Result<Value> {
    last(&node.get(path).await?)
}

async fn post(node: &Rest, path: &str, body: &Value) -> Result<Value> {
    last(&node.post(path, body).await?)
}
