//! A payment request's data exactly as received.
//!
//! lightning-invoice checks the signature over its own encoding of the parsed fields. A number with
//! more quintets (5-bit groups) than needed, or padding that is not zero, is lost in that encoding,
//! and signature recovery then returns a wrong public key. The signature covers the data as sent
//! (BOLT 11).

use bitcoin::bech32::primitives::decode::CheckedHrpstring;
use bitcoin::bech32::{Fe32, Fe32IterExt};
use bitcoin::hashes::{Hash, HashEngine, sha256};
use bitcoin::secp256k1::ecdsa::RecoverableSignature;
use bitcoin::secp256k1::{Message, PublicKey, Secp256k1};
use lightning_invoice::Bolt11Bech32;

use super::DecodeError;

/// Length of the signature at the end, in quintets (BOLT 11).
const SIGNATURE_LENGTH: usize = 104;
/// Length of the timestamp at the start, in quintets (BOLT 11).
const TIMESTAMP_LENGTH: usize = 7;
/// The tag of the feature bits, `9` in bech32.
const FEATURES_TAG: u8 = 5;

/// The part of a payment request that its signature covers.
pub(super) struct Received {
    /// In lower case, as signed.
    hrp: String,
    /// Timestamp and tagged fields.
    data: Vec<Fe32>,
}

impl Received {
    /// Parses the bech32 form.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] if this is not bech32 or too short to contain a signature.
    pub(super) fn parse(text: &str) -> Result<Self, DecodeError> {
        let malformed = |why: String| DecodeError::Malformed(why);
        let parsed = CheckedHrpstring::new::<Bolt11Bech32>(text)
            .map_err(|error| malformed(error.to_string()))?;
        let mut data: Vec<Fe32> = parsed.fe32_iter::<std::iter::Empty<u8>>().collect();
        let length = data
            .len()
            .checked_sub(SIGNATURE_LENGTH)
            .ok_or_else(|| malformed("too short to contain a signature".into()))?;
        data.truncate(length);
        let hrp = parsed.hrp().to_string().to_lowercase();
        Ok(Self { hrp, data })
    }

    /// Rejects encodings that BOLT 11 forbids and no other check finds: an amount with a leading
    /// zero, and feature bits with leading zeros, which some readers interpret differently
    /// (bolts#1245).
    ///
    /// A non-minimal `x` or `c` is accepted: it is unambiguous, and lnd accepts it as well.
    pub(super) fn check_encoding(&self) -> Result<(), DecodeError> {
        let amount = self.hrp.trim_start_matches(|c: char| !c.is_ascii_digit());
        if amount.starts_with('0') {
            return Err(DecodeError::LeadingZero);
        }
        let has_leading_zero =
            |(tag, value): (u8, &[Fe32])| tag == FEATURES_TAG && value.first() == Some(&Fe32::Q);
        if self.fields().any(has_leading_zero) {
            return Err(DecodeError::PaddedFeatures);
        }
        Ok(())
    }

    /// The tags and values of the tagged fields, up to the first truncated one.
    fn fields(&self) -> impl Iterator<Item = (u8, &[Fe32])> {
        let mut rest = self.data.get(TIMESTAMP_LENGTH..).unwrap_or_default();
        std::iter::from_fn(move || {
            let (&[tag, high, low], after) = rest.split_first_chunk()?;
            let length = usize::from(high.to_u8()) * 32 + usize::from(low.to_u8());
            let (value, after) = after.split_at_checked(length)?;
            rest = after;
            Some((tag.to_u8(), value))
        })
    }

    /// Verifies the signature and returns the signer's key: that of the `n` field if there is one,
    /// which requires a low S (BOLT 11); otherwise the recovered key.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Signature`]
    pub(super) fn signer(
        &self,
        signature: &RecoverableSignature,
        stated: Option<PublicKey>,
    ) -> Result<PublicKey, DecodeError> {
        let secp = Secp256k1::verification_only();
        let digest = Message::from_digest(self.digest().to_byte_array());
        let signer = match stated {
            Some(key) => secp
                .verify_ecdsa(&digest, &signature.to_standard(), &key)
                .map(|()| key),
            None => secp.recover_ecdsa(&digest, signature),
        };
        signer.map_err(|_| DecodeError::Signature)
    }

    /// SHA-256 of the human-readable part and the data, padded with zero bits to whole bytes.
    fn digest(&self) -> sha256::Hash {
        let bytes = (self.data.len() * 5).div_ceil(8);
        let padded = self.data.iter().copied().chain([Fe32::Q, Fe32::Q]);
        let mut engine = sha256::Hash::engine();
        engine.input(self.hrp.as_bytes());
        for byte in padded.fes_to_bytes().take(bytes) {
            engine.input(&[byte]);
        }
        sha256::Hash::from_engine(engine)
    }
}
