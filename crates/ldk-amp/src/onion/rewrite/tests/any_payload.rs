//! Properties of the rewriter for any payload.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn all_other_records_are_unchanged(
        odd in prop::collection::btree_map(
            (20..32_000u64).prop_map(|kind| 2 * kind + 1),
            prop::collection::vec(any::<u8>(), 0..50), 0..4),
        custom in prop::collection::btree_map(
            any::<u64>().prop_filter("custom", |kind| {
                *kind >= 65_536 && *kind != ENVELOPE_TYPE && !READ_BY_LDK.contains(kind)
            }),
            prop::collection::vec(any::<u8>(), 0..100), 0..4),
        metadata in prop::option::of(prop::collection::vec(any::<u8>(), 0..50)),
    ) {
        let others = odd.into_iter().chain(custom).chain(metadata.map(|value| (16, value)));
        let message = htlc(&with(others));
        let rewritten = rewrite(&message).unwrap();
        let mut before = opened(&message, &signer(NODE_SECRET));
        let mut after = opened(&rewritten, &signer(NODE_SECRET));
        prop_assert_eq!(envelope_in(&message, &after).unwrap().mpp, Some(mpp()));
        prop_assert!(after.remove(&ENVELOPE_TYPE).is_some());
        prop_assert_ne!(before.remove(&8), after.remove(&8));
        prop_assert!(before.remove(&14).is_some());
        prop_assert_eq!(after, before);
    }

    /// LDK accepts what the rewriter accepts, and the rewriter refuses what LDK cannot decode.
    #[test]
    fn rewriter_and_ldk_agree_on_any_payload(
        payload in prop::collection::btree_map(
            prop_oneof![0..24u64, any::<u64>(), Just(ENVELOPE_TYPE), Just(77_777), Just(KEYSEND)],
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..4),
                prop::collection::vec(any::<u8>(), 30..80),
            ], 0..6),
        usable in any::<bool>(),
        amp in prop::option::of(prop::collection::vec(any::<u8>(), 60..72)),
    ) {
        let mut payload = payload;
        payload.remove(&12);
        payload.extend(amp.map(|value| (14, value)));
        if usable {
            payload.extend([(2, vec![1]), (4, vec![1])]);
        }
        let message = htlc(&payload);
        let signer = signer(NODE_SECRET);
        let (seen, refused) = match rewriter().rewrite(&message, &signer) {
            Ok(rewritten) => (rewritten.message, rewritten.refusal.is_some()),
            Err(reason) => {
                prop_assert_eq!(reason, Untouched::Ordinary);
                (message.clone(), false)
            }
        };
        let after = opened(&seen, &signer);
        let is_amp = envelope_in(&message, &after).is_some();
        prop_assert_eq!(is_amp, payload.contains_key(&14) && !refused);
        // LDK accepts it or fails it with a reason the sender can decode.
        let ldk = ldk_reason(&seen, &signer);
        let readable = [
            None,
            Some(LocalHTLCFailureReason::InvalidKeysendPreimage),
            Some(LocalHTLCFailureReason::FinalIncorrectHTLCAmount),
            Some(LocalHTLCFailureReason::FinalIncorrectCLTVExpiry),
        ];
        prop_assert!(readable.contains(&ldk), "{:?}", ldk);
        if refused && !payload.contains_key(&14) {
            prop_assert!(ldk_reason(&message, &signer).is_some());
        }
    }

    #[test]
    fn refuses_any_bytes_that_ldk_cannot_decode(bytes in prop::collection::vec(any::<u8>(), 0..1268)) {
        let ephemeral_key = onions()[0].hops[0].packet.public_key.unwrap();
        let signer = signer(NODE_SECRET);
        let secret = HopSecret::shared(&signer, &ephemeral_key).unwrap();
        let packet = packet::seal_bytes(&secret, ephemeral_key, &HASH, &bytes);
        let message = message(packet, HASH, AMOUNT);
        let ldk = ldk_reason(&message, &signer);
        let unreadable = [
            Some(LocalHTLCFailureReason::InvalidOnionPayload),
            Some(LocalHTLCFailureReason::PaymentSecretRequired),
        ];
        let rewritten = rewriter().rewrite(&message, &signer);
        if unreadable.contains(&ldk) {
            prop_assert!(rewritten.unwrap().refusal.is_some());
        } else {
            prop_assert!(rewritten.is_err() || rewritten.unwrap().refusal.is_none());
        }
    }
}
