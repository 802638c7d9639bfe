//! Fills a database with a history: invoices of all kinds and their payments, written by the
//! storage module in large commits.

use std::collections::BTreeMap;
use std::sync::Arc;

use ampd::model::htlc::{HtlcRecord, HtlcState, SetRecord, ShardRecord};
use ampd::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState, InvoiceTerms};
use ampd::storage::invoices::{PutHtlc, PutInvoice, PutSet};
use ampd::storage::{Change, Store};
use bitcoin::hashes::{Hash, sha256};
use ldk_amp::{PaymentAddr, SetId};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

/// The size of the history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    pub invoices: u64,
    /// A tenth of them pay the static invoice, each as its own payment; the rest pay the other
    /// invoices.
    pub htlcs: u64,
}

impl History {
    /// The number of payments to the static invoice.
    pub(crate) const fn static_payments(self) -> u64 {
        self.htlcs - (self.invoices - 1) * PARTS
    }
}

/// When the invoice with this add index was created, in seconds since 1970.
pub(crate) const fn created_at(add_index: u64) -> u64 {
    START + add_index * STEP
}

/// HTLCs per payment of the other invoices.
const PARTS: u64 = 9;
/// Invoices per commit.
const BATCH: u64 = 1_000;
/// 2026-01-01, and the seconds between two invoices: the history spans about a year.
const START: u64 = 1_767_225_600;
const STEP: u64 = 300;
const CHANNELS: u64 = 10;
/// A payment request from lnd on regtest; it is decoded for each response.
const REQUEST: &str = "lnbcrt9m1p4sxqz7pp5n89pcpk9nsu5nt3zadgtkrxhjayqy98tucs5gtnrskwaxwtzwqmqdq5d4ujqenfwf\
    ehggrpd4cqcqzzsxq9z0rgqsp5a6scv6kf6km7hv9yt76t4g2wa38764lwk9c4yu6acwz6twp2qcds9q8pqq\
    qsgqt6x4pye3kyherdaem06n9tjg2ycct9h0fmdcek8e8892rjrpptujt7tcwwx9cnknasgxg9krqv2uv5h2\
    sywcxnfgu9pcacerhcx54vspuvjg7s";

/// Returns 32 bytes that look random but are the same in every run.
pub(crate) fn bytes(what: &str, n: u64) -> [u8; 32] {
    sha256::Hash::hash(format!("{what} {n}").as_bytes()).to_byte_array()
}

/// The payment hash of the invoice with this add index; a BOLT 11 invoice if it is even.
pub(crate) fn invoice_hash(add_index: u64) -> PaymentHash {
    PaymentHash(bytes("invoice", add_index))
}

/// The payment address of the static invoice.
pub(crate) fn static_addr() -> PaymentAddr {
    PaymentAddr::from_bytes(bytes("addr", STATIC))
}

/// The add index of the static invoice, the first one.
const STATIC: u64 = 1;

/// Writes the history. Payments to the static invoice are spread among the others.
pub(crate) async fn fill(store: &Arc<Store>, history: History) {
    let mut writer = Writer::default();
    let mut batch: Vec<Box<dyn Change>> = vec![Box::new(PutInvoice(invoice(STATIC)))];
    for add_index in 2..=history.invoices {
        writer.paid_invoice(&mut batch, add_index);
        writer.static_payment(&mut batch, add_index);
        if add_index % BATCH == 0 {
            let ticket = store.submit(std::mem::take(&mut batch));
            store.durable(ticket).await;
        }
    }
    for n in writer.static_payments..history.static_payments() {
        writer.static_payment(&mut batch, history.invoices + n);
    }
    let ticket = store.submit(batch);
    store.durable(ticket).await;
}

/// Counters of what has been written.
#[derive(Default)]
struct Writer {
    htlcs: u64,
    settled: u64,
    static_payments: u64,
}

