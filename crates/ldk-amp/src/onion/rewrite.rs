//! Rewrites incoming AMP HTLCs into ones that LDK accepts, and HTLCs with invalid payloads into ones
//! that LDK fails in a way their sender can decode.
//!
//! To LDK each shard looks like a complete payment: record 8 gets a payment secret of this node and
//! the HTLC's own amount as total, record 14 is removed, and the originals travel in an [`Envelope`].
//! The HTLC's payment hash, amount and expiry do not change, so signatures stay valid.

use std::num::NonZeroU64;

use bitcoin::secp256k1::{PublicKey, Secp256k1};
use lightning::ln::LocalHTLCFailureReason;
use lightning::ln::inbound_payment::{self, ExpandedKey};
use lightning::ln::msgs::{OnionPacket, UpdateAddHTLC};
use lightning::ln::onion_payment::peel_payment_onion;
use lightning::sign::NodeSigner;
use lightning::util::logger::{Logger, Record as LogRecord};
use thiserror::Error;
use zeroize::Zeroizing;

use super::check::{self, Fault, find};
use super::envelope::{ENVELOPE_TYPE, Envelope, EnvelopeKey};
use super::failure::{invalid_blinding_packet, invalid_payload_packet};
use super::packet::{self, HopSecret, OpenError, Payload, TooLarge};
use super::tlv::Record;
use super::types::{AMOUNT, AMP, CLTV, INVOICE_REQUEST, KEYSEND, MPP};
use crate::{AmpRecord, MppRecord, tu64};

/// Custom records that LDK interprets: invoice request and keysend preimage. With AMP, lnd merely
/// stores them, whereas LDK would reject the HTLC.
const READ_BY_LDK: [u64; 2] = [INVOICE_REQUEST, KEYSEND];

/// The reason for passing an HTLC to LDK unchanged.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Untouched {
    /// LDK handles the HTLC correctly as it is.
    #[error("nothing to change")]
    Ordinary,
    /// Only LDK can decrypt the payload.
    #[error("the HTLC is in a blinded path")]
    Blinded,
    /// LDK itself fails the HTLC.
    #[error("the onion's ephemeral key is not a valid public key")]
    BadEphemeralKey,
    /// The signer returned an error.
    #[error("the signer cannot derive the shared secret")]
    NoSecret,
    /// The packet cannot be decrypted.
    #[error(transparent)]
    Packet(#[from] OpenError),
    /// The envelope does not fit into the packet.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// The message that LDK gets instead of the received one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The message to pass to LDK.
    pub message: UpdateAddHTLC,
    /// Set if LDK will fail the HTLC.
    pub refusal: Option<Refusal>,
}

/// The failure of an HTLC whose payload is invalid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub fault: Fault,
    /// The encrypted `reason` for `update_fail_htlc`; `None` if LDK's own is correct.
    pub reason: Option<Vec<u8>>,
}

/// Rewrites incoming HTLCs using this node's keys.
pub struct Rewriter {
    envelope_key: EnvelopeKey,
    /// LDK's key for payment secrets, from the node's `NodeSigner`.
    inbound_key: ExpandedKey,
}

impl Rewriter {
    /// Creates a rewriter. `inbound_key` must be the key of LDK's own payment secrets.
    pub fn new(envelope_key: EnvelopeKey, inbound_key: ExpandedKey) -> Self {
        Self {
            envelope_key,
            inbound_key,
        }
    }

    /// Returns the message for LDK, or the reason to pass `message` on unchanged.
    ///
    /// Envelope records from the sender are dropped from every payment that ends here, and so are
    /// invoice requests, which LDK accepts only in blinded paths. A payload that LDK would reject in
    /// a way its sender cannot decode is replaced by one that LDK fails with PERM|15.
    pub fn rewrite<S: NodeSigner + ?Sized>(
        &self,
        message: &UpdateAddHTLC,
        signer: &S,
    ) -> Result<Rewritten, Untouched> {
        if message.blinding_point.is_some() {
            return Err(Untouched::Blinded);
        }
        let onion = &message.onion_routing_packet;
        let ephemeral_key = onion.public_key.map_err(|_| Untouched::BadEphemeralKey)?;
        let secret = HopSecret::shared(signer, &ephemeral_key).ok_or(Untouched::NoSecret)?;
        let hop = Hop {
            message,
            ephemeral_key,
            secret,
        };
        let payload = match packet::open(&hop.secret, onion, &message.payment_hash) {
            Ok(payload) => payload,
            Err(OpenError::Length) => return hop.refused(Fault::Payload(0)),
            Err(error) => return Err(error.into()),
        };
        match self.for_ldk(&hop, &payload, signer) {
            Ok(None) => Err(Untouched::Ordinary),
            Ok(Some(packet)) => Ok(hop.rewritten(packet, None)),
            Err(fault) => hop.refused(fault),
        }
    }

