//! Manual shards: sending them, waiting until they are held, and checking their results.

use anyhow::{Context, Result, ensure};
use lnd_api::proto::invoicesrpc::LookupInvoiceMsg;
use lnd_api::proto::invoicesrpc::lookup_invoice_msg::InvoiceRef;
use lnd_api::proto::lnrpc::failure::FailureCode;
use lnd_api::proto::lnrpc::htlc_attempt::HtlcStatus;
use lnd_api::proto::lnrpc::{AddInvoiceResponse, HtlcAttempt, Invoice, InvoiceHtlcState};
use lnd_api::proto::routerrpc::SendToRouteRequest;
use regtest::manual_amp::{Set, Shard};
use regtest::wait::wait_for;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::SETTLE_LIMIT;
use crate::scene::Scene;

/// An HTLC in flight.
pub(crate) type Sent = JoinHandle<Result<HtlcAttempt, Status>>;

pub(crate) fn address(invoice: &AddInvoiceResponse) -> Result<[u8; 32]> {
    let address = invoice.payment_addr.as_slice().try_into();
    address.context("the payment address does not have 32 bytes")
}

/// A set for a static invoice with two shards of `msat` each.
pub(crate) fn two_shards(invoice: &AddInvoiceResponse, msat: i64) -> Result<Set> {
    Set::new(address(invoice)?, 2 * msat, &[0, 1])
}

pub(crate) fn settled(attempt: &HtlcAttempt, shard: &Shard) {
    assert_eq!(attempt.status(), HtlcStatus::Succeeded, "{attempt:?}");
    assert_eq!(attempt.preimage, shard.preimage);
}

impl Scene<'_> {
    /// Sends without waiting for the result.
    pub(crate) fn start(&self, request: SendToRouteRequest) -> Result<Sent> {
        let payer = self.payer()?;
        Ok(tokio::spawn(
            async move { payer.send_to_route(request).await },
        ))
    }

    /// Waits until the payee holds this many HTLCs of a set.
    pub(crate) async fn wait_held(&self, set: &Set, htlcs: usize) -> Result<()> {
        wait_for("the payee to hold HTLCs", SETTLE_LIMIT, async || {
            let invoice = self.invoice_of(set).await?;
            let held = count(&invoice, set, InvoiceHtlcState::Accepted);
            ensure!(held == htlcs, "it holds {held} HTLCs");
            Ok(())
        })
        .await
    }

    /// The payee's invoice with the payment address of a set.
    pub(crate) async fn invoice_of(&self, set: &Set) -> Result<Invoice> {
        let by_address = LookupInvoiceMsg {
            invoice_ref: Some(InvoiceRef::PaymentAddr(set.address.to_vec())),
            ..Default::default()
        };
        let found = self.payee()?.invoices.lookup_invoice_v2(by_address).await?;
        Ok(found.into_inner())
    }

    /// Checks that the payee itself failed the HTLC with this code.
    pub(crate) fn failed(&self, attempt: &HtlcAttempt, code: FailureCode) -> Result<()> {
        assert_eq!(attempt.status(), HtlcStatus::Failed, "{attempt:?}");
        let failure = attempt.failure.as_ref().context("no failure")?;
        assert_eq!(failure.code(), code);
        let source = usize::try_from(failure.failure_source_index)?;
        assert_eq!(source, self.hops.len());
        Ok(())
    }

    pub(crate) fn refused(&self, attempt: &HtlcAttempt) -> Result<()> {
        self.failed(attempt, FailureCode::IncorrectOrUnknownPaymentDetails)
    }
}

/// Number of HTLCs of a set in this state.
pub(crate) fn count(invoice: &Invoice, set: &Set, state: InvoiceHtlcState) -> usize {
    let htlcs = invoice.htlcs.iter();
    htlcs
        .filter(|htlc| htlc.state() == state)
        .filter_map(|htlc| htlc.amp.as_ref())
        .filter(|amp| amp.set_id == set.set_id)
        .count()
}

/// Sorts the HTLCs of an invoice, which lnd lists in random order.
pub(crate) fn in_order(mut invoice: Invoice) -> Invoice {
    invoice
        .htlcs
        .sort_by_key(|htlc| (htlc.chan_id, htlc.htlc_index));
    invoice
}
