//! Operations on single invoices: lookup by each identifier, subscription, cancellation, deletion;
//! and hold invoices.

use std::time::Duration;

use anyhow::{Context, Result};
use bitcoin::hashes::{Hash, sha256};
use bitcoin::hex::DisplayHex;
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::invoicesrpc::{
    AddHoldInvoiceRequest, CancelInvoiceMsg, LookupInvoiceMsg, LookupModifier, SettleInvoiceMsg,
    SubscribeSingleInvoiceRequest,
};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::lnrpc::{
    AddInvoiceResponse, DelCanceledInvoiceReq, Invoice, InvoiceSubscription, Payment,
    PaymentFailureReason, PaymentHash,
};
use regtest::api::{Api, amp_to, bolt11, bytes};
use regtest::network::{ChannelPlan, Network};
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use crate::ampcli::Cli;
use crate::{SETTLE_LIMIT, binaries};

const FIRST_MSAT: u64 = 1_000_000;
const SECOND_MSAT: u64 = 2_000_001;
const LIMIT: Duration = Duration::from_secs(60);

async fn two_nodes() -> Result<Network> {
    let network = Network::with_nodes(binaries(), &["alice", "bob"]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000);
    network.open(&[plan]).await?;
    Ok(network)
}

#[tokio::test]
async fn amp_invoice_can_be_subscribed_looked_up_canceled_and_deleted() -> Result<()> {
    let network = two_nodes().await?;
    let bob = network["bob"].api()?;
    let amp = Invoice {
        is_amp: true,
        memo: "a jar".to_owned(),
        ..Default::default()
    };
    let added = bob.lightning.clone().add_invoice(amp).await?.into_inner();
    let mut changes = follow(&bob, &added.r_hash).await?;
    let open = next(&mut changes).await?;
    assert_eq!(open.state(), InvoiceState::Open);
    assert_eq!((&open.r_hash, open.memo.as_str()), (&added.r_hash, "a jar"));

    let first = pay(&network, &added, FIRST_MSAT).await?;
    is_one_set(&next(&mut changes).await?, &first, FIRST_MSAT)?;
    let second = pay(&network, &added, SECOND_MSAT).await?;
    is_one_set(
        &next(&mut changes).await?,
        &second,
        FIRST_MSAT + SECOND_MSAT,
    )?;

    late_subscriber_gets_only_the_second_settlement(&bob, &second).await?;
    every_identifier_finds_it(&bob, &added, &first, &second).await?;
    ampcli_finds_it(&network, &added, &second)?;
    cancel_and_delete(&network, &added, &mut changes).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    network.check_balances().await?;
    network.finish();
    Ok(())
}

async fn follow(api: &Api, r_hash: &[u8]) -> Result<Streaming<Invoice>> {
    let request = SubscribeSingleInvoiceRequest {
        r_hash: r_hash.to_vec(),
    };
    let mut invoices = api.invoices.clone();
    let changes = invoices.subscribe_single_invoice(request).await?;
    Ok(changes.into_inner())
}

async fn next(updates: &mut Streaming<Invoice>) -> Result<Invoice> {
    let update = timeout(LIMIT, updates.message()).await;
    update
        .context("timed out waiting for an update")??
        .context("the stream has ended")
}

async fn ended(updates: &mut Streaming<Invoice>) -> Result<bool> {
    let end = timeout(LIMIT, updates.message()).await;
    Ok(end.context("the stream did not end")??.is_none())
}

/// Alice pays `msat` to Bob's AMP invoice. Returns the set id.
async fn pay(network: &Network, invoice: &AddInvoiceResponse, msat: u64) -> Result<Vec<u8>> {
    let mut request = amp_to(network["bob"].key(), msat)?;
    request.payment_addr = invoice.payment_addr.clone();
    let payment = network.pay("alice", &request).await?;
    bytes(&payment.payment_hash)
}

fn is_one_set(invoice: &Invoice, set_id: &[u8], paid_msat: u64) -> Result<()> {
    let sets: Vec<_> = invoice.amp_invoice_state.keys().collect();
    assert_eq!(sets, [&set_id.to_lower_hex_string()]);
    for htlc in &invoice.htlcs {
        let amp = htlc.amp.as_ref().context("no AMP record")?;
        assert_eq!(amp.set_id, set_id);
        assert_eq!(
            sha256::Hash::hash(&amp.preimage).as_byte_array()[..],
            amp.hash
        );
    }
    assert!(!invoice.htlcs.is_empty());
    assert_eq!(invoice.amt_paid_msat, i64::try_from(paid_msat)?);
    assert_eq!(invoice.state(), InvoiceState::Settled);
    Ok(())
}

