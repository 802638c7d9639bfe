//! The seed: BIP 39 words in a file of mode 0600, created at the first start.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bip39::{Language, Mnemonic};
use bitcoin::Network;
use bitcoin::bip32::{ChainCode, Xpriv};
use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use zeroize::Zeroizing;

use super::StartError;

/// File name in the network's data directory.
const FILE: &str = "seed";
/// Entropy in bytes, encoded as 24 words.
const ENTROPY: usize = 32;
/// Domain separator of LDK's keys. The on-chain wallet does not use it, so that any BIP 84 wallet can
/// restore it.
const LDK_LABEL: &[u8] = b"ampd lightning keys v1";

/// The BIP 39 seed from which all keys of the node are derived.
pub(super) struct Seed(Zeroizing<[u8; 64]>);

impl Seed {
    /// Reads the seed file; `None` if there is none.
    ///
    /// # Errors
    /// If the file exists but does not hold 12 or 24 valid words. It is never overwritten.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, StartError> {
        let path = directory.join(FILE);
        let seed_error = |reason: String| StartError::Seed {
            path: path.clone(),
            reason,
        };
        let words = match std::fs::read_to_string(&path) {
            Ok(words) => Zeroizing::new(words),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(seed_error(error.to_string())),
        };
        let mnemonic = Mnemonic::parse_in_normalized(Language::English, words.trim())
            .map_err(|error| seed_error(error.to_string()))?;
        match mnemonic.word_count() {
            12 | 24 => Ok(Some(Self::from(&mnemonic))),
            count => Err(seed_error(format!(
                "found {count} words, expected 12 or 24"
            ))),
        }
    }

    /// Generates a seed and writes it to disk before returning.
    ///
    /// # Errors
    /// If there is no randomness, or if the file exists or cannot be written.
    pub(super) fn create(directory: &Path) -> Result<Self, StartError> {
        let mut entropy = Zeroizing::new([0; ENTROPY]);
        let random = |error: String| StartError::Randomness(error);
        getrandom::fill(&mut *entropy).map_err(|error| random(error.to_string()))?;
        let mnemonic =
            Mnemonic::from_entropy(&*entropy).map_err(|error| random(error.to_string()))?;
        let path = directory.join(FILE);
        write(directory, &path, &mnemonic).map_err(|source| StartError::Write {
            path: path.clone(),
            source,
        })?;
        tracing::info!(
            "created a new seed: write down the 24 words in {} and keep them safe",
            path.display()
        );
        Ok(Self::from(&mnemonic))
    }

    /// The BIP 32 master key of the on-chain wallet.
    ///
    /// # Errors
    /// If the seed yields no valid key: a chance of 1 in 2^127.
    pub(super) fn wallet_key(&self, network: Network) -> Result<WalletKey, StartError> {
        let key = Xpriv::new_master(network, &*self.0).map_err(|error| StartError::Seed {
            path: PathBuf::from(FILE),
            reason: error.to_string(),
        })?;
        Ok(WalletKey(Box::new(key)))
    }

    /// The seed for LDK's [`KeysManager`](lightning::sign::KeysManager).
    pub(super) fn lightning_seed(&self) -> Zeroizing<[u8; 32]> {
        let mut engine = HmacEngine::<sha256::Hash>::new(LDK_LABEL);
        engine.input(&*self.0);
        Zeroizing::new(Hmac::from_engine(engine).to_byte_array())
    }

    /// Derives the seed with an empty BIP 39 passphrase.
    fn from(mnemonic: &Mnemonic) -> Self {
        Self(Zeroizing::new(mnemonic.to_seed_normalized("")))
    }
}

/// The master key of the on-chain wallet. Moving an `Xpriv` leaves a copy behind, so it is boxed and
/// erased in place.
pub(super) struct WalletKey(Box<Xpriv>);

impl WalletKey {
    pub(super) fn get(&self) -> &Xpriv {
        &self.0
    }
}

impl Drop for WalletKey {
    fn drop(&mut self) {
        self.0.private_key.non_secure_erase();
        self.0.chain_code = ChainCode::from([0; 32]);
    }
}

/// The path of the seed file.
pub(super) fn path(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

fn write(directory: &Path, path: &Path, mnemonic: &Mnemonic) -> std::io::Result<()> {
    let mut words = Zeroizing::new(String::with_capacity(512));
    for word in mnemonic.words() {
        if !words.is_empty() {
            words.push(' ');
        }
        words.push_str(word);
    }
    words.push('\n');
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(words.as_bytes())?;
    file.sync_all()?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn stored_seed_reproduces_the_keys() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Seed::read(dir.path()).unwrap().is_none());
        let made = Seed::create(dir.path()).unwrap();
        let read = Seed::read(dir.path()).unwrap().unwrap();
        assert_eq!(made.lightning_seed(), read.lightning_seed());
        let mode = std::fs::metadata(path(dir.path()))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn invalid_seed_files_are_rejected_and_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        for words in [
            "",
            "abandon abandon",
            "not words at all",
            &"abandon ".repeat(24),
        ] {
            std::fs::write(path(dir.path()), words).unwrap();
            assert!(matches!(
                Seed::read(dir.path()),
                Err(StartError::Seed { .. })
            ));
            assert!(Seed::create(dir.path()).is_err());
            assert_eq!(std::fs::read_to_string(path(dir.path())).unwrap(), words);
        }
    }

    #[test]
    fn accepts_twelve_words() {
        let dir = tempfile::tempdir().unwrap();
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
        std::fs::write(path(dir.path()), words).unwrap();
        assert!(Seed::read(dir.path()).unwrap().is_some());
    }
}
