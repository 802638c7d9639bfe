//! BIP 21 payment URIs (now BIP 321) with an on-chain address and a Lightning invoice.
//!
//! The scheme and the parameter keys are in lower case, because BIP 21 and wallets treat other spellings
//! as unknown keys. Bech32 addresses and invoices are valid in either case; in upper case they need less
//! space in a QR code ([`Link::for_qr`]).

use bitcoin::{Address, AddressType};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters except the unreserved ones of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

const MSAT_PER_SAT: u64 = 1_000;
const SAT_PER_BTC: u64 = 100_000_000;

/// The contents of a payment URI.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    /// The on-chain address.
    pub address: &'a Address,
    /// The amount in msat, rounded up to whole satoshi for the URI. 0 leaves the amount to the payer.
    pub amount_msat: u64,
    /// The description shown to the payer; omitted if empty.
    pub message: &'a str,
    /// A Lightning invoice for the same payment; omitted if empty.
    pub invoice: &'a str,
}

impl Link<'_> {
    /// Returns the URI.
    #[must_use]
    pub fn uri(&self) -> String {
        self.write(
            &self.address.to_string(),
            &self.invoice.to_ascii_lowercase(),
        )
    }

    /// Returns the URI for a QR code, with the case-insensitive parts in upper case.
    #[must_use]
    pub fn for_qr(&self) -> String {
        let address = if is_bech32(self.address) {
            self.address.to_string().to_ascii_uppercase()
        } else {
            self.address.to_string()
        };
        self.write(&address, &self.invoice.to_ascii_uppercase())
    }

    fn write(&self, address: &str, invoice: &str) -> String {
        let sat = self.amount_msat.div_ceil(MSAT_PER_SAT);
        let amount = (sat > 0).then(|| format!("amount={}", bitcoins(sat)));
        let message = (!self.message.is_empty())
            .then(|| format!("message={}", utf8_percent_encode(self.message, ESCAPED)));
        let lightning = (!invoice.is_empty())
            .then(|| format!("lightning={}", utf8_percent_encode(invoice, ESCAPED)));
        let parameters: Vec<String> = [amount, message, lightning].into_iter().flatten().collect();
        match parameters.is_empty() {
            true => format!("bitcoin:{address}"),
            false => format!("bitcoin:{address}?{}", parameters.join("&")),
        }
    }
}

/// Returns whether the address may be written in upper case. Base58 is case-sensitive.
fn is_bech32(address: &Address) -> bool {
    !matches!(
        address.address_type(),
        Some(AddressType::P2pkh | AddressType::P2sh)
    )
}

/// Formats an amount in decimal bitcoin without trailing zeros, as BIP 21 requires.
fn bitcoins(sat: u64) -> String {
    let (whole, rest) = (sat / SAT_PER_BTC, sat % SAT_PER_BTC);
    let text = format!("{whole}.{rest:08}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEGWIT: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";

    fn address(text: &str) -> Address {
        text.parse::<Address<_>>().unwrap().assume_checked()
    }

    fn link(address: &Address, amount_msat: u64, message: &str, invoice: &str) -> [String; 2] {
        let link = Link {
            address,
            amount_msat,
            message,
            invoice,
        };
        [link.uri(), link.for_qr()]
    }

    #[test]
    fn uri_contains_every_parameter_once() {
        let [uri, qr] = link(&address(SEGWIT), 1_000_000, "tea", "lnbc1qq");
        assert_eq!(
            uri,
            format!("bitcoin:{SEGWIT}?amount=0.00001&message=tea&lightning=lnbc1qq")
        );
        let upper = SEGWIT.to_uppercase();
        assert_eq!(
            qr,
            format!("bitcoin:{upper}?amount=0.00001&message=tea&lightning=LNBC1QQ")
        );
        let bare = format!("bitcoin:{SEGWIT}");
        assert_eq!(link(&address(SEGWIT), 0, "", "")[0], bare);
    }

    #[test]
    fn base58_addresses_keep_their_case() {
        let old = "1BoatSLRHtKNngkdXEeobR76b53LETtpyT";
        let [uri, qr] = link(&address(old), 0, "", "lnbc1");
        assert_eq!(uri, format!("bitcoin:{old}?lightning=lnbc1"));
        assert_eq!(qr, format!("bitcoin:{old}?lightning=LNBC1"));
    }

    #[test]
    fn a_message_cannot_add_parameters_or_lines() {
        let [uri, _] = link(
            &address(SEGWIT),
            0,
            "Tee & Kekse? 100 %=#\r\n\u{202e}+ü",
            "lnbc1",
        );
        let (_, message) = uri.split_once("?message=").unwrap();
        assert_eq!(
            message,
            "Tee%20%26%20Kekse%3F%20100%20%25%3D%23%0D%0A%E2%80%AE%2B%C3%BC&lightning=lnbc1"
        );
    }

    #[test]
    fn formats_exact_amounts_in_bitcoin() {
        for (sat, text) in [
            (1, "0.00000001"),
            (10, "0.0000001"),
            (100_000_000, "1"),
            (120_000_000, "1.2"),
            (2_100_000_000_000_000, "21000000"),
            (1_000_000_000, "10"),
        ] {
            assert_eq!(bitcoins(sat), text);
        }
        let [uri, _] = link(&address(SEGWIT), 1_001, "", "");
        assert!(uri.ends_with("?amount=0.00000002"), "{uri}");
    }
}
