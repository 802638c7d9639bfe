//! Static AMP invoices paid by ampd: repeatedly, and to a node with only a private channel.

use anyhow::{Context, Result, ensure};
use bitcoin::hex::FromHex;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{AddInvoiceResponse, Invoice, PaymentHash};
use lnd_api::proto::lnrpc::{InvoiceHtlcState, PayReqString};
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::{Api, bolt11};
use regtest::network::{ChannelPlan, Network};
use regtest::wait::wait_for;
use tonic::Code;

use crate::{SETTLE_LIMIT, binaries};

const CAPACITY_SAT: u64 = 1_000_000;

#[tokio::test]
async fn static_invoices_are_paid_repeatedly_and_through_route_hints() -> Result<()> {
    let network = Network::with_nodes(binaries(), &["alice", "bob", "carol"]).await?;
    let plans = [
        ChannelPlan::new("alice", "bob", CAPACITY_SAT),
        ChannelPlan::new("bob", "carol", CAPACITY_SAT).private(),
    ];
    network.open(&plans).await?;
    concurrent_payments_to_one_invoice_succeed(&network).await?;
    private_node_is_paid_through_its_route_hint(&network).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn concurrent_payments_to_one_invoice_succeed(network: &Network) -> Result<()> {
    let (alice, bob) = (network["alice"].api()?, network["bob"].api()?);
    let before = bob.local_msat().await?;
    let invoice = Invoice {
        is_amp: true,
        memo: "tips".into(),
        ..Default::default()
    };
    let invoice = add(&bob, invoice).await?;
    let open = bolt11(&invoice.payment_request);
    let refusal = alice
        .pay(open)
        .await
        .expect_err("the invoice has no amount");
    let text = "amount must be specified when paying a zero amount invoice";
    assert_eq!((refusal.code(), refusal.message()), (Code::Unknown, text));

    let amounts = [70_000_001, 30_000_000];
    let requests = amounts.map(|msat| request(&invoice, msat));
    let (first, second) = tokio::try_join!(
        network.pay("alice", &requests[0]),
        network.pay("alice", &requests[1]),
    )?;
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(bob.local_msat().await?, before + 100_000_001);

    let found = lookup(&bob, &invoice).await?;
    assert_eq!((found.is_amp, found.amt_paid_msat), (true, 100_000_001));
    assert_eq!(found.state(), InvoiceState::Settled);
    assert_eq!(found.amp_invoice_state.len(), 2);
    for (payment, msat) in [(first, amounts[0]), (second, amounts[1])] {
        // The payment hash field of an AMP payment is its set_id.
        let set = &found.amp_invoice_state[&payment.payment_hash];
        assert_eq!(set.state(), InvoiceHtlcState::Settled);
        assert_eq!((set.amt_paid_msat, payment.value_msat), (msat, msat));
        assert_eq!(payment.payment_request, invoice.payment_request);
    }
    Ok(())
}

async fn private_node_is_paid_through_its_route_hint(network: &Network) -> Result<()> {
    let carol = network["carol"].api()?;
    let (invoice, hints) = with_hint(&carol).await?;
    let public = &network["bob"];
    assert_eq!(hints, [public.key()]);
    let payment = network.pay("alice", &request(&invoice, 25_000_000)).await?;
    assert_eq!(payment.status(), PaymentStatus::Succeeded);
    let route = payment.htlcs[0]
        .route
        .as_ref()
        .context("the attempt has no route")?;
    let hops: Vec<&str> = route.hops.iter().map(|hop| hop.pub_key.as_str()).collect();
    assert_eq!(hops, [public.key(), network["carol"].key()]);
    let set_id = Vec::from_hex(&payment.payment_hash)?;
    let record = route.hops[1].amp_record.as_ref().context("no AMP record")?;
    assert_eq!(record.set_id, set_id);
    assert_eq!(lookup(&carol, &invoice).await?.amt_paid_msat, 25_000_000);
    Ok(())
}

/// Carol adds the hint only once she knows that Bob is public.
async fn with_hint(carol: &Api) -> Result<(AddInvoiceResponse, Vec<String>)> {
    wait_for("an invoice with a route hint", SETTLE_LIMIT, async || {
        let invoice = Invoice {
            is_amp: true,
            private: true,
            ..Default::default()
        };
        let invoice = add(carol, invoice).await?;
        let pay_req = PayReqString {
            pay_req: invoice.payment_request.clone(),
        };
        let read = carol.lightning.clone().decode_pay_req(pay_req).await?;
        let hops = read.into_inner().route_hints.into_iter();
        let hops = hops.flat_map(|hint| hint.hop_hints);
        let nodes: Vec<String> = hops.map(|hop| hop.node_id).collect();
        ensure!(!nodes.is_empty(), "the invoice has no route hint");
        Ok((invoice, nodes))
    })
    .await
}

fn request(invoice: &AddInvoiceResponse, msat: i64) -> SendPaymentRequest {
    SendPaymentRequest {
        amt_msat: msat,
        ..bolt11(&invoice.payment_request)
    }
}

async fn add(api: &Api, invoice: Invoice) -> Result<AddInvoiceResponse> {
    let added = api.lightning.clone().add_invoice(invoice).await?;
    Ok(added.into_inner())
}

async fn lookup(api: &Api, invoice: &AddInvoiceResponse) -> Result<Invoice> {
    let hash = PaymentHash {
        r_hash: invoice.r_hash.clone(),
        ..Default::default()
    };
    let found = api.lightning.clone().lookup_invoice(hash).await?;
    Ok(found.into_inner())
}
