//! The two 32-byte identifiers of an AMP payment.
//!
//! The payment address identifies the invoice being paid, the set id the payment itself. An invoice that
//! is paid several times has one payment address and a set id for each payment.

use std::fmt;
use std::str::FromStr;

use bitcoin::hex::{DisplayHex, FromHex};
use thiserror::Error;

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not 32 bytes in hexadecimal (64 digits)")]
pub struct ParseIdError(String);

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Creates an identifier from its bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// Returns a reference to the bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Returns the bytes.
            pub const fn to_bytes(self) -> [u8; 32] {
                self.0
            }

            /// Returns whether all 32 bytes are zero, which no honest sender uses.
            pub fn is_zero(&self) -> bool {
                self.0 == [0; 32]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0.as_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let bytes = <[u8; 32]>::from_hex(text);
                bytes.map(Self).map_err(|_| ParseIdError(text.to_owned()))
            }
        }
    };
}

id! {
    /// Identifies one AMP payment: the same in all its shards and retries, random for each payment.
    SetId
}

id! {
    /// The payment address of an invoice (BOLT 4's `payment_secret`). It is the only field that links an
    /// AMP HTLC to its invoice.
    PaymentAddr
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_round_trips() {
        let text = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        let id: SetId = text.parse().unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(format!("{id:?}"), format!("SetId({text})"));
    }

    #[test]
    fn rejects_malformed_ids() {
        for text in [
            "",
            "01",
            "zz",
            &"0".repeat(63),
            &"0".repeat(66),
            &"x".repeat(64),
        ] {
            let error = text.parse::<PaymentAddr>().unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("`{text}`")),
                "{error}"
            );
        }
    }

    #[test]
    fn only_all_zero_bytes_are_zero() {
        assert!(SetId::from_bytes([0; 32]).is_zero());
        let mut bytes = [0; 32];
        bytes[31] = 1;
        assert!(!SetId::from_bytes(bytes).is_zero());
    }
}
