//! Channel establishment v1 (BOLT 2) as the opener, up to `funding_signed`, and cooperative close.

use anyhow::{Context, Result, anyhow, bail};
use bitcoin::constants::ChainHash;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::{PublicKey, SecretKey};
use bitcoin::{ScriptBuf, Txid};
use lightning::chain::transaction::OutPoint;
use lightning::ln::chan_utils::{
    ChannelPublicKeys, ChannelTransactionParameters, ClosingTransaction, CommitmentTransaction,
    CounterpartyChannelTransactionParameters, make_funding_redeemscript,
};
use lightning::ln::msgs::{
    AcceptChannel, ClosingSigned, ClosingSignedFeeRange, CommonAcceptChannelFields,
    CommonOpenChannelFields, ErrorMessage, FundingCreated, OpenChannel, Shutdown,
};
use lightning::ln::types::ChannelId;
use lightning::types::features::ChannelTypeFeatures;
use lightning::util::ser::LengthReadable;

use super::connection::{RawPeer, Received};
use super::messages::{encode, kind};
use super::target::{SECP, random_key};
use crate::manual_amp::random;

/// Weight of a commitment transaction without HTLCs, with and without anchors (BOLT 3).
const COMMITMENT_WEIGHT: u64 = 724;
const COMMITMENT_WEIGHT_WITH_ANCHORS: u64 = 1_124;
/// Both anchor outputs, paid by the opener.
const ANCHORS_SAT: u64 = 660;
/// The opener's fee for a cooperative close.
const CLOSING_FEE_SAT: u64 = 1_000;
/// LDK numbers commitments downwards from here.
const FIRST_COMMITMENT: u64 = (1 << 48) - 1;
const TO_SELF_DELAY: u16 = 144;

/// Terms of a channel proposed in `open_channel`.
#[derive(Clone, Debug)]
pub struct ChannelTerms {
    pub capacity_sat: u64,
    /// Amount pushed to the node, in msat.
    pub push_sat: u64,
    pub feerate_per_kw: u32,
    pub announced: bool,
    /// Whether the type is anchors_zero_fee_htlc_tx instead of static_remotekey.
    pub anchors: bool,
}

impl Default for ChannelTerms {
    fn default() -> Self {
        Self {
            capacity_sat: 100_000,
            push_sat: 0,
            feerate_per_kw: 2_500,
            announced: false,
            anchors: false,
        }
    }
}

impl ChannelTerms {
    /// An encoded `open_channel`, for a peer that does not intend to continue.
    pub fn request(&self) -> Vec<u8> {
        encode(&open_channel(self).0)
    }

    fn channel_type(&self) -> ChannelTypeFeatures {
        if self.anchors {
            ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies()
        } else {
            ChannelTypeFeatures::only_static_remote_key()
        }
    }

    /// Cost of the first commitment to the opener.
    fn commitment_costs_sat(&self) -> u64 {
        let (weight, anchors) = if self.anchors {
            (COMMITMENT_WEIGHT_WITH_ANCHORS, ANCHORS_SAT)
        } else {
            (COMMITMENT_WEIGHT, 0)
        };
        u64::from(self.feerate_per_kw) * weight / 1_000 + anchors
    }
}

/// Outcome of a channel opening.
#[derive(Clone, Debug)]
pub enum OpenResult {
    /// `funding_signed` was received.
    Signed(ChannelId),
    /// The node sent this `error` instead.
    Refused(String),
}

/// A channel accepted by the node and not funded yet.
#[derive(Debug)]
pub struct Proposal {
    terms: ChannelTerms,
    temporary_id: ChannelId,
    funding_key: SecretKey,
    ours: ChannelPublicKeys,
    theirs: CommonAcceptChannelFields,
}

impl RawPeer {
    /// Opens a channel whose funding transaction does not exist.
    ///
    /// # Errors
    /// If the connection closes or no message arrives; a refusal is an `Ok` result.
    pub async fn open_unfunded_channel(&mut self, terms: &ChannelTerms) -> Result<OpenResult> {
        match self.propose(terms).await? {
            Ok(proposal) => self.fund(&proposal, nonexistent_outpoint()).await,
            Err(reason) => Ok(OpenResult::Refused(reason)),
        }
    }

