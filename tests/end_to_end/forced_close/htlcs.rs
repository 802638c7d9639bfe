//! HTLCs held by their receiver.

use anyhow::{Result, ensure};
use bitcoin::hashes::{Hash, sha256};
use lnd_api::proto::invoicesrpc::{AddHoldInvoiceRequest, SettleInvoiceMsg};
use lnd_api::proto::lnrpc::PaymentHash;
use lnd_api::proto::lnrpc::invoice::InvoiceState;
use regtest::api::bolt11;
use regtest::manual_amp::random;
use regtest::network::Network;
use regtest::wait::wait_for;

use super::LIMIT;

/// A payment held by its receiver.
pub(super) struct Held {
    receiver: String,
    preimage: [u8; 32],
}

impl Held {
    /// Pays and waits until the receiver holds the payment.
    pub(super) async fn start(
        network: &Network,
        payer: &str,
        receiver: &str,
        sat: i64,
    ) -> Result<Self> {
        let preimage = random();
        let hash = sha256::Hash::hash(&preimage).to_byte_array().to_vec();
        let api = network[receiver].api()?;
        let request = AddHoldInvoiceRequest {
            hash: hash.clone(),
            value: sat,
            ..Default::default()
        };
        let added = api.invoices.clone().add_hold_invoice(request).await?;
        let payment = bolt11(&added.into_inner().payment_request);
        let payer = network[payer].api()?;
        tokio::spawn(async move { payer.pay(payment).await });
        let what = format!("{receiver} to hold {sat} sat");
        wait_for(&what, LIMIT, async || {
            let asked = PaymentHash {
                r_hash: hash.clone(),
                ..Default::default()
            };
            let invoice = api.lightning.clone().lookup_invoice(asked).await?;
            let state = invoice.into_inner().state();
            ensure!(state == InvoiceState::Accepted, "the state is {state:?}");
            Ok(())
        })
        .await?;
        Ok(Self {
            receiver: receiver.to_owned(),
            preimage,
        })
    }

    /// Gives the receiver the preimage.
    pub(super) async fn settle(&self, network: &Network) -> Result<()> {
        let request = SettleInvoiceMsg {
            preimage: self.preimage.to_vec(),
        };
        let mut invoices = network[&*self.receiver].api()?.invoices;
        invoices.settle_invoice(request).await?;
        Ok(())
    }
}