    /// Returns the packet for LDK, or `None` if the received one needs no change.
    fn for_ldk<S: NodeSigner + ?Sized>(
        &self,
        hop: &Hop<'_>,
        payload: &Payload,
        signer: &S,
    ) -> Result<Option<OnionPacket>, Fault> {
        let records = payload.records().map_err(|_| Fault::Payload(0))?;
        if check::begins_blinded_path(&records) {
            return blinded(hop.message, signer).map(|()| None);
        }
        if !payload.is_final() {
            return check::forward_payload(&records).map(|()| None);
        }
        check::final_payload(&records)?;
        let replaced = match find(&records, AMP) {
            Some(amp) => self.shard(hop, amp, &records)?,
            None => Replaced::nothing(),
        };
        let changed = replaced.is_shard || records.iter().any(|it| !replaced.keeps(it.kind));
        if !changed {
            return Ok(None);
        }
        let packet = hop.seal(&replaced.sorted(&records));
        let packet =
            packet.map_err(|_| Fault::Details("the custom records leave no room for the envelope"));
        packet.map(Some)
    }

    fn shard(&self, hop: &Hop<'_>, amp: &[u8], records: &[Record<'_>]) -> Result<Replaced, Fault> {
        let message = hop.message;
        let mpp = find(records, MPP).map(MppRecord::decode).transpose();
        let envelope = Envelope {
            mpp: mpp.map_err(|_| Fault::Payload(MPP))?,
            amp: AmpRecord::decode(amp).map_err(|_| Fault::Payload(AMP))?,
            channel_id: message.channel_id,
            htlc_id: message.htlc_id,
            cltv_expiry: message.cltv_expiry,
            ephemeral_key: hop.ephemeral_key,
            hidden: hidden(records),
        };
        let amount = ldk_amount(message.amount_msat, records).ok_or(Fault::Payload(AMOUNT))?;
        self.complete_payment(message, amount, &envelope)
    }

    fn complete_payment(
        &self,
        message: &UpdateAddHTLC,
        amount: NonZeroU64,
        envelope: &Envelope,
    ) -> Result<Replaced, Fault> {
        let hash = message.payment_hash;
        // LDK compares the secret's expiry with the newest block's timestamp, a u32, so this secret
        // never expires. A retransmitted message gets the same secret.
        let secret = inbound_payment::create_from_hash(
            &self.inbound_key,
            None,
            hash,
            0,
            u32::MAX.into(),
            None,
        )
        .map_err(|()| Fault::Details("cannot create a payment secret for the payment hash"))?;
        let amount = tu64::encode(amount.get());
        let payment_data = [&secret.0[..], &amount].concat();
        Ok(Replaced {
            new: vec![
                (AMOUNT, Zeroizing::new(amount)),
                (MPP, Zeroizing::new(payment_data)),
                (ENVELOPE_TYPE, envelope.seal(&self.envelope_key, &hash)),
            ],
            is_shard: true,
        })
    }
}

/// An HTLC whose onion this node can open and reseal.
struct Hop<'a> {
    message: &'a UpdateAddHTLC,
    ephemeral_key: PublicKey,
    secret: HopSecret,
}

