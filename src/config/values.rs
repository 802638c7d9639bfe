//! The types of settings: each can hold only what is allowed.

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

/// Longest alias that fits into a node_announcement, in bytes (BOLT 7).
const ALIAS_LEN: usize = 32;

/// A node's name: at most 32 bytes without control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias(String);

impl Alias {
    /// Checks a text; `None` if it is too long or has control characters.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() <= ALIAS_LEN && !text.chars().any(char::is_control);
        fits.then(|| Alias(text.to_owned()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The alias as node_announcement wants it: filled up with zeros.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; ALIAS_LEN] {
        let mut bytes = [0; ALIAS_LEN];
        bytes[..self.0.len()].copy_from_slice(self.0.as_bytes());
        bytes
    }
}

/// A colour as red, green, blue; shown as `#rrggbb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Color(pub [u8; 3]);

impl Color {
    /// Reads `#rrggbb`.
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

/// A secret text: wiped when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    #[must_use]
    pub fn new(text: &str) -> Self {
        Secret(Zeroizing::new(text.to_owned()))
    }

    /// The text, for the one place that needs it.
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

/// How we prove to bitcoind who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BitcoindAuth {
    Password { user: String, password: Secret },
    Cookie(PathBuf),
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_fits_into_32_bytes() {
        assert_eq!(Alias::new(&"a".repeat(33)), None);
        assert_eq!(Alias::new(&"é".repeat(17)), None);
        assert_eq!(Alias::new("bell\u{7}"), None);
        let alias = Alias::new("carol").unwrap();
        assert_eq!(&alias.to_bytes()[..6], b"carol\0");
        assert_eq!(Alias::new(&"a".repeat(32)).unwrap().to_bytes(), [b'a'; 32]);
    }

    #[test]
    fn a_colour_is_six_digits() {
        assert_eq!(
            Color::parse("#3399FF").map(|color| color.to_string()),
            Some("#3399ff".into())
        );
        for text in ["3399ff", "#3399f", "#3399ff0", "#3399fg", "#é9é9"] {
            assert_eq!(Color::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert!(!format!("{:?}", Secret::new("hunter2")).contains("hunter2"));
    }
}