async fn late_subscriber_gets_only_the_second_settlement(bob: &Api, second: &[u8]) -> Result<()> {
    let since = InvoiceSubscription {
        settle_index: 1,
        ..Default::default()
    };
    let missed = bob.lightning.clone().subscribe_invoices(since).await?;
    let missed = next(&mut missed.into_inner()).await?;
    is_one_set(&missed, second, FIRST_MSAT + SECOND_MSAT)
}

async fn look_up(api: &Api, name: InvoiceRef, modifier: LookupModifier) -> Result<Invoice, Status> {
    let request = LookupInvoiceMsg {
        invoice_ref: Some(name),
        lookup_modifier: modifier.into(),
    };
    let found = api.invoices.clone().lookup_invoice_v2(request).await?;
    Ok(found.into_inner())
}

async fn every_identifier_finds_it(
    bob: &Api,
    added: &AddInvoiceResponse,
    first: &[u8],
    second: &[u8],
) -> Result<()> {
    let by_addr = InvoiceRef::PaymentAddr(added.payment_addr.clone());
    let whole = look_up(bob, by_addr.clone(), LookupModifier::Default).await?;
    assert_eq!(whole.amp_invoice_state.len(), 2);
    assert_eq!(whole.payment_request, added.payment_request);
    for name in [
        InvoiceRef::PaymentHash(added.r_hash.clone()),
        InvoiceRef::SetId(first.to_vec()),
        InvoiceRef::SetId(second.to_vec()),
    ] {
        assert_eq!(look_up(bob, name, LookupModifier::Default).await?, whole);
    }
    for set_id in [first, second] {
        let name = InvoiceRef::SetId(set_id.to_vec());
        let only = look_up(bob, name, LookupModifier::HtlcSetOnly).await?;
        is_one_set(&only, set_id, FIRST_MSAT + SECOND_MSAT)?;
    }
    let blank = look_up(bob, by_addr, LookupModifier::HtlcSetBlank).await?;
    assert_eq!(blank.amp_invoice_state, whole.amp_invoice_state);
    assert!(blank.htlcs.is_empty());
    let by_hash = PaymentHash {
        r_hash: added.r_hash.clone(),
        ..Default::default()
    };
    let plain = bob.lightning.clone().lookup_invoice(by_hash).await?;
    assert_eq!(plain.into_inner(), whole);
    Ok(())
}

fn ampcli_finds_it(network: &Network, added: &AddInvoiceResponse, second: &[u8]) -> Result<()> {
    let bob = Cli {
        network,
        node: &network["bob"],
    };
    let addr = added.payment_addr.to_lower_hex_string();
    let set_id = second.to_lower_hex_string();
    let blank = bob.json(&["lookupinvoice", "--payment_addr", &addr, "--blank"])?;
    assert_eq!(blank["htlcs"], serde_json::json!([]));
    assert_eq!(
        blank["amt_paid_msat"],
        (FIRST_MSAT + SECOND_MSAT).to_string()
    );
    let only = bob.json(&["lookupinvoice", "--set_id", &set_id, "--set_only"])?;
    let sets = only["amp_invoice_state"].as_object().context("no sets")?;
    assert_eq!(sets.keys().collect::<Vec<_>>(), [&set_id]);
    bob.refused(&["subscribeinvoice", &set_id], "unable to locate invoice")
}

async fn cancel_and_delete(
    network: &Network,
    added: &AddInvoiceResponse,
    changes: &mut Streaming<Invoice>,
) -> Result<()> {
    let bob = network["bob"].api()?;
    let unpaid = bob.invoice(FIRST_MSAT).await?;
    let hash = unpaid.r_hash.to_lower_hex_string();
    let delete = |hash: &str| {
        let request = DelCanceledInvoiceReq {
            invoice_hash: hash.to_owned(),
        };
        let mut lightning = bob.lightning.clone();
        async move { lightning.delete_canceled_invoice(request).await }
    };
    assert_refused(delete(&hash).await, "invoice not canceled");
    for r_hash in [&added.r_hash, &unpaid.r_hash] {
        // Canceling again is not an error, as in lnd.
        cancel(&bob, r_hash).await?;
        cancel(&bob, r_hash).await?;
    }
    let canceled = next(changes).await?;
    assert_eq!(canceled.state(), InvoiceState::Canceled);
    let paid_msat = i64::try_from(FIRST_MSAT + SECOND_MSAT)?;
    assert_eq!(canceled.amt_paid_msat, paid_msat);
    assert!(
        ended(changes).await?,
        "the stream ends after the cancellation"
    );
    let mut late = follow(&bob, &unpaid.r_hash).await?;
    assert_eq!(next(&mut late).await?.state(), InvoiceState::Canceled);
    assert!(ended(&mut late).await?);
    let mut request = amp_to(network["bob"].key(), FIRST_MSAT)?;
    request.payment_addr = added.payment_addr.clone();
    assert_failed(&network.pay_routed("alice", &request).await?);

    let forgotten = delete(&hash).await?.into_inner().status;
    let expected = format!("canceled invoice deleted successfully: invoice hash {hash}");
    assert_eq!(forgotten, expected);
    let name = InvoiceRef::PaymentHash(unpaid.r_hash.clone());
    let gone = look_up(&bob, name, LookupModifier::Default).await;
    assert_eq!(gone.unwrap_err().code(), Code::NotFound);
    Ok(())
}

