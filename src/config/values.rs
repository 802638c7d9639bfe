//! Types of settings that can hold valid values only.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Length of the alias in a node_announcement, in bytes (BOLT 7).
const ALIAS_LEN: usize = 32;

/// A node's alias: at most 32 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(String);

impl Alias {
    /// Returns `None` if the text is too long or contains control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= ALIAS_LEN && !text.chars().any(char::is_control);
        fits.then(|| Alias(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the alias as in a node_announcement, padded with zeros.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ALIAS_LEN] {
        let mut bytes = [0; ALIAS_LEN];
        bytes[..self.0.len()].copy_from_slice(self.0.as_bytes());
        bytes
    }
}

/// A color as red, green and blue; displayed as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// Parses `#rrggbb`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#')?;
        if digits.len() != 6 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        Some(Color([part(0)?, part(2)?, part(4)?]))
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

/// A secret string: wiped when dropped, not shown by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Secret(Zeroizing::new(text.to_owned()))
    }

    /// Returns the secret. Call it only where the secret is used.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Credentials for bitcoind's RPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BitcoindAuth {
    Password {
        user: String,
        password: Secret,
    },
    /// The path of bitcoind's cookie file.
    Cookie(PathBuf),
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alias_is_limited_to_32_bytes() {
        assert_eq!(Alias::new(&"a".repeat(33)), None);
        assert_eq!(Alias::new(&"é".repeat(17)), None);
        assert_eq!(Alias::new("bell\u{7}"), None);
        let alias = Alias::new("carol").unwrap();
        assert_eq!(&alias.to_bytes()[..6], b"carol\0");
        assert_eq!(Alias::new(&"a".repeat(32)).unwrap().to_bytes(), [b'a'; 32]);
    }

    #[test]
    fn color_is_six_hex_digits() {
        assert_eq!(
            Color::parse("#3399FF").map(|color| color.to_string()),
            Some("#3399ff".into())
        );
        for text in ["3399ff", "#3399f", "#3399ff0", "#3399fg", "#é9é9"] {
            assert_eq!(Color::parse(text), None, "{text}");
        }
    }

    #[test]
    fn debug_output_hides_secrets() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
