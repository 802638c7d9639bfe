//! The seed: BIP 39 words in a file of mode 0600, made at the first start.

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

/// Name of the file in the network's data directory.
const FILE: &str = "seed";
/// 24 words.
const ENTROPY: usize = 32;
/// Separates LDK's keys from those of the on-chain wallet, which any BIP 84 wallet can restore.
const LDK_LABEL: &[u8] = b"ampd lightning keys v1";

/// What all keys of the node derive from.
pub(super) struct Seed(Zeroizing<[u8; 64]>);

impl Seed {
    /// Reads the words of an earlier start; `None` if there was none.
    ///
    /// # Errors
    /// If the file is there but is not 12 or 24 good words. It is never written over.
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
            count => Err(seed_error(format!("{count} words instead of 12 or 24"))),
        }
    }

    /// Makes new words. They are on disk when this returns.
    ///
    /// # Errors
    /// If there is no randomness, or the file cannot be written, or is there already.
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
            "made a new seed: write down the 24 words in {} and keep them safe",
            path.display()
        );
        Ok(Self::from(&mnemonic))
    }

    /// The root of the on-chain wallet (BIP 32).
    ///
    /// # Errors
    /// Practically never: one seed in 2^127 gives no key.
    pub(super) fn wallet_key(&self, network: Network) -> Result<WalletKey, StartError> {
        let key = Xpriv::new_master(network, &*self.0).map_err(|error| StartError::Seed {
            path: PathBuf::from(FILE),
            reason: error.to_string(),
        })?;
        Ok(WalletKey(Box::new(key)))
    }

    /// What LDK's keys derive from.
    pub(super) fn lightning_seed(&self) -> Zeroizing<[u8; 32]> {
        let mut engine = HmacEngine::<sha256::Hash>::new(LDK_LABEL);
        engine.input(&*self.0);
        Zeroizing::new(Hmac::from_engine(engine).to_byte_array())
    }

    /// Without a passphrase.
    fn from(mnemonic: &Mnemonic) -> Self {
        Self(Zeroizing::new(mnemonic.to_seed_normalized("")))
    }
}

/// The root of the on-chain wallet. `Xpriv` is copied wherever it is moved, so it stays in one place,
/// and is wiped there.
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

/// Where the file is, for messages.
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
    fn the_same_words_give_the_same_keys() {
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
    fn damaged_words_are_refused_and_left_alone() {
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
    fn twelve_words_are_taken_too() {
        let dir = tempfile::tempdir().unwrap();
        let words = "abandon abandon abandon abandon abandon abandon abandon abandon abandon \
                     abandon abandon about";
        std::fs::write(path(dir.path()), words).unwrap();
        assert!(Seed::read(dir.path()).unwrap().is_some());
    }
}
