//! Creating and decoding invoices: `addinvoice`, `decodepayreq`.

use bitcoin::Address;
use bitcoin::address::NetworkUnchecked;
use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::output::{print, print_json};
use super::qr::QrFlags;
use super::values::{Hex, bare_msat, hex, hex_32, msat, signed, without_scheme};
use ampd_text::bip21::Link;
use lnd_api::proto::lnrpc::{Invoice, NewAddressRequest, PayReqString};
use lnd_api::to_json;

/// Add an invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct AddInvoice {
    /// Amount (sat, or with a unit: 50000msat); without one, the payer chooses it
    #[arg(value_parser = msat)]
    value: Option<u64>,
    /// Preimage (32 bytes in hex) [default: random]
    #[arg(id = "secret", value_name = "PREIMAGE", value_parser = hex_32)]
    secret: Option<Hex>,
    /// Description shown to the payer
    #[arg(long, default_value = "")]
    memo: String,
    /// Preimage (32 bytes in hex) [default: random]
    #[arg(long, conflicts_with = "secret", value_parser = hex_32)]
    preimage: Option<Hex>,
    /// Amount (sat, or with a unit: 50000msat); without one, the payer chooses it
    #[arg(long, conflicts_with = "value", value_parser = msat)]
    amt: Option<u64>,
    /// Amount (msat)
    #[arg(long, conflicts_with_all = ["value", "amt"], value_parser = bare_msat)]
    amt_msat: Option<u64>,
    /// SHA-256 hash of a description that is too long for the memo (hex)
    #[arg(long, value_parser = hex)]
    description_hash: Option<Hex>,
    /// On-chain fallback address for payers without Lightning
    #[arg(long, default_value = "")]
    fallback_addr: String,
    /// Seconds until the invoice expires, at most a year, or with --amp also "never" [default: a day, with
    /// --amp 30 days]
    #[arg(long, value_name = "SECONDS|never", value_parser = expiry)]
    expiry: Option<i64>,
    /// Final CLTV delta (blocks); 0 means the node's default
    #[arg(long, default_value_t = 0)]
    cltv_expiry_delta: u64,
    /// Include route hints for unannounced channels
    #[arg(long)]
    private: bool,
    /// Add a static AMP invoice, which can be paid any number of times by payers that support AMP
    #[arg(long)]
    amp: bool,
    /// Hide the node's public key behind blinded paths; not supported
    #[arg(long)]
    blind: bool,
    /// Also print a BIP 21 link with the invoice and an on-chain address: --fallback_addr, or a new one.
    /// On-chain payments do not settle the invoice
    #[arg(long)]
    bip21: bool,
    #[command(flatten)]
    qr: QrFlags,
}

impl AddInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let qr = self.qr.clone();
        // Before the invoice, so that none is added if there is no address.
        let address = match self.bip21 {
            true => Some(self.address(node).await?),
            false => None,
        };
        let (amount_msat, memo) = (self.msat(), self.memo.clone());
        let added = node.lightning.add_invoice(self.request()).await?;
        let added = added.into_inner();
        let Some(address) = address else {
            print(&added)?;
            return qr.draw(&added.payment_request);
        };
        let link = Link {
            address: &address,
            amount_msat,
            message: &memo,
            invoice: &added.payment_request,
        };
        let mut shown = to_json(&added)?;
        shown["bip21"] = link.uri().into();
        print_json(&shown)?;
        qr.draw_link(&link.for_qr())
    }

    /// Returns the on-chain address of the BIP 21 link.
    async fn address(&self, node: &mut Node) -> Result<Address, CliError> {
        let text = match self.fallback_addr.as_str() {
            "" => {
                let request = NewAddressRequest::default();
                node.lightning
                    .new_address(request)
                    .await?
                    .into_inner()
                    .address
            }
            given => given.to_owned(),
        };
        let address = text.parse::<Address<NetworkUnchecked>>();
        // The node checks the network.
        address
            .map(Address::assume_checked)
            .or_else(|why| error(format!("{text:?} is not an address: {why}")))
    }

    fn msat(&self) -> u64 {
        self.amt_msat.or(self.amt).or(self.value).unwrap_or(0)
    }

    fn request(self) -> Invoice {
        let msat = self.msat();
        // Only one of the two fields may be set; amounts are usually whole satoshis.
        let (value, value_msat) = if msat.is_multiple_of(1000) {
            (msat / 1000, 0)
        } else {
            (0, msat)
        };
        let bytes = |hex: Option<Hex>| hex.map(|hex| hex.0).unwrap_or_default();
        Invoice {
            memo: self.memo,
            r_preimage: bytes(self.preimage.or(self.secret)),
            value: signed(value),
            value_msat: signed(value_msat),
            description_hash: bytes(self.description_hash),
            expiry: self.expiry.unwrap_or(0),
            fallback_addr: self.fallback_addr,
            cltv_expiry: self.cltv_expiry_delta,
            private: self.private,
            is_amp: self.amp,
            is_blinded: self.blind,
            ..Default::default()
        }
    }
}

/// The API's `expiry` of invoices that never expire.
const NEVER: i64 = i64::MAX;

fn expiry(text: &str) -> Result<i64, String> {
    match text {
        "never" => Ok(NEVER),
        seconds => seconds
            .parse::<u32>()
            .map(i64::from)
            .map_err(|_| format!("{text:?} is neither a number of seconds nor \"never\"")),
    }
}

/// Decode an invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct DecodePayReq {
    /// Invoice to decode
    #[arg(
        id = "invoice",
        value_name = "PAY_REQ",
        required_unless_present = "pay_req"
    )]
    invoice: Option<String>,
    /// Invoice to decode
    #[arg(long, conflicts_with = "invoice")]
    pay_req: Option<String>,
}

impl DecodePayReq {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let pay_req = self.pay_req.or(self.invoice).unwrap_or_default();
        let request = PayReqString {
            pay_req: without_scheme(&pay_req).to_owned(),
        };
        print(node.lightning.decode_pay_req(request).await?.get_ref())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        command: AddInvoice,
    }

    fn request(args: &[&str]) -> Invoice {
        let line = Line::parse_from(std::iter::once(&"ampcli").chain(args));
        line.command.request()
    }

    #[test]
    fn flags_are_copied_to_the_request() {
        let hash = "11".repeat(32);
        let expected = Invoice {
            memo: "tea".into(),
            value: 5,
            description_hash: vec![0x11; 32],
            expiry: 60,
            fallback_addr: "bc1".into(),
            cltv_expiry: 90,
            private: true,
            is_amp: true,
            ..Default::default()
        };
        let args = [
            "5",
            "--memo=tea",
            "--amp",
            "--private",
            "--expiry=60",
            "--fallback_addr=bc1",
            "--cltv_expiry_delta=90",
            "--description_hash",
            &hash,
        ];
        assert_eq!(request(&args), expected);
        assert_eq!(request(&[]), Invoice::default());
        assert_eq!(request(&["--amt_msat=1500"]).value_msat, 1_500);
    }

    #[test]
    fn expiry_is_a_number_of_seconds_or_never() {
        assert_eq!(expiry("never"), Ok(i64::MAX));
        assert_eq!(expiry("0"), Ok(0));
        assert_eq!(expiry("31536000"), Ok(31_536_000));
        for text in ["", "-1", "1d", "Never", "9223372036854775807"] {
            assert!(expiry(text).is_err(), "{text}");
        }
    }
}
