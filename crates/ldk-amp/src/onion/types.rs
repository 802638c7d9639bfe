//! The TLV types of onion payloads (BOLT 4, lnd and LDK).

pub(super) use crate::{AMP_RECORD_TYPE as AMP, MPP_RECORD_TYPE as MPP};

/// `amt_to_forward`, a tu64 in msat.
pub(super) const AMOUNT: u64 = 2;
/// `outgoing_cltv_value`, a tu32.
pub(super) const CLTV: u64 = 4;
/// `short_channel_id`.
pub(super) const NEXT_CHANNEL: u64 = 6;
/// `encrypted_recipient_data` of a blinded path.
pub(super) const ENCRYPTED_DATA: u64 = 10;
/// `current_path_key`, in the payload of a blinded path's introduction node.
pub(super) const BLINDING_POINT: u64 = 12;
/// `payment_metadata`.
pub(super) const METADATA: u64 = 16;
/// The first custom record type; lower types are reserved for the BOLTs.
pub(super) const FIRST_CUSTOM: u64 = 65_536;
/// LDK's invoice request, which it accepts only in blinded paths.
pub(super) const INVOICE_REQUEST: u64 = 77_777;
/// The keysend preimage (bLIP 3).
pub(super) const KEYSEND: u64 = 5_482_373_484;
