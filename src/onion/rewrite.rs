//! Turns an incoming AMP HTLC into one that stock LDK takes.
//!
//! To LDK each shard becomes a complete payment of its own: record 8 gets a payment secret of ours
//! and the HTLC's own amount as the total, record 14 goes, and both come back in an [`Envelope`].
//! Payment hash, amount and expiry of the HTLC stay, so nothing that is signed changes.

use std::num::NonZeroU64;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::inbound_payment::{self, ExpandedKey};
use lightning::ln::msgs::UpdateAddHTLC;
use lightning::sign::NodeSigner;
use thiserror::Error;
use zeroize::Zeroizing;

use super::envelope::{ENVELOPE_TYPE, Envelope, EnvelopeKey};
use super::packet::{self, HopSecret, OpenError, TooLarge};
use super::tlv::{Record, TlvError};
use crate::amp::{AMP_RECORD_TYPE, AmpRecord, MPP_RECORD_TYPE, MppRecord, RecordError, truncated};

/// Type of `amt_to_forward`, a truncated u64 in msat (BOLT 4).
const AMOUNT_TYPE: u64 = 2;
/// `amt_to_forward`, `outgoing_cltv_value`, MPP, AMP, `payment_metadata`: the even types below
/// 65536 that may stand beside an AMP record.
const KNOWN_EVEN_TYPES: [u64; 5] = [2, 4, 8, 14, 16];
const FIRST_CUSTOM_TYPE: u64 = 65_536;
/// Custom records that LDK reads itself: an invoice request and a keysend preimage. lnd only stores
/// them beside AMP, whereas LDK would refuse the HTLC.
const READ_BY_LDK: [u64; 2] = [77_777, 5_482_373_484];

/// Why an HTLC goes to LDK as it came.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Untouched {
    #[error("it has a blinding point, which excludes AMP")]
    Blinded,
    #[error("its ephemeral key is not a point on the curve")]
    BadEphemeralKey,
    #[error("the node's signer cannot derive the shared secret")]
    NoSecret,
    #[error(transparent)]
    Packet(#[from] OpenError),
    #[error(transparent)]
    Payload(#[from] TlvError),
    #[error("it has no AMP record")]
    NoAmpRecord,
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("record {0} may not stand beside an AMP record")]
    UnknownRecord(u64),
    #[error("it does not say how much it brings")]
    NoAmount,
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
}

/// Rewrites AMP HTLCs with this node's keys.
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

    /// The message that LDK is to see instead of `message`, or why it is to see `message` itself.
    ///
    /// A record of the envelope's type is dropped from any payment that ends here.
    pub fn rewrite<S: NodeSigner + ?Sized>(
        &self,
        message: &UpdateAddHTLC,
        signer: &S,
    ) -> Result<UpdateAddHTLC, Untouched> {
        if message.blinding_point.is_some() {
            return Err(Untouched::Blinded);
        }
        let onion = &message.onion_routing_packet;
        let ephemeral_key = onion.public_key.map_err(|_| Untouched::BadEphemeralKey)?;
        let secret = HopSecret::shared(signer, &ephemeral_key).ok_or(Untouched::NoSecret)?;
        let payload = packet::open(&secret, onion, &message.payment_hash)?;
        let records = payload.records()?;
        let replaced = self.replace(message, ephemeral_key, &records)?;
        let sorted = replaced.sorted(&records);
        let onion_routing_packet =
            packet::seal(&secret, ephemeral_key, &message.payment_hash, &sorted)?;
        Ok(UpdateAddHTLC {
            onion_routing_packet,
            ..message.clone()
        })
    }

    /// The records that change: those of AMP, or a foreign envelope alone.
    fn replace(
        &self,
        message: &UpdateAddHTLC,
        ephemeral_key: PublicKey,
        records: &[Record<'_>],
    ) -> Result<Replaced, Untouched> {
        let Some(amp) = find(records, AMP_RECORD_TYPE) else {
            let forged = find(records, ENVELOPE_TYPE).ok_or(Untouched::NoAmpRecord);
            return forged.map(|_| Replaced::foreign_envelope());
        };
        let unknown = |record: &&Record| {
            let (kind, known) = (record.kind, KNOWN_EVEN_TYPES.contains(&record.kind));
            kind < FIRST_CUSTOM_TYPE && kind % 2 == 0 && !known
        };
        if let Some(record) = records.iter().find(unknown) {
            return Err(Untouched::UnknownRecord(record.kind));
        }
        let mpp = find(records, MPP_RECORD_TYPE)
            .map(MppRecord::decode)
            .transpose()?;
        let envelope = Envelope {
            mpp,
            amp: AmpRecord::decode(amp)?,
            channel_id: message.channel_id,
            htlc_id: message.htlc_id,
            cltv_expiry: message.cltv_expiry,
            ephemeral_key,
            hidden: hidden(records),
        };
        let amount = ldk_amount(message.amount_msat, records).ok_or(Untouched::NoAmount)?;
        self.shard(message, amount, &envelope)
    }

    fn shard(
        &self,
        message: &UpdateAddHTLC,
        amount: NonZeroU64,
        envelope: &Envelope,
    ) -> Result<Replaced, Untouched> {
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
        .map_err(|()| Untouched::NoSecret)?;
        let amount = truncated::encode(amount.get());
        let payment_data = [&secret.0[..], &amount].concat();
        Ok(Replaced {
            new: vec![
                (AMOUNT_TYPE, Zeroizing::new(amount)),
                (MPP_RECORD_TYPE, Zeroizing::new(payment_data)),
                (ENVELOPE_TYPE, envelope.seal(&self.envelope_key, &hash)),
            ],
            is_shard: true,
        })
    }
}

/// What is put into a payload, and by that what goes from it.
struct Replaced {
    new: Vec<(u64, Zeroizing<Vec<u8>>)>,
    is_shard: bool,
}

impl Replaced {
    fn foreign_envelope() -> Self {
        Self {
            new: Vec::new(),
            is_shard: false,
        }
    }

    /// Whether a record of the sender stays.
    fn keeps(&self, kind: u64) -> bool {
        let replaced = [AMOUNT_TYPE, MPP_RECORD_TYPE, AMP_RECORD_TYPE].contains(&kind);
        let shard_only = replaced || READ_BY_LDK.contains(&kind);
        kind != ENVELOPE_TYPE && !(self.is_shard && shard_only)
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

fn find<'a>(records: &[Record<'a>], kind: u64) -> Option<&'a [u8]> {
    records
        .iter()
        .find(|record| record.kind == kind)
        .map(|record| record.value)
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
    let asked = truncated::decode_u64(find(records, AMOUNT_TYPE)?).ok()?;
    NonZeroU64::new(asked).or(NonZeroU64::new(htlc_msat.min(1)))
}

#[cfg(test)]
mod tests;
