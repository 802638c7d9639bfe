//! BTCPay Server's `type=lnd-rest` (BTCPayServer.Lightning, `LndClient`).

mod channels;
mod invoices;
mod payments;
mod shop;

use anyhow::Result;
use regtest::rest::Rest;
use regtest::trials;

use super::{both, finish};
use crate::Pair;

pub(crate) fn trials() -> trials::Trials {
    trials![btcpay_connects_sells_and_pays, btcpay_opens_channels]
}

async fn btcpay_connects_sells_and_pays() -> Result<()> {
    let pair = Pair::start().await?;
    let [payer, shop] = both(&pair.network)?;
    shop::is_unauthorized(&Rest::of(&pair.network["bob"], "invoice.macaroon")?).await?;
    shop::connects(&shop).await?;
    invoices::sells(&shop, &payer).await?;
    invoices::cancels(&shop, &payer).await?;
    payments::pays_what_names_no_amount(&shop, &payer).await?;
    payments::pays_a_key(&payer, pair.network["bob"].key()).await?;
    payments::is_refused(&shop, &payer).await?;
    payments::waits_for_a_hold_invoice(&shop, &payer).await?;
    payments::lists(&shop, &payer).await?;
    finish(pair).await
}

async fn btcpay_opens_channels() -> Result<()> {
    let mut pair = Pair::start().await?;
    let [opener, _] = both(&pair.network)?;
    channels::connects(&opener, &pair.network).await?;
    channels::cannot_pay_for_it(&opener, &pair.network).await?;
    channels::opens(&opener, &pair.network).await?;
    channels::waits_for_the_chain(&opener, &mut pair.network).await?;
    finish(pair).await
}
