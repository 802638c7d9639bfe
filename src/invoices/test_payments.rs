//! Payments to a single hash that arrive in a [`Fixture`].

use std::collections::BTreeMap;

use lightning::ln::types::ChannelId;
use lightning_types::payment::PaymentHash;

use super::inbound_htlcs::{Claimable, IncomingHtlc};
use super::test_registry::{Answer, Fixture, HEIGHT};
use ldk_amp::HtlcKey;

/// All HTLCs here are on one channel.
pub(super) fn key(htlc_id: u64) -> HtlcKey {
    HtlcKey {
        channel_id: ChannelId([1; 32]),
        htlc_id,
    }
}

pub(super) fn failed(hash: PaymentHash) -> Vec<Answer> {
    vec![Answer::Fail(hash)]
}

/// LDK's report of a payment whose first HTLC expires 100 blocks after [`HEIGHT`].
pub(super) fn claimable(hash: PaymentHash, amount_msat: u64) -> Claimable {
    Claimable {
        payment_hash: hash,
        amount_msat,
        claim_deadline: Some(HEIGHT + 100 - 39),
        channels: Vec::new(),
        custom_records: BTreeMap::new(),
    }
}

impl Fixture {
    /// Gives LDK HTLCs with these ids, which together have the amount.
    pub(super) fn bring(&self, hash: PaymentHash, htlc_ids: &[u64], amount_msat: u64) {
        for htlc_id in htlc_ids {
            let key = key(*htlc_id);
            let htlc = IncomingHtlc {
                key,
                amount_msat: amount_msat / htlc_ids.len() as u64,
                cltv_expiry: HEIGHT + 100,
            };
            self.port.forget(key);
            let mut present = self.port.present.lock().unwrap();
            present.push((hash, htlc));
        }
    }

    /// The HTLCs arrive, and LDK reports the payment as claimable.
    pub(super) fn pay(&self, hash: PaymentHash, htlc_ids: &[u64], amount_msat: u64) -> Vec<Answer> {
        self.bring(hash, htlc_ids, amount_msat);
        self.tell(hash, amount_msat)
    }

    /// LDK reports the payment as claimable (again).
    pub(super) fn tell(&self, hash: PaymentHash, amount_msat: u64) -> Vec<Answer> {
        self.registry.accept_bolt11(claimable(hash, amount_msat));
        self.store.flush();
        self.port.answers()
    }
}
