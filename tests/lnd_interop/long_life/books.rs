//! Compares what a payer reports as paid with what the payee reports as received.

use std::collections::BTreeMap;

use anyhow::Result;
use bitcoin::hex::DisplayHex;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{Invoice, InvoiceHtlcState};
use regtest::api::Api;
use regtest::network::Network;

/// Amounts in msat by payment hash or set id.
type Amounts = BTreeMap<String, i64>;

/// Checks that each successful payment is settled in full at the payee, and that nothing else is
/// settled. Returns the total in msat.
pub(super) async fn compare(network: &Network, payer: &str, payee: &str) -> Result<u64> {
    let sent = sent(&network[payer].api()?).await?;
    let received = received(&network[payee].api()?).await?;
    assert_eq!(sent, received, "from {payer} to {payee}");
    Ok(u64::try_from(sent.values().sum::<i64>())?)
}

async fn sent(payer: &Api) -> Result<Amounts> {
    let payments = payer.payments(0).await?.payments.into_iter();
    let succeeded = payments.filter(|payment| payment.status() == PaymentStatus::Succeeded);
    Ok(succeeded
        .map(|payment| (payment.payment_hash, payment.value_msat))
        .collect())
}

async fn received(payee: &Api) -> Result<Amounts> {
    let invoices = payee.invoices(0).await?.invoices;
    Ok(invoices.into_iter().flat_map(settled).collect())
}

fn settled(invoice: Invoice) -> Amounts {
    if invoice.is_amp {
        let sets = invoice.amp_invoice_state.into_iter();
        let settled = sets.filter(|(_, set)| set.state() == InvoiceHtlcState::Settled);
        return settled
            .map(|(set_id, set)| (set_id, set.amt_paid_msat))
            .collect();
    }
    let paid = invoice.state() == InvoiceState::Settled;
    let entry = (invoice.r_hash.to_lower_hex_string(), invoice.amt_paid_msat);
    paid.then_some(entry).into_iter().collect()
}
