//! Invoice events of a payee.

use anyhow::{Context, Result};
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use lnd_api::proto::lnrpc::{Invoice, InvoiceSubscription};
use regtest::api::Api;
use tokio::time::timeout;
use tonic::Streaming;

use crate::SETTLE_LIMIT;

pub(super) struct Events(Streaming<Invoice>);

impl Events {
    /// Subscribes from now on. lnd responds only with its first event, so an invoice is created to cause
    /// one, and another before it, since no event after a known index can be missed.
    pub(super) async fn follow(payee: &Api) -> Result<Self> {
        let known = payee.invoice(1_000).await?;
        let after = InvoiceSubscription {
            add_index: known.add_index,
            settle_index: 0,
        };
        let mut lightning = payee.lightning.clone();
        let following = async { Ok(lightning.subscribe_invoices(after).await?) };
        let (events, first) = tokio::try_join!(following, payee.invoice(2_000))?;
        let mut events = Self(events.into_inner());
        let added = events.open().await?;
        assert_eq!(added.r_hash, first.r_hash);
        Ok(events)
    }

    /// Subscribes to invoices settled after this index.
    pub(super) async fn settled_after(payee: &Api, settle_index: u64) -> Result<Self> {
        let after = InvoiceSubscription {
            add_index: 0,
            settle_index,
        };
        let events = payee.lightning.clone().subscribe_invoices(after).await?;
        Ok(Self(events.into_inner()))
    }

    pub(super) async fn next(&mut self) -> Result<Invoice> {
        next(&mut self.0).await
    }

    /// The next event, which must be an added invoice.
    pub(super) async fn open(&mut self) -> Result<Invoice> {
        let added = self.next().await?;
        assert_eq!(added.state(), InvoiceState::Open);
        assert_eq!((added.amt_paid_msat, added.htlcs.len()), (0, 0));
        Ok(added)
    }

    /// The event for the invoice with this address. Others may precede it: a busy lnd reports invoices
    /// late.
    pub(super) async fn opened(&mut self, payment_addr: &[u8]) -> Result<Invoice> {
        loop {
            let added = self.open().await?;
            if added.payment_addr == payment_addr {
                return Ok(added);
            }
        }
    }

    /// The next event, which must be a settled invoice.
    pub(super) async fn settled(&mut self) -> Result<Invoice> {
        let paid = self.next().await?;
        assert_eq!(paid.state(), InvoiceState::Settled);
        Ok(paid)
    }
}

pub(super) async fn next(events: &mut Streaming<Invoice>) -> Result<Invoice> {
    let event = timeout(SETTLE_LIMIT, events.message()).await;
    event
        .context("timed out waiting for an event")??
        .context("the stream has ended")
}
