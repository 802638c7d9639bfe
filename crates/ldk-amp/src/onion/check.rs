//! Validation of onion payloads addressed to this node, and the failure for invalid ones.
//!
//! The rules are those of BOLT 4 and of LDK's decoder, checked in lnd's order.

use thiserror::Error;

use super::tlv::Record;
use super::types::{
    AMOUNT, AMP, BLINDING_POINT, CLTV, ENCRYPTED_DATA, FIRST_CUSTOM, INVOICE_REQUEST, KEYSEND,
    METADATA, MPP, NEXT_CHANNEL,
};
use crate::{AmpRecord, MppRecord, tu64};

/// 21 million bitcoin in msat. LDK rejects payloads with larger amounts.
const MAX_VALUE_MSAT: u64 = 2_100_000_000_000_000_000;
/// The even types below 65536 allowed in a payload outside a blinded path. Any other even type in
/// that range is unknown and fails the payload (BOLT 1).
const KNOWN_EVEN: [u64; 7] = [
    AMOUNT,
    CLTV,
    NEXT_CHANNEL,
    MPP,
    ENCRYPTED_DATA,
    AMP,
    METADATA,
];
/// Types allowed only in the payload of the final hop.
const FINAL_ONLY: [u64; 3] = [MPP, AMP, METADATA];

/// The reason an HTLC fails because of its payload.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// `invalid_onion_payload` (PERM|22) with this TLV type; 0 if no single record is at fault.
    #[error("payload record {0} is missing, malformed or not allowed")]
    Payload(u64),
    /// `incorrect_or_unknown_payment_details` (PERM|15): the payload is well-formed, but cannot
    /// belong to a payment to this node.
    #[error("{0}")]
    Details(&'static str),
    /// `invalid_onion_blinding` (BADONION|PERM|24), for a blinded path whose introduction node is
    /// this node.
    #[error("the blinded path payload is invalid")]
    Blinding,
}

/// Validates the payload of a final hop that is not in a blinded path.
pub(super) fn final_payload(records: &[Record<'_>]) -> Result<(), Fault> {
    let find = |kind| find(records, kind);
    require(find, &[AMOUNT, CLTV])?;
    exclude(find, &[ENCRYPTED_DATA, NEXT_CHANNEL])?;
    known(records)?;
    numbers(find)?;
    let is_amp = amp(find(AMP))?;
    mpp(find(MPP), is_amp)?;
    match find(KEYSEND) {
        // Next to an AMP record it is an ordinary custom record, as in lnd.
        _ if is_amp => Ok(()),
        Some(preimage) if preimage.len() != 32 => {
            Err(Fault::Details("the keysend preimage is not 32 bytes long"))
        }
        None if find(MPP).is_none() => Err(Fault::Details(
            "the payload has neither a payment secret nor a keysend preimage",
        )),
        _ => Ok(()),
    }
}

/// Validates the payload of a forwarding hop that is not in a blinded path.
pub(super) fn forward_payload(records: &[Record<'_>]) -> Result<(), Fault> {
    let find = |kind| find(records, kind);
    require(find, &[AMOUNT, CLTV, NEXT_CHANNEL])?;
    exclude(find, &[ENCRYPTED_DATA])?;
    exclude(find, &FINAL_ONLY)?;
    known(records)?;
    numbers(find)?;
    blame(
        NEXT_CHANNEL,
        find(NEXT_CHANNEL).is_some_and(|scid| scid.len() == 8),
    )?;
    // LDK decodes these two in any payload; senders never put them into a forwarding hop's.
    exclude(find, &[INVOICE_REQUEST])?;
    blame(
        KEYSEND,
        find(KEYSEND).is_none_or(|preimage| preimage.len() == 32),
    )
}

/// Returns whether the payload is for the introduction node of a blinded path.
pub(super) fn begins_blinded_path(records: &[Record<'_>]) -> bool {
    find(records, BLINDING_POINT).is_some()
}

/// Returns the value of the record with this type.
pub(super) fn find<'a>(records: &[Record<'a>], kind: u64) -> Option<&'a [u8]> {
    records
        .iter()
        .find(|record| record.kind == kind)
        .map(|record| record.value)
}

fn require<'a>(find: impl Fn(u64) -> Option<&'a [u8]>, kinds: &[u64]) -> Result<(), Fault> {
    kinds
        .iter()
        .try_for_each(|kind| blame(*kind, find(*kind).is_some()))
}

fn exclude<'a>(find: impl Fn(u64) -> Option<&'a [u8]>, kinds: &[u64]) -> Result<(), Fault> {
    kinds
        .iter()
        .try_for_each(|kind| blame(*kind, find(*kind).is_none()))
}

/// Rejects unknown even types, as BOLT 1 requires.
fn known(records: &[Record<'_>]) -> Result<(), Fault> {
    let unknown =
        |kind: &u64| *kind < FIRST_CUSTOM && kind.is_multiple_of(2) && !KNOWN_EVEN.contains(kind);
    match records.iter().map(|record| record.kind).find(unknown) {
        Some(kind) => Err(Fault::Payload(kind)),
        None => Ok(()),
    }
}

fn numbers<'a>(find: impl Fn(u64) -> Option<&'a [u8]>) -> Result<(), Fault> {
    let amount = find(AMOUNT).map(tu64::decode_u64);
    blame(
        AMOUNT,
        matches!(amount, Some(Ok(msat)) if msat <= MAX_VALUE_MSAT),
    )?;
    let cltv = find(CLTV).map(tu64::decode_u32);
    blame(CLTV, matches!(cltv, Some(Ok(_))))
}

fn amp(value: Option<&[u8]>) -> Result<bool, Fault> {
    let Some(value) = value else {
        return Ok(false);
    };
    blame(AMP, AmpRecord::decode(value).is_ok())?;
    Ok(true)
}

/// Validates the MPP record. LDK does not see the total of an AMP set, so its size is not limited.
fn mpp(value: Option<&[u8]>, is_amp: bool) -> Result<(), Fault> {
    let Some(value) = value else {
        return Ok(());
    };
    let is_right = |mpp: MppRecord| is_amp || mpp.total_msat <= MAX_VALUE_MSAT;
    blame(MPP, MppRecord::decode(value).is_ok_and(is_right))
}

fn blame(kind: u64, is_right: bool) -> Result<(), Fault> {
    if is_right {
        Ok(())
    } else {
        Err(Fault::Payload(kind))
    }
}