async fn cancel(api: &Api, payment_hash: &[u8]) -> Result<(), Status> {
    let request = CancelInvoiceMsg {
        payment_hash: payment_hash.to_vec(),
    };
    api.invoices.clone().cancel_invoice(request).await?;
    Ok(())
}

fn assert_failed(payment: &Payment) {
    assert_eq!(payment.status(), PaymentStatus::Failed);
    let reason = PaymentFailureReason::FailureReasonIncorrectPaymentDetails;
    assert_eq!(payment.failure_reason(), reason);
}

fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Status>, why: &str) {
    let status = answer.unwrap_err();
    // lnd uses no specific code for invalid state changes of invoices.
    assert_eq!((status.code(), status.message()), (Code::Unknown, why));
}

#[tokio::test]
async fn hold_invoices_are_settled_or_canceled_by_their_creator() -> Result<()> {
    let network = two_nodes().await?;
    let before = network["bob"].api()?.local_msat().await?;
    hold_and_settle(&network).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    let after = network["bob"].api()?.local_msat().await?;
    assert_eq!(after, before + FIRST_MSAT);
    hold_and_cancel(&network).await?;
    network.wait_settled(SETTLE_LIMIT).await?;
    assert_eq!(network["bob"].api()?.local_msat().await?, after);
    network.check_balances().await?;
    network.finish();
    Ok(())
}

/// Subscribes to a hold invoice before it exists, as lnd allows.
async fn held(
    network: &Network,
    preimage: [u8; 32],
) -> Result<(
    Vec<u8>,
    Streaming<Invoice>,
    tokio::task::JoinHandle<Result<Payment, Status>>,
)> {
    let bob = network["bob"].api()?;
    let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
    let mut changes = follow(&bob, &hash).await?;
    let request = AddHoldInvoiceRequest {
        hash: hash.clone(),
        value_msat: i64::try_from(FIRST_MSAT)?,
        ..Default::default()
    };
    let added = bob
        .invoices
        .clone()
        .add_hold_invoice(request.clone())
        .await?;
    let again = bob.invoices.clone().add_hold_invoice(request).await;
    assert_refused(again, "invoice with payment hash already exists");
    let open = next(&mut changes).await?;
    assert_eq!((open.state(), &open.r_hash), (InvoiceState::Open, &hash));
    assert!(open.r_preimage.is_empty());
    assert_refused(settle(&bob, preimage).await, "invoice still open");

    let (alice, text) = (network["alice"].api()?, added.into_inner().payment_request);
    let paying = tokio::spawn(async move { alice.pay(bolt11(&text)).await });
    let accepted = next(&mut changes).await?;
    assert_eq!(accepted.state(), InvoiceState::Accepted);
    assert_eq!(accepted.htlcs.len(), 1);
    assert!(accepted.r_preimage.is_empty());
    assert!(!paying.is_finished());
    Ok((hash, changes, paying))
}

async fn settle(api: &Api, preimage: [u8; 32]) -> Result<(), Status> {
    let request = SettleInvoiceMsg {
        preimage: preimage.to_vec(),
    };
    api.invoices.clone().settle_invoice(request).await?;
    Ok(())
}

async fn hold_and_settle(network: &Network) -> Result<()> {
    let bob = network["bob"].api()?;
    let preimage = [0x51; 32];
    let (hash, mut changes, paying) = held(network, preimage).await?;
    assert_refused(settle(&bob, [0x52; 32]).await, "unable to locate invoice");
    settle(&bob, preimage).await?;
    let settled = next(&mut changes).await?;
    assert_eq!(settled.state(), InvoiceState::Settled);
    assert_eq!(settled.r_preimage, preimage);
    assert!(ended(&mut changes).await?);
    let paid = paying.await??;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    assert_eq!(bytes(&paid.payment_preimage)?, preimage);
    // Settling again is not an error, as in lnd; canceling is.
    settle(&bob, preimage).await?;
    assert_refused(cancel(&bob, &hash).await, "invoice already settled");
    Ok(())
}

async fn hold_and_cancel(network: &Network) -> Result<()> {
    let bob = network["bob"].api()?;
    let preimage = [0x53; 32];
    let (hash, mut changes, paying) = held(network, preimage).await?;
    cancel(&bob, &hash).await?;
    assert_eq!(next(&mut changes).await?.state(), InvoiceState::Canceled);
    assert!(ended(&mut changes).await?);
    assert_failed(&paying.await??);
    assert_refused(settle(&bob, preimage).await, "invoice already canceled");
    Ok(())
}
