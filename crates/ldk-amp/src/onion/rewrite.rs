//! Turns an incoming AMP HTLC into one that stock LDK takes, and one with a payload that nobody could
//! use into one that LDK refuses in a way that its sender can read.
//!
//! To LDK each shard becomes a complete payment of its own: record 8 gets a payment secret of ours
//! and the HTLC's own amount as the total, record 14 goes, and both come back in an [`Envelope`].
//! Payment hash, amount and expiry of the HTLC stay, so nothing that is signed changes.

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

/// Custom records that LDK reads itself: an invoice request and a keysend preimage. lnd only stores
/// them beside AMP, whereas LDK would refuse the HTLC.
const READ_BY_LDK: [u64; 2] = [INVOICE_REQUEST, KEYSEND];

/// Why an HTLC goes to LDK as it came.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Untouched {
    #[error("there is nothing to change in it")]
    Ordinary,
    #[error("it is in a blinded path")]
    Blinded,
    #[error("its ephemeral key is not a point on the curve")]
    BadEphemeralKey,
    #[error("the node's signer cannot derive the shared secret")]
    NoSecret,
    #[error(transparent)]
    Packet(#[from] OpenError),
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// What LDK is to see instead of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewritten {
    pub message: UpdateAddHTLC,
    /// LDK will fail the HTLC, for this reason.
    pub refusal: Option<Refusal>,
}

/// Why an HTLC will fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub fault: Fault,
    /// The `reason` of the `update_fail_htlc`; `None` if LDK's own is right.
    pub reason: Option<Vec<u8>>,
}

/// Rewrites incoming HTLCs with this node's keys.
pub struct Rewriter {
    envelope_key: EnvelopeKey,
    /// LDK's key for payment secrets, from the node's `NodeSigner`.
    inbound_key: ExpandedKey,
}

impl Rewriter {
    pub fn new(envelope_key: EnvelopeKey, inbound_key: ExpandedKey) -> Self {
        Self {
            envelope_key,
            inbound_key,
        }
    }

    /// What LDK is to see instead of `message`, or why it is to see `message` itself.
    ///
    /// A record of the envelope's type is dropped from any payment that ends here, and so is an
    /// invoice request, which LDK takes in blinded paths only. A payload that LDK would refuse in a
    /// way that its sender cannot read gives way to one that fails with PERM|15.
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

    /// The packet for LDK, if it is another than the one that came.
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
            packet.map_err(|_| Fault::Details("the shard leaves no room for its envelope"));
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
        // LDK compares the secret's expiry with the time of the newest block, a u32: this one never
        // passes. The secret is the same for a message that is sent again.
        let secret = inbound_payment::create_from_hash(
            &self.inbound_key,
            None,
            hash,
            0,
            u32::MAX.into(),
            None,
        )
        .map_err(|()| Fault::Details("no payment secret can be made for its hash"))?;
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

/// An HTLC whose onion we can open and seal.
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

    /// To LDK this is a keysend with a preimage that is not that of the hash: it answers PERM|15
    /// with amount and height, also after a restart, when nobody else knows of the refusal.
    fn refused(&self, fault: Fault) -> Result<Rewritten, Untouched> {
        let amount = tu64::encode(self.message.amount_msat);
        let cltv = tu64::encode(self.message.cltv_expiry.into());
        let record = |kind, value| Record { kind, value };
        let payload = [
            record(AMOUNT, &amount),
            record(CLTV, &cltv),
            // No hash is known that is its own preimage.
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

/// Asks LDK's decoder about the payload of a blinded path's first hop, which only it can decrypt.
fn blinded<S: NodeSigner + ?Sized>(message: &UpdateAddHTLC, signer: &S) -> Result<(), Fault> {
    let secp = Secp256k1::verification_only();
    // The height is of no matter to the decoder, and the manager checks the rest.
    match peel_payment_onion(message, signer, &Silent, &secp, 0, false) {
        Err(error) if error.reason == LocalHTLCFailureReason::InvalidOnionPayload => {
            Err(Fault::Blinding)
        }
        _ => Ok(()),
    }
}

/// LDK's manager logs what its decoder says.
struct Silent;

impl Logger for Silent {
    fn log(&self, _record: LogRecord<'_>) {}
}

/// What is put into a payload, and by that what goes from it.
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

    /// Whether a record of the sender stays.
    fn keeps(&self, kind: u64) -> bool {
        let goes = match self.is_shard {
            true => [AMOUNT, MPP, AMP].contains(&kind) || READ_BY_LDK.contains(&kind),
            false => kind == INVOICE_REQUEST,
        };
        kind != ENVELOPE_TYPE && !goes
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

/// What LDK is told to expect and counts as the whole payment: `amt_to_forward`.
///
/// LDK takes no payment of zero; lnd takes an onion that asks for nothing, since only the HTLC's
/// own amount counts. So 1 msat is asked for then.
fn ldk_amount(htlc_msat: u64, records: &[Record<'_>]) -> Option<NonZeroU64> {
    let asked = tu64::decode_u64(find(records, AMOUNT)?).ok()?;
    NonZeroU64::new(asked).or(NonZeroU64::new(htlc_msat.min(1)))
}

#[cfg(test)]
mod tests;
