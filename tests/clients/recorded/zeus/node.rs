//! Zeus's view of the node.

use anyhow::{Result, ensure};
use regtest::rest::{Rest, has};

use super::get;

pub(super) async fn shows(node: &Rest) -> Result<()> {
    let info = get(node, "/v1/getinfo").await?;
    let members = [
        "identity_pubkey",
        "alias",
        "color",
        "chains[].network",
        "uris[]",
        "version",
        "block_height",
        "synced_to_chain",
        "synced_to_graph",
        "testnet",
        "features",
    ];
    has(&info, &members)?;
    let chain = get(node, "/v1/balance/blockchain?account=default").await?;
    let members = [
        "total_balance",
        "confirmed_balance",
        "unconfirmed_balance",
        "account_balance.default.confirmed_balance",
        "account_balance.default.unconfirmed_balance",
    ];
    has(&chain, &members)?;
    let channels = get(node, "/v1/balance/channels").await?;
    has(&channels, &["balance", "pending_open_balance"])?;
    channel_lists(node).await
}

async fn channel_lists(node: &Rest) -> Result<()> {
    let members = [
        "channels[].chan_id",
        "channels[].channel_point",
        "channels[].remote_pubkey",
        "channels[].active",
        "channels[].private",
        "channels[].initiator",
        "channels[].capacity",
        "channels[].local_balance",
        "channels[].remote_balance",
        "channels[].unsettled_balance",
        "channels[].total_satoshis_sent",
        "channels[].total_satoshis_received",
        "channels[].num_updates",
        "channels[].csv_delay",
        "channels[].commitment_type",
        "channels[].local_chan_reserve_sat",
        "channels[].remote_chan_reserve_sat",
        "channels[].alias_scids[]",
        "channels[].peer_scid_alias",
        "channels[].pending_htlcs[]",
    ];
    has(&get(node, "/v1/channels").await?, &members)?;
    let pending = get(node, "/v1/channels/pending").await?;
    let members = [
        "total_limbo_balance",
        "pending_open_channels[]",
        "pending_closing_channels[]",
        "pending_force_closing_channels[]",
        "waiting_close_channels[]",
    ];
    has(&pending, &members)?;
    has(&get(node, "/v1/channels/closed").await?, &["channels[]"])?;
    let members = [
        "channel_fees[].channel_point",
        "channel_fees[].base_fee_msat",
        "channel_fees[].fee_rate",
        "day_fee_sum",
        "week_fee_sum",
        "month_fee_sum",
    ];
    has(&get(node, "/v1/fees").await?, &members)
}

/// The lists of its activity view.
pub(super) async fn shows_what_happened(payer: &Rest, payee: &Rest) -> Result<()> {
    let transactions = "/v1/transactions?end_height=-1&max_transactions=500";
    let transactions = get(payer, transactions).await?;
    ensure!(
        transactions["transactions"][0].is_object(),
        "{transactions:#}"
    );
    let members = [
        "transactions[].amount",
        "transactions[].tx_hash",
        "transactions[].dest_addresses[]",
        "transactions[].num_confirmations",
        "transactions[].time_stamp",
        "transactions[].total_fees",
        "transactions[].output_details[].amount",
        "transactions[].output_details[].address",
    ];
    has(&transactions, &members)?;
    let invoices = get(payee, "/v1/invoices?reversed=true&num_max_invoices=500").await?;
    ensure!(invoices["invoices"][0].is_object(), "{invoices:#}");
    let members = [
        "invoices[].r_hash",
        "invoices[].r_preimage",
        "invoices[].payment_request",
        "invoices[].memo",
        "invoices[].value",
        "invoices[].amt_paid_sat",
        "invoices[].settled",
        "invoices[].state",
        "invoices[].is_amp",
        "invoices[].is_keysend",
        "invoices[].creation_date",
        "invoices[].settle_date",
        "invoices[].expiry",
        "invoices[].htlcs[].custom_records",
    ];
    has(&invoices, &members)?;
    let query = "include_incomplete=true&max_payments=500&reversed=true";
    let payments = get(payer, &format!("/v1/payments?{query}")).await?;
    ensure!(payments["payments"][0].is_object(), "{payments:#}");
    let members = [
        "payments[].payment_hash",
        "payments[].payment_preimage",
        "payments[].payment_request",
        "payments[].value_sat",
        "payments[].fee_sat",
        "payments[].fee_msat",
        "payments[].status",
        "payments[].failure_reason",
        "payments[].creation_date",
        "payments[].htlcs[].status",
        "payments[].htlcs[].route.hops[].pub_key",
        "payments[].htlcs[].route.hops[].custom_records",
    ];
    has(&payments, &members)
}