impl Writer {
    /// Adds a paid invoice: BOLT 11 invoices paid in parts if even, spontaneous AMP payments if
    /// odd.
    fn paid_invoice(&mut self, batch: &mut Vec<Box<dyn Change>>, add_index: u64) {
        let mut record = invoice(add_index);
        let amt_msat = PARTS * amount(add_index);
        if record.kind == InvoiceKind::Bolt11 {
            self.settled += 1;
            record.state = InvoiceState::Settled;
            record.settle_index = Some(self.settled);
            record.settled_at = Some(record.created_at + 60);
            record.amt_paid_msat = amt_msat;
            let hash = record.payment_hash;
            batch.push(Box::new(PutInvoice(record)));
            for _ in 0..PARTS {
                batch.push(self.htlc(add_index, hash, None));
            }
        } else {
            batch.push(Box::new(PutInvoice(record)));
            let set_id = SetId::from_bytes(bytes("set", add_index));
            batch.push(self.set(add_index, set_id, amt_msat, add_index));
            for _ in 0..PARTS {
                let hash = PaymentHash(bytes("shard", self.htlcs));
                batch.push(self.htlc(add_index, hash, Some(set_id)));
            }
        }
    }

    fn static_payment(&mut self, batch: &mut Vec<Box<dyn Change>>, moment: u64) {
        self.static_payments += 1;
        let set_id = SetId::from_bytes(bytes("static set", self.static_payments));
        batch.push(self.set(STATIC, set_id, amount(self.htlcs), moment));
        let hash = PaymentHash(bytes("shard", self.htlcs));
        batch.push(self.htlc(STATIC, hash, Some(set_id)));
    }

    fn set(
        &mut self,
        add_index: u64,
        set_id: SetId,
        amt_paid_msat: u64,
        moment: u64,
    ) -> Box<dyn Change> {
        self.settled += 1;
        Box::new(PutSet(SetRecord {
            set_id,
            add_index,
            state: HtlcState::Settled,
            settle_index: Some(self.settled),
            settled_at: Some(START + moment * STEP),
            amt_paid_msat,
        }))
    }

    fn htlc(
        &mut self,
        add_index: u64,
        payment_hash: PaymentHash,
        set_id: Option<SetId>,
    ) -> Box<dyn Change> {
        self.htlcs += 1;
        let n = self.htlcs;
        let message = format!("payment {n}, for the tea").into_bytes();
        Box::new(PutHtlc(HtlcRecord {
            channel_id: ChannelId(bytes("channel", n % CHANNELS)),
            htlc_id: n / CHANNELS,
            add_index,
            payment_hash,
            scid: (800_000 << 40) | (n % CHANNELS),
            amount_msat: amount(n),
            total_msat: amount(n),
            accept_height: 900_000,
            accepted_at: START + n,
            resolved_at: Some(START + n),
            expiry_height: 900_080,
            claim_deadline: Some(900_041),
            state: HtlcState::Settled,
            claimed: true,
            custom_records: BTreeMap::from([(lnd_api::tlv::MESSAGE, message)]),
            shard: set_id.map(|set_id| ShardRecord {
                set_id,
                share: bytes("share", n),
                child_index: 0,
                ephemeral_key: [2; 33],
            }),
            preimage: Some(PaymentPreimage(bytes("preimage", n))),
        }))
    }
}

fn invoice(add_index: u64) -> InvoiceRecord {
    let kind = match (add_index, add_index % 2) {
        (STATIC, _) => InvoiceKind::Amp,
        (_, 0) => InvoiceKind::Bolt11,
        _ => InvoiceKind::SpontaneousAmp,
    };
    InvoiceRecord {
        add_index,
        kind,
        payment_hash: invoice_hash(add_index),
        payment_addr: PaymentAddr::from_bytes(bytes("addr", add_index)),
        preimage: (kind == InvoiceKind::Bolt11)
            .then(|| PaymentPreimage(bytes("preimage of", add_index))),
        terms: InvoiceTerms {
            memo: format!("tea, number {add_index}"),
            payment_request: REQUEST.to_owned(),
            expiry: 86_400,
            cltv_delta: 80,
            ..InvoiceTerms::default()
        },
        value_msat: 0,
        created_at: created_at(add_index),
        expires_at: None,
        state: InvoiceState::Open,
        settle_index: None,
        settled_at: None,
        amt_paid_msat: 0,
    }
}

/// Returns an amount between 1 and 10,000 sat.
const fn amount(n: u64) -> u64 {
    1_000 + n * 7_919 % 10_000_000
}
