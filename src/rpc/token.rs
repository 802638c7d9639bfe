//! The token that a client must send: whoever can read its file may use the node.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bitcoin::hashes::cmp::fixed_time_eq;
use bitcoin::hex::{DisplayHex, FromHex};
use zeroize::Zeroizing;

use super::TOKEN_FILE;

/// Bytes of a token, in hex twice as many.
const LENGTH: usize = 32;

/// 32 random bytes, made anew at each start.
#[derive(Clone)]
pub struct Token(Zeroizing<[u8; LENGTH]>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the operating system's random number generator failed: {0}")]
    Random(getrandom::Error),
    #[error("cannot write {}: {source}; check the permissions of its directory and the free space", .path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Token {
    /// Draws a token and writes it to `rpc.token` in `directory`, readable by the owner only.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn create(directory: &Path) -> Result<Self, TokenError> {
        let mut bytes = Zeroizing::new([0; LENGTH]);
        getrandom::fill(&mut *bytes).map_err(TokenError::Random)?;
        let token = Self(bytes);
        let path = directory.join(TOKEN_FILE);
        token
            .write(&path)
            .map_err(|source| TokenError::Write { path, source })?;
        Ok(token)
    }

    /// First elsewhere, then renamed: no reader ever sees half a token.
    fn write(&self, path: &Path) -> std::io::Result<()> {
        let unfinished = path.with_extension("token.new");
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        let text = Zeroizing::new(self.0.to_lower_hex_string());
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    }

    /// Whether `hex` is this token. Takes the same time for every wrong token of the right length.
    pub fn matches(&self, hex: &str) -> bool {
        let Ok(given) = <[u8; LENGTH]>::from_hex(hex.trim()).map(Zeroizing::new) else {
            return false;
        };
        fixed_time_eq(&*given, &*self.0)
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn file_holds_the_token_for_its_owner_only() {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(directory.path()).unwrap();
        let path = directory.path().join(TOKEN_FILE);
        let text = fs::read_to_string(&path).unwrap();
        assert!(token.matches(&text));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn each_start_makes_another_token() {
        let directory = tempfile::tempdir().unwrap();
        let first = Token::create(directory.path()).unwrap();
        Token::create(directory.path()).unwrap();
        let text = fs::read_to_string(directory.path().join(TOKEN_FILE)).unwrap();
        assert!(!first.matches(&text));
    }

    #[test]
    fn what_is_no_token_does_not_match() {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(directory.path()).unwrap();
        for text in ["", "00", "zz", &"00".repeat(32), &"00".repeat(33)] {
            assert!(!token.matches(text), "{text}");
        }
    }

    #[test]
    fn debug_does_not_tell_the_token() {
        let directory = tempfile::tempdir().unwrap();
        let token = Token::create(directory.path()).unwrap();
        assert_eq!(format!("{token:?}"), "Token(..)");
    }
}
