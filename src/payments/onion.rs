//! The records for the final hop of an attempt.

use lightning::ln::channelmanager::RecipientOnionFields;

use super::active::AttemptTemplate;
use super::shards::ShardRecord;
use ldk_amp::{AmpRecord, MppRecord, SetId};

/// The records for the final hop. In all attempts the total is that of the whole payment, which
/// LDK's own fields cannot express.
pub(super) fn onion_fields(
    template: &AttemptTemplate,
    shard: Option<ShardRecord>,
) -> Option<RecipientOnionFields> {
    let custom: Vec<_> = template.terms.custom_records.clone().into_iter().collect();
    let Some(payment_addr) = template.recipient.payment_addr else {
        return logged(ldk_amp::fields_without_mpp(None, &custom));
    };
    let mpp = MppRecord {
        payment_addr,
        total_msat: template.terms.amount_msat,
    };
    let set_id = SetId::from_bytes(template.identifier);
    let amp = shard.map(|(share, child_index)| AmpRecord {
        share,
        set_id,
        child_index,
    });
    let metadata = template.recipient.metadata.as_deref();
    logged(ldk_amp::recipient_fields(
        &mpp,
        amp.as_ref(),
        metadata,
        &custom,
    ))
}

fn logged(
    fields: Result<RecipientOnionFields, ldk_amp::RecipientError>,
) -> Option<RecipientOnionFields> {
    fields
        .inspect_err(|error| tracing::error!("cannot build the onion: {error}"))
        .ok()
}
