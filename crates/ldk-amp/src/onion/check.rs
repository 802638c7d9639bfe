//! What is wrong with a payload of ours, and so what its sender is told.
//!
//! The rules are those of BOLT 4 and of LDK's decoder, in the order in which lnd looks at them.

use thiserror::Error;

use super::tlv::Record;
use super::types::{
    AMOUNT, AMP, BLINDING_POINT, CLTV, ENCRYPTED_DATA, FIRST_CUSTOM, INVOICE_REQUEST, KEYSEND,
    METADATA, MPP, NEXT_CHANNEL,
};
use crate::{AmpRecord, MppRecord, tu64};

/// All bitcoin there will ever be: LDK refuses payloads that name more.
const MAX_VALUE_MSAT: u64 = 2_100_000_000_000_000_000;
/// The even types below 65536 that a cleartext payload may have. What else is even and below, its
/// reader must know and does not.
const KNOWN_EVEN: [u64; 7] = [
    AMOUNT,
    CLTV,
    NEXT_CHANNEL,
    MPP,
    ENCRYPTED_DATA,
    AMP,
    METADATA,
];
/// What belongs into the payload of the final hop alone.
const FINAL_ONLY: [u64; 3] = [MPP, AMP, METADATA];

/// Why an HTLC is refused because of its payload.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    /// `invalid_onion_payload` (PERM|22) with this type; 0 if no record can be blamed.
    #[error("record {0} of the payload is missing, malformed or not allowed")]
    Payload(u64),
    /// `incorrect_or_unknown_payment_details` (PERM|15): the payload can be read, but belongs to no
    /// payment that we could take.
    #[error("{0}")]
    Details(&'static str),
    /// `invalid_onion_blinding` (BADONION|PERM|24), for a blinded path that begins here.
    #[error("the payload of a blinded path is invalid")]
    Blinding,
}

/// Checks the payload of a final hop that is not in a blinded path.
pub fn final_payload(records: &[Record<'_>]) -> Result<(), Fault> {
    let find = |kind| find(records, kind);
    require(find, &[AMOUNT, CLTV])?;
    exclude(find, &[ENCRYPTED_DATA, NEXT_CHANNEL])?;
    known(records)?;
    numbers(find)?;
    let is_amp = amp(find(AMP))?;
    mpp(find(MPP), is_amp)?;
    match find(KEYSEND) {
        // Beside AMP it is a record like any other.
        _ if is_amp => Ok(()),
        Some(preimage) if preimage.len() != 32 => {
            Err(Fault::Details("the keysend preimage is not 32 bytes long"))
        }
        None if find(MPP).is_none() => Err(Fault::Details(
            "there is neither a payment secret nor a preimage",
        )),
        _ => Ok(()),
    }
}

/// Checks the payload of a hop that forwards and is not in a blinded path.
pub fn forward_payload(records: &[Record<'_>]) -> Result<(), Fault> {
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
    // LDK reads these two in any payload, and nobody sends them to a hop that forwards.
    exclude(find, &[INVOICE_REQUEST])?;
    blame(
        KEYSEND,
        find(KEYSEND).is_none_or(|preimage| preimage.len() == 32),
    )
}

/// Whether the payload is that of a blinded path's first hop.
pub fn begins_blinded_path(records: &[Record<'_>]) -> bool {
    find(records, BLINDING_POINT).is_some()
}

/// The value of the record of this type.
pub fn find<'a>(records: &[Record<'a>], kind: u64) -> Option<&'a [u8]> {
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

/// BOLT 1: an even type that the reader does not know fails the payload.
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

/// LDK does not see the total of an AMP set, which may be any number.
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
