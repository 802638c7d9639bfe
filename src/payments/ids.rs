//! LDK's payment ids of our attempts.

use bitcoin::hashes::{Hash, HashEngine, sha256};
use lightning::ln::channelmanager::PaymentId;
use lightning_types::payment::PaymentHash;

use crate::model::attempt::AttemptRecord;

/// The payment id of an attempt: unique, and recomputed from its row after a restart.
///
/// LDK rejects a payment id that it already knows, so no attempt is sent twice.
pub(super) fn payment_id(attempt: &AttemptRecord) -> PaymentId {
    of(&attempt.payment_hash, attempt.attempt_id)
}

pub(super) fn of(payment_hash: &PaymentHash, attempt_id: u64) -> PaymentId {
    let mut engine = sha256::Hash::engine();
    engine.input(b"ampd attempt");
    engine.input(&payment_hash.0);
    engine.input(&attempt_id.to_be_bytes());
    PaymentId(sha256::Hash::from_engine(engine).to_byte_array())
}
