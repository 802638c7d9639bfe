//! The signer of a channel: LDK's, with a faster way to sign the HTLCs of a commitment.
//!
//! Every `commitment_signed` has a signature for each pending HTLC, so they are most of a busy channel's
//! work. For each of them LDK derives the same private key, and signs until the signature is at most 71 bytes
//! long (twice, on average), which saves a weight unit if the HTLC ends on chain. Here the key
//! is derived once per commitment, and each HTLC is signed once.

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::ecdsa::Signature;
use bitcoin::secp256k1::{All, Message, PublicKey, Secp256k1, SecretKey};
use bitcoin::sighash::SighashCache;
use bitcoin::{EcdsaSighashType, Transaction, Txid};
use lightning::ln::chan_utils::{
    self, ChannelPublicKeys, ChannelTransactionParameters, ClosingTransaction,
    CommitmentTransaction, HTLCOutputInCommitment, HolderCommitmentTransaction,
    TrustedCommitmentTransaction,
};
use lightning::ln::msgs::UnsignedChannelAnnouncement;
use lightning::sign::ecdsa::EcdsaChannelSigner;
use lightning::sign::{self, HTLCDescriptor, InMemorySigner};
use lightning::types::payment::PaymentPreimage;

type Secp = Secp256k1<All>;

/// LDK's signer, except for the signatures that `commitment_signed` sends (BOLT 2).
pub struct ChannelSigner(InMemorySigner);

impl From<InMemorySigner> for ChannelSigner {
    fn from(signer: InMemorySigner) -> Self {
        Self(signer)
    }
}

impl ChannelSigner {
    /// Signs the counterparty's commitment transaction with the funding key. Fails if LDK has not yet
    /// learned the counterparty's keys.
    fn sign_commitment(
        &self,
        parameters: &ChannelTransactionParameters,
        commitment: &TrustedCommitmentTransaction<'_>,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        let counterparty = parameters.counterparty_parameters.as_ref().ok_or(())?;
        let funding_key = self.0.funding_key(parameters.splice_parent_funding_txid);
        let redeem_script = chan_utils::make_funding_redeemscript(
            &funding_key.public_key(secp),
            &counterparty.pubkeys.funding_pubkey,
        );
        Ok(commitment.built_transaction().sign_counterparty_commitment(
            &funding_key,
            &redeem_script,
            parameters.channel_value_satoshis,
            secp,
        ))
    }

    /// Signs the transactions that spend the HTLCs of the counterparty's commitment (BOLT 3).
    fn sign_htlcs(
        &self,
        parameters: &ChannelTransactionParameters,
        commitment: &TrustedCommitmentTransaction<'_>,
        secp: &Secp,
    ) -> Result<Vec<Signature>, ()> {
        let htlcs = commitment.nondust_htlcs();
        if htlcs.is_empty() {
            return Ok(Vec::new());
        }
        let point = &commitment.keys().per_commitment_point;
        let mut key = chan_utils::derive_private_key(secp, point, &self.0.htlc_base_key);
        let messages = htlcs
            .iter()
            .map(|htlc| message(parameters, commitment, htlc));
        let signatures = messages
            .map(|message| Ok(secp.sign_ecdsa(&message?, &key)))
            .collect();
        key.non_secure_erase();
        signatures
    }
}

/// What is signed for an HTLC: the sighash of the transaction that spends its output.
fn message(
    parameters: &ChannelTransactionParameters,
    commitment: &TrustedCommitmentTransaction<'_>,
    htlc: &HTLCOutputInCommitment,
) -> Result<Message, ()> {
    let keys = commitment.keys();
    let features = &parameters.channel_type_features;
    let transaction = chan_utils::build_htlc_transaction(
        &commitment.txid(),
        commitment.negotiated_feerate_per_kw(),
        parameters.holder_selected_contest_delay,
        htlc,
        features,
        &keys.broadcaster_delayed_payment_key,
        &keys.revocation_key,
    );
    let has_anchors = features.supports_anchors_zero_fee_htlc_tx()
        || features.supports_anchor_zero_fee_commitments();
    let sighash_type = match has_anchors {
        true => EcdsaSighashType::SinglePlusAnyoneCanPay,
        false => EcdsaSighashType::All,
    };
    let script = chan_utils::get_htlc_redeemscript(htlc, features, keys);
    let amount = htlc.to_bitcoin_amount();
    let sighash = SighashCache::new(&transaction)
        .p2wsh_signature_hash(0, &script, amount, sighash_type)
        .map_err(|_| ())?;
    Ok(Message::from_digest(sighash.to_byte_array()))
}

impl sign::ChannelSigner for ChannelSigner {
    fn get_per_commitment_point(&self, idx: u64, secp: &Secp) -> Result<PublicKey, ()> {
        self.0.get_per_commitment_point(idx, secp)
    }

