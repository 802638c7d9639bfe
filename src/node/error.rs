//! Errors that keep the node from starting.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::chain::ChainError;
use crate::channels::config::SettingsError;
use crate::peers::announce::AnnounceError;
use crate::peers::listen::ListenError;
use crate::rpc::{MacaroonFileError, TlsError};
use crate::storage::{NO_OLD_COPY, StorageError};
use crate::wallet::WalletError;
use crate::web::DonationError;
use ampd_files::FileError;

/// A failed start. Each message is one line that says what is wrong and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot create {}: {source}; choose another `data-dir`", .path.display())]
    Directory {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("cannot write {}: {source}; check its permissions and the free space", .path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "cannot read the seed {}: {reason}; restore it from your backup of the seed words",
        .path.display()
    )]
    Seed { path: PathBuf, reason: String },
    #[error(
        "the seed file {} is missing, but the database {} exists; restore the seed file from your \
         backup of the seed words",
        .seed.display(),
        .database.display()
    )]
    SeedMissing { seed: PathBuf, database: PathBuf },
    #[error("the operating system provides no randomness: {0}")]
    Randomness(String),
    #[error("the system clock is set to a time before 1970; correct it")]
    Clock,
    #[error("cannot listen for gRPC on {address}: {source}; choose another `rpc-listen`")]
    RpcListen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "cannot listen for REST on {address}: {source}; choose another `rest-listen`, or \"none\""
    )]
    RestListen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error(
        "cannot serve the donation page on {address}: {source}; choose another `donations-listen`"
    )]
    DonationsListen {
        address: SocketAddr,
        source: std::io::Error,
    },
    #[error("cannot serve metrics on {address}: {reason}; choose another `metrics-listen`")]
    MetricsListen { address: SocketAddr, reason: String },
    #[error("the channel manager in the database cannot be read: {0}; {NO_OLD_COPY}")]
    Manager(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error(transparent)]
    Donations(#[from] DonationError),
    #[error(transparent)]
    Wallet(#[from] WalletError),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    #[error(transparent)]
    Channels(#[from] SettingsError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Macaroons(#[from] MacaroonFileError),
    #[error("cannot write {0}; check its permissions and the free space")]
    File(#[from] FileError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_error_advises_starting_from_an_old_copy() {
        let damaged = || "x".to_owned();
        let errors = [
            StartError::Manager(damaged()),
            StorageError::Damaged(damaged()).into(),
            WalletError::Damaged(damaged()).into(),
        ];
        for error in errors {
            let text = error.to_string();
            assert!(!text.contains("restore"), "{text}");
            assert!(
                text.contains("Do NOT start ampd from an old copy"),
                "{text}"
            );
            assert!(text.contains("docs/recovery.md"), "{text}");
        }
    }
}