impl Hop<'_> {
    fn seal(&self, records: &[Record<'_>]) -> Result<OnionPacket, TooLarge> {
        packet::seal(
            &self.secret,
            self.ephemeral_key,
            &self.message.payment_hash,
            records,
        )
    }

    fn rewritten(&self, onion_routing_packet: OnionPacket, refusal: Option<Refusal>) -> Rewritten {
        let message = UpdateAddHTLC {
            onion_routing_packet,
            ..self.message.clone()
        };
        Rewritten { message, refusal }
    }

    /// Replaces the payload with a keysend whose preimage does not match the payment hash. LDK fails
    /// it with PERM|15, amount and height, even after a restart, when the refusal is forgotten.
    fn refused(&self, fault: Fault) -> Result<Rewritten, Untouched> {
        let amount = tu64::encode(self.message.amount_msat);
        let cltv = tu64::encode(self.message.cltv_expiry.into());
        let record = |kind, value| Record { kind, value };
        let payload = [
            record(AMOUNT, &amount),
            record(CLTV, &cltv),
            // No fixed point of SHA-256 is known, so the hash cannot be its own preimage.
            record(KEYSEND, &self.message.payment_hash.0),
        ];
        let refusal = Refusal {
            fault,
            reason: self.reason(fault),
        };
        Ok(self.rewritten(self.seal(&payload)?, Some(refusal)))
    }

    fn reason(&self, fault: Fault) -> Option<Vec<u8>> {
        let onion = &self.message.onion_routing_packet;
        match fault {
            Fault::Payload(kind) => Some(invalid_payload_packet(&self.secret, kind)),
            Fault::Blinding => Some(invalid_blinding_packet(&self.secret, onion)),
            Fault::Details(_) => None,
        }
    }
}

/// Validates the payload of a blinded path's introduction node with LDK's decoder, which alone can
/// decrypt it.
fn blinded<S: NodeSigner + ?Sized>(message: &UpdateAddHTLC, signer: &S) -> Result<(), Fault> {
    let secp = Secp256k1::verification_only();
    // The decoder ignores the height; the channel manager checks the rest.
    match peel_payment_onion(message, signer, &Silent, &secp, 0, false) {
        Err(error) if error.reason == LocalHTLCFailureReason::InvalidOnionPayload => {
            Err(Fault::Blinding)
        }
        _ => Ok(()),
    }
}

/// Discards the decoder's log records: the channel manager decodes the onion again and logs them.
struct Silent;

impl Logger for Silent {
    fn log(&self, _record: LogRecord<'_>) {}
}

/// The records to add to a payload; they determine which of the sender's records are removed.
struct Replaced {
    new: Vec<(u64, Zeroizing<Vec<u8>>)>,
    is_shard: bool,
}

impl Replaced {
    fn nothing() -> Self {
        Self {
            new: Vec::new(),
            is_shard: false,
        }
    }

    /// Returns whether the sender's record of this type is kept.
    fn keeps(&self, kind: u64) -> bool {
        let is_removed = match self.is_shard {
            true => [AMOUNT, MPP, AMP].contains(&kind) || READ_BY_LDK.contains(&kind),
            false => kind == INVOICE_REQUEST,
        };
        kind != ENVELOPE_TYPE && !is_removed
    }

    fn sorted<'a>(&'a self, records: &[Record<'a>]) -> Vec<Record<'a>> {
        let kept = records
            .iter()
            .filter(|record| self.keeps(record.kind))
            .copied();
        let new = self
            .new
            .iter()
            .map(|(kind, value)| Record { kind: *kind, value });
        let mut sorted: Vec<_> = kept.chain(new).collect();
        sorted.sort_unstable_by_key(|record| record.kind);
        sorted
    }
}

fn hidden(records: &[Record<'_>]) -> Vec<(u64, Vec<u8>)> {
    let hidden = records
        .iter()
        .filter(|record| READ_BY_LDK.contains(&record.kind));
    hidden
        .map(|record| (record.kind, record.value.to_vec()))
        .collect()
}

/// Returns the `amt_to_forward` in msat that LDK is to expect and count as the whole payment.
///
/// lnd accepts an onion that asks for 0 msat, since only the HTLC's own amount counts. LDK rejects
/// zero amounts, so the rewritten onion asks for 1 msat.
fn ldk_amount(htlc_msat: u64, records: &[Record<'_>]) -> Option<NonZeroU64> {
    let requested = tu64::decode_u64(find(records, AMOUNT)?).ok()?;
    NonZeroU64::new(requested).or(NonZeroU64::new(htlc_msat.min(1)))
}

#[cfg(test)]
mod tests;
