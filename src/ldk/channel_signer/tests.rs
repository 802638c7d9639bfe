//! Compares the signatures with LDK's.

use bitcoin::OutPoint;
use lightning::ln::chan_utils::CounterpartyChannelTransactionParameters;
use lightning::sign::ChannelSigner as _;
use lightning::types::features::ChannelTypeFeatures;
use lightning::types::payment::PaymentHash;
use proptest::prelude::*;

use super::*;
use crate::ldk::KeysManager;

const CAPACITY_SAT: u64 = 100_000_000;

fn ldk_signer(seed: u8) -> InMemorySigner {
    let keys = KeysManager::new(&[seed; 32], 1, 1, true);
    keys.derive_channel_keys(&[seed; 32])
}

fn parameters(secp: &Secp, features: ChannelTypeFeatures) -> ChannelTransactionParameters {
    ChannelTransactionParameters {
        holder_pubkeys: ldk_signer(1).pubkeys(secp),
        holder_selected_contest_delay: 144,
        is_outbound_from_holder: true,
        counterparty_parameters: Some(CounterpartyChannelTransactionParameters {
            pubkeys: ldk_signer(2).pubkeys(secp),
            selected_contest_delay: 720,
        }),
        funding_outpoint: Some(lightning::chain::transaction::OutPoint {
            txid: OutPoint::null().txid,
            index: 0,
        }),
        splice_parent_funding_txid: None,
        channel_type_features: features,
        channel_value_satoshis: CAPACITY_SAT,
    }
}

/// The commitment of the counterparty, which we sign.
fn commitment(
    parameters: &ChannelTransactionParameters,
    htlcs: Vec<HTLCOutputInCommitment>,
    secp: &Secp,
) -> CommitmentTransaction {
    let point = ldk_signer(2).get_per_commitment_point(7, secp).unwrap();
    CommitmentTransaction::new(
        7,
        &point,
        CAPACITY_SAT / 3,
        CAPACITY_SAT / 3,
        253,
        htlcs,
        &parameters.as_counterparty_broadcastable(),
        secp,
    )
}

fn htlc() -> impl Strategy<Value = HTLCOutputInCommitment> {
    let parts = (
        any::<bool>(),
        1_000_000..9_000_000_u64,
        100..900_u32,
        any::<[u8; 32]>(),
    );
    parts.prop_map(
        |(offered, amount_msat, cltv_expiry, hash)| HTLCOutputInCommitment {
            offered,
            amount_msat,
            cltv_expiry,
            payment_hash: PaymentHash(hash),
            transaction_output_index: None,
        },
    )
}

fn channel_type() -> impl Strategy<Value = ChannelTypeFeatures> {
    prop_oneof![
        Just(ChannelTypeFeatures::only_static_remote_key()),
        Just(ChannelTypeFeatures::anchors_zero_htlc_fee_and_dependencies()),
    ]
}

/// LDK repeats a signature until the first byte of R is below 128.
fn is_low_r(signature: &Signature) -> bool {
    signature.serialize_compact()[0] < 0x80
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn signatures_are_ldks_without_repetitions(
        features in channel_type(),
        htlcs in prop::collection::vec(htlc(), 0..40),
    ) {
        let secp = Secp256k1::new();
        let parameters = parameters(&secp, features);
        let commitment = commitment(&parameters, htlcs, &secp);
        let sign = |signer: &dyn EcdsaChannelSigner| {
            signer
                .sign_counterparty_commitment(&parameters, &commitment, vec![], vec![], &secp)
                .unwrap()
        };
        let (ours, our_htlcs) = sign(&ChannelSigner::from(ldk_signer(1)));
        let (ldks, ldk_htlcs) = sign(&ldk_signer(1));
        prop_assert_eq!(ours, ldks);
        prop_assert_eq!(our_htlcs.len(), ldk_htlcs.len());
        let trusted = commitment.trust();
        let key = trusted.keys().countersignatory_htlc_key.to_public_key();
        for ((htlc, ours), ldks) in trusted.nondust_htlcs().iter().zip(&our_htlcs).zip(&ldk_htlcs) {
            let message = message(&parameters, &trusted, htlc).unwrap();
            prop_assert!(secp.verify_ecdsa(&message, ours, &key).is_ok());
            prop_assert!(secp.verify_ecdsa(&message, ldks, &key).is_ok());
            prop_assert!(ours == ldks || !is_low_r(ours));
        }
    }
}

#[test]
fn refuses_to_sign_without_the_keys_of_the_counterparty() {
    let secp = Secp256k1::new();
    let complete = parameters(&secp, ChannelTypeFeatures::only_static_remote_key());
    let commitment = commitment(&complete, vec![], &secp);
    let incomplete = ChannelTransactionParameters {
        counterparty_parameters: None,
        ..complete
    };
    let signer = ChannelSigner::from(ldk_signer(1));
    let signed =
        signer.sign_counterparty_commitment(&incomplete, &commitment, vec![], vec![], &secp);
    assert_eq!(signed, Err(()));
}