    /// Sends `open_channel` and waits for `accept_channel` or the text of an error.
    pub async fn propose(&mut self, terms: &ChannelTerms) -> Result<Result<Proposal, String>> {
        let (request, funding_key, ours) = open_channel(terms);
        self.send(&encode(&request)).await?;
        let answer = match self.answer(kind::ACCEPT_CHANNEL).await? {
            Ok(answer) => answer,
            Err(reason) => return Ok(Err(reason)),
        };
        let accepted = AcceptChannel::read_from_fixed_length_buffer(&mut &answer.body[..]);
        let accepted = accepted.map_err(|error| anyhow!("invalid accept_channel: {error}"))?;
        Ok(Ok(Proposal {
            terms: terms.clone(),
            temporary_id: request.common_fields.temporary_channel_id,
            funding_key,
            ours,
            theirs: accepted.common_fields,
        }))
    }

    /// Sends `funding_created` with a valid signature and waits for `funding_signed` or an error.
    pub async fn fund(&mut self, proposal: &Proposal, outpoint: OutPoint) -> Result<OpenResult> {
        self.send(&encode(&proposal.funding_created(outpoint)?))
            .await?;
        Ok(match self.answer(kind::FUNDING_SIGNED).await? {
            Ok(_) => OpenResult::Signed(ChannelId::v1_from_funding_outpoint(outpoint)),
            Err(reason) => OpenResult::Refused(reason),
        })
    }

    /// Closes a channel cooperatively: both sides sign the closing transaction.
    ///
    /// # Errors
    /// If the node rejects the close.
    pub async fn close_cooperatively(
        &mut self,
        proposal: &Proposal,
        outpoint: OutPoint,
    ) -> Result<()> {
        let shutdown = Shutdown {
            channel_id: ChannelId::v1_from_funding_outpoint(outpoint),
            scriptpubkey: proposal.closing_script(),
        };
        self.send(&encode(&shutdown)).await?;
        let answer = self.answer(kind::SHUTDOWN).await?;
        let answer = answer.map_err(|reason| anyhow!("no shutdown: {reason}"))?;
        let answer = Shutdown::read_from_fixed_length_buffer(&mut &answer.body[..]);
        let answer = answer.map_err(|error| anyhow!("invalid shutdown: {error}"))?;
        let signed = proposal.closing_signed(outpoint, answer.scriptpubkey)?;
        self.send(&encode(&signed)).await?;
        let answer = self.answer(kind::CLOSING_SIGNED).await?;
        answer.map_err(|reason| anyhow!("no closing_signed: {reason}"))?;
        Ok(())
    }

    /// Sends an error for a channel, on which the node closes it.
    pub async fn send_error(&mut self, channel: ChannelId, text: &str) -> Result<()> {
        let error = ErrorMessage {
            channel_id: channel,
            data: text.to_owned(),
        };
        self.send(&encode(&error)).await
    }

    /// Returns the next message of this type, or the text of an error that arrives before it.
    async fn answer(&mut self, kind: u16) -> Result<Result<Received, String>> {
        loop {
            let message = self.read().await?;
            if message.kind == kind {
                return Ok(Ok(message));
            }
            if message.kind == kind::ERROR {
                return Ok(Err(error_text(&message.body)?));
            }
        }
    }
}

impl Proposal {
    /// The temporary channel id.
    pub fn temporary_id(&self) -> ChannelId {
        self.temporary_id
    }

    /// The output script that a funding transaction would have to pay to.
    pub fn funding_script(&self) -> ScriptBuf {
        self.funding_redeem_script().to_p2wsh()
    }

    fn funding_redeem_script(&self) -> ScriptBuf {
        make_funding_redeemscript(&self.ours.funding_pubkey, &self.theirs.funding_pubkey)
    }

    fn funding_created(&self, outpoint: OutPoint) -> Result<FundingCreated> {
        let parameters = self.parameters(outpoint);
        let parameters = parameters.as_counterparty_broadcastable();
        let terms = &self.terms;
        let costs = terms.push_sat + terms.commitment_costs_sat();
        let ours = terms.capacity_sat.checked_sub(costs);
        let theirs = Some(terms.push_sat).filter(|sat| *sat >= self.theirs.dust_limit_satoshis);
        let commitment = CommitmentTransaction::new(
            FIRST_COMMITMENT,
            &self.theirs.first_per_commitment_point,
            theirs.unwrap_or(0),
            ours.context("the channel is too small for its fee")?,
            terms.feerate_per_kw,
            Vec::new(),
            &parameters,
            &SECP,
        );
        let signature = commitment
            .trust()
            .built_transaction()
            .sign_counterparty_commitment(
                &self.funding_key,
                &self.funding_redeem_script(),
                terms.capacity_sat,
                &SECP,
            );
        Ok(FundingCreated {
            temporary_channel_id: self.temporary_id,
            funding_txid: outpoint.txid,
            funding_output_index: outpoint.index,
            signature,
        })
    }

