//! Reads rows of the tables `invoices`, `amp_sets` and `htlcs`.

use ldk_amp::{PaymentAddr, SetId};
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use rusqlite::Row;

use crate::model::htlc::{HtlcRecord, HtlcState, SetRecord, ShardRecord};
use crate::model::invoice::{InvoiceKind, InvoiceRecord, InvoiceState};
use crate::storage::sql::{array, numbered, optional_array, parse, unsigned};

pub(super) fn invoice_record(row: &Row<'_>) -> rusqlite::Result<InvoiceRecord> {
    Ok(InvoiceRecord {
        add_index: unsigned(row.get("add_index")?),
        kind: InvoiceKind::of(row.get("kind")?)?,
        payment_hash: PaymentHash(array(row, "payment_hash")?),
        payment_addr: PaymentAddr::from_bytes(array(row, "payment_addr")?),
        preimage: optional_array(row, "preimage")?.map(PaymentPreimage),
        terms: parse(&row.get::<_, String>("terms")?)?,
        value_msat: unsigned(row.get("value_msat")?),
        created_at: unsigned(row.get("created_at")?),
        expires_at: row.get::<_, Option<i64>>("expires_at")?.map(unsigned),
        state: InvoiceState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

pub(super) fn set_record(row: &Row<'_>) -> rusqlite::Result<SetRecord> {
    Ok(SetRecord {
        set_id: SetId::from_bytes(array(row, "set_id")?),
        add_index: unsigned(row.get("add_index")?),
        state: HtlcState::of(row.get("state")?)?,
        settle_index: row.get::<_, Option<i64>>("settle_index")?.map(unsigned),
        settled_at: row.get::<_, Option<i64>>("settled_at")?.map(unsigned),
        amt_paid_msat: unsigned(row.get("amt_paid_msat")?),
    })
}

pub(super) fn htlc_record(row: &Row<'_>) -> rusqlite::Result<HtlcRecord> {
    Ok(HtlcRecord {
        channel_id: ChannelId(array(row, "channel_id")?),
        htlc_id: unsigned(row.get("htlc_id")?),
        add_index: unsigned(row.get("add_index")?),
        payment_hash: PaymentHash(array(row, "payment_hash")?),
        scid: unsigned(row.get("scid")?),
        amount_msat: unsigned(row.get("amount_msat")?),
        total_msat: unsigned(row.get("total_msat")?),
        accept_height: row.get("accept_height")?,
        accepted_at: unsigned(row.get("accepted_at")?),
        resolved_at: row.get::<_, Option<i64>>("resolved_at")?.map(unsigned),
        expiry_height: row.get("expiry_height")?,
        claim_deadline: row.get("claim_deadline")?,
        state: HtlcState::of(row.get("state")?)?,
        claimed: row.get("claimed")?,
        custom_records: parse(&row.get::<_, String>("custom_records")?)?,
        shard: shard_record(row)?,
        preimage: optional_array(row, "preimage")?.map(PaymentPreimage),
    })
}

fn shard_record(row: &Row<'_>) -> rusqlite::Result<Option<ShardRecord>> {
    let Some(set_id) = optional_array(row, "set_id")? else {
        return Ok(None);
    };
    Ok(Some(ShardRecord {
        set_id: SetId::from_bytes(set_id),
        share: array(row, "share")?,
        child_index: row.get("child_index")?,
        ephemeral_key: array(row, "ephemeral_key")?,
    }))
}

numbered!(InvoiceKind { Bolt11 = 0, SpontaneousAmp = 1, Amp = 2, Hold = 3, Keysend = 4 });
numbered!(InvoiceState { Open = 0, Settled = 1, Canceled = 2, Accepted = 3, Disabled = 4 });
numbered!(HtlcState { Accepted = 0, Settled = 1, Canceled = 2 });