    fn release_commitment_secret(&self, idx: u64) -> Result<[u8; 32], ()> {
        self.0.release_commitment_secret(idx)
    }

    fn validate_holder_commitment(
        &self,
        holder_tx: &HolderCommitmentTransaction,
        outbound_htlc_preimages: Vec<PaymentPreimage>,
    ) -> Result<(), ()> {
        self.0
            .validate_holder_commitment(holder_tx, outbound_htlc_preimages)
    }

    fn validate_counterparty_revocation(&self, idx: u64, secret: &SecretKey) -> Result<(), ()> {
        self.0.validate_counterparty_revocation(idx, secret)
    }

    fn pubkeys(&self, secp: &Secp) -> ChannelPublicKeys {
        self.0.pubkeys(secp)
    }

    fn new_funding_pubkey(&self, splice_parent_funding_txid: Txid, secp: &Secp) -> PublicKey {
        self.0.new_funding_pubkey(splice_parent_funding_txid, secp)
    }

    fn channel_keys_id(&self) -> [u8; 32] {
        self.0.channel_keys_id()
    }
}

impl EcdsaChannelSigner for ChannelSigner {
    fn sign_counterparty_commitment(
        &self,
        parameters: &ChannelTransactionParameters,
        commitment: &CommitmentTransaction,
        _inbound_htlc_preimages: Vec<PaymentPreimage>,
        _outbound_htlc_preimages: Vec<PaymentPreimage>,
        secp: &Secp,
    ) -> Result<(Signature, Vec<Signature>), ()> {
        let commitment = commitment.trust();
        let signature = self.sign_commitment(parameters, &commitment, secp)?;
        let htlc_signatures = self.sign_htlcs(parameters, &commitment, secp)?;
        Ok((signature, htlc_signatures))
    }

    fn sign_holder_commitment(
        &self,
        parameters: &ChannelTransactionParameters,
        commitment: &HolderCommitmentTransaction,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0.sign_holder_commitment(parameters, commitment, secp)
    }

    /// Exists because of LDK's feature `unsafe_revoked_tx_signing`; nothing in ampd asks for it.
    fn unsafe_sign_holder_commitment(
        &self,
        parameters: &ChannelTransactionParameters,
        commitment: &HolderCommitmentTransaction,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0
            .unsafe_sign_holder_commitment(parameters, commitment, secp)
    }

    fn sign_justice_revoked_output(
        &self,
        parameters: &ChannelTransactionParameters,
        justice_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_key: &SecretKey,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0.sign_justice_revoked_output(
            parameters,
            justice_tx,
            input,
            amount,
            per_commitment_key,
            secp,
        )
    }

    fn sign_justice_revoked_htlc(
        &self,
        parameters: &ChannelTransactionParameters,
        justice_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_key: &SecretKey,
        htlc: &HTLCOutputInCommitment,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0.sign_justice_revoked_htlc(
            parameters,
            justice_tx,
            input,
            amount,
            per_commitment_key,
            htlc,
            secp,
        )
    }

    fn sign_holder_htlc_transaction(
        &self,
        htlc_tx: &Transaction,
        input: usize,
        htlc_descriptor: &HTLCDescriptor,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0
            .sign_holder_htlc_transaction(htlc_tx, input, htlc_descriptor, secp)
    }

    fn sign_counterparty_htlc_transaction(
        &self,
        parameters: &ChannelTransactionParameters,
        htlc_tx: &Transaction,
        input: usize,
        amount: u64,
        per_commitment_point: &PublicKey,
        htlc: &HTLCOutputInCommitment,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0.sign_counterparty_htlc_transaction(
            parameters,
            htlc_tx,
            input,
            amount,
            per_commitment_point,
            htlc,
            secp,
        )
    }

    fn sign_closing_transaction(
        &self,
        parameters: &ChannelTransactionParameters,
        closing_tx: &ClosingTransaction,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0
            .sign_closing_transaction(parameters, closing_tx, secp)
    }

    fn sign_holder_keyed_anchor_input(
        &self,
        parameters: &ChannelTransactionParameters,
        anchor_tx: &Transaction,
        input: usize,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0
            .sign_holder_keyed_anchor_input(parameters, anchor_tx, input, secp)
    }

    fn sign_channel_announcement_with_funding_key(
        &self,
        parameters: &ChannelTransactionParameters,
        msg: &UnsignedChannelAnnouncement,
        secp: &Secp,
    ) -> Result<Signature, ()> {
        self.0
            .sign_channel_announcement_with_funding_key(parameters, msg, secp)
    }

    fn sign_splice_shared_input(
        &self,
        parameters: &ChannelTransactionParameters,
        tx: &Transaction,
        input_index: usize,
        secp: &Secp,
    ) -> Signature {
        self.0
            .sign_splice_shared_input(parameters, tx, input_index, secp)
    }
}

#[cfg(test)]
mod tests;