    fn closing_script(&self) -> ScriptBuf {
        let key = bitcoin::CompressedPublicKey(self.ours.payment_point);
        ScriptBuf::new_p2wpkh(&key.wpubkey_hash())
    }

    fn closing_signed(&self, outpoint: OutPoint, their_script: ScriptBuf) -> Result<ClosingSigned> {
        let terms = &self.terms;
        let ours = terms
            .capacity_sat
            .checked_sub(terms.push_sat + CLOSING_FEE_SAT);
        let transaction = ClosingTransaction::new(
            ours.context("the channel is too small for its fee")?,
            terms.push_sat,
            self.closing_script(),
            their_script,
            outpoint.into_bitcoin_outpoint(),
        );
        let signature = transaction.trust().sign(
            &self.funding_key,
            &self.funding_redeem_script(),
            terms.capacity_sat,
            &SECP,
        );
        Ok(ClosingSigned {
            channel_id: ChannelId::v1_from_funding_outpoint(outpoint),
            fee_satoshis: CLOSING_FEE_SAT,
            signature,
            fee_range: Some(ClosingSignedFeeRange {
                min_fee_satoshis: CLOSING_FEE_SAT,
                max_fee_satoshis: CLOSING_FEE_SAT,
            }),
        })
    }

    fn parameters(&self, outpoint: OutPoint) -> ChannelTransactionParameters {
        let theirs = &self.theirs;
        ChannelTransactionParameters {
            holder_pubkeys: self.ours.clone(),
            holder_selected_contest_delay: TO_SELF_DELAY,
            is_outbound_from_holder: true,
            counterparty_parameters: Some(CounterpartyChannelTransactionParameters {
                pubkeys: ChannelPublicKeys {
                    funding_pubkey: theirs.funding_pubkey,
                    revocation_basepoint: theirs.revocation_basepoint.into(),
                    payment_point: theirs.payment_basepoint,
                    delayed_payment_basepoint: theirs.delayed_payment_basepoint.into(),
                    htlc_basepoint: theirs.htlc_basepoint.into(),
                },
                selected_contest_delay: theirs.to_self_delay,
            }),
            funding_outpoint: Some(outpoint),
            splice_parent_funding_txid: None,
            channel_type_features: self.terms.channel_type(),
            channel_value_satoshis: self.terms.capacity_sat,
        }
    }
}

/// An output of a transaction that does not exist.
fn nonexistent_outpoint() -> OutPoint {
    OutPoint {
        txid: Txid::from_byte_array(random()),
        index: 0,
    }
}

fn open_channel(terms: &ChannelTerms) -> (OpenChannel, SecretKey, ChannelPublicKeys) {
    let funding_key = random_key();
    let keys = ChannelPublicKeys {
        funding_pubkey: funding_key.public_key(&SECP),
        revocation_basepoint: random_point().into(),
        payment_point: random_point(),
        delayed_payment_basepoint: random_point().into(),
        htlc_basepoint: random_point().into(),
    };
    let fields = CommonOpenChannelFields {
        chain_hash: ChainHash::REGTEST,
        temporary_channel_id: ChannelId(random()),
        funding_satoshis: terms.capacity_sat,
        dust_limit_satoshis: 354,
        max_htlc_value_in_flight_msat: terms.capacity_sat * 1_000,
        htlc_minimum_msat: 1,
        commitment_feerate_sat_per_1000_weight: terms.feerate_per_kw,
        to_self_delay: TO_SELF_DELAY,
        max_accepted_htlcs: 483,
        funding_pubkey: keys.funding_pubkey,
        revocation_basepoint: keys.revocation_basepoint.to_public_key(),
        payment_basepoint: keys.payment_point,
        delayed_payment_basepoint: keys.delayed_payment_basepoint.to_public_key(),
        htlc_basepoint: keys.htlc_basepoint.to_public_key(),
        first_per_commitment_point: random_point(),
        channel_flags: u8::from(terms.announced),
        shutdown_scriptpubkey: None,
        channel_type: Some(terms.channel_type()),
    };
    let request = OpenChannel {
        common_fields: fields,
        push_msat: terms.push_sat * 1_000,
        channel_reserve_satoshis: (terms.capacity_sat / 100).max(1_000),
    };
    (request, funding_key, keys)
}

fn random_point() -> PublicKey {
    random_key().public_key(&SECP)
}

fn error_text(body: &[u8]) -> Result<String> {
    let Some(text) = body.get(34..) else {
        bail!("invalid error message of {} bytes", body.len());
    };
    Ok(String::from_utf8_lossy(text).into_owned())
}
