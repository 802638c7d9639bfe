//! User and password for bitcoind's RPC.

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};

/// A user with a random password. bitcoind gets only its hash, so it also writes a cookie file.
#[derive(Clone, Debug)]
pub(super) struct Login {
    pub user: String,
    pub password: String,
}

impl Login {
    /// Sufficiently random for a throw-away chain on the loopback interface.
    pub(super) fn random() -> Self {
        let password = format!("{:032x}", fastrand::u128(..));
        Self {
            user: "regtest".to_owned(),
            password,
        }
    }

    /// The value of bitcoind's `-rpcauth`: `user:salt$hash`.
    pub(super) fn rpcauth(&self) -> String {
        let salt = format!("{:032x}", fastrand::u128(..));
        let mut engine = HmacEngine::<sha256::Hash>::new(salt.as_bytes());
        engine.input(self.password.as_bytes());
        format!("{}:{salt}${}", self.user, Hmac::from_engine(engine))
    }
}
