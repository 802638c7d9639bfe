//! Why a node does not start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::chain::ChainError;
use crate::channels::config::SettingsError;
use crate::files::FileError;
use crate::peers::announce::AnnounceError;
use crate::peers::listen::ListenError;
use crate::rpc::{MacaroonFileError, TlsError};
use crate::storage::{NO_OLD_COPY, StorageError};
use crate::wallet::WalletError;
use crate::web::DonationError;

/// One line each, for a person who starts the node.
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
    #[error("cannot read the seed {}: {reason}; restore the file from your backup of the words", .path.display())]
    Seed { path: PathBuf, reason: String },
    #[error(
        "the seed {} is missing, but {} exists: restore the seed file from your backup of the words",
        .seed.display(),
        .database.display()
    )]
    SeedMissing { seed: PathBuf, database: PathBuf },
    #[error("no randomness from the operating system: {0}")]
    Randomness(String),
    #[error("the system clock is before 1970; set it")]
    Clock,
    #[error("cannot listen for callers on {address}: {source}; choose another `rpc-listen`")]
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
    fn nobody_is_told_to_start_with_an_old_copy_of_the_channels() {
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
