//! Making and reading payment requests: `addinvoice`, `decodepayreq`.

use clap::Args;

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::values::{Hex, bare_msat, hex, hex_32, msat, signed};
use crate::rpc::proto::lnrpc::{Invoice, PayReqString};

/// Make an invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct AddInvoice {
    /// The amount (sat, or with a unit: 50000msat); none: the payer chooses
    #[arg(value_parser = msat)]
    value: Option<u64>,
    #[arg(id = "secret", value_name = "PREIMAGE", value_parser = hex_32)]
    secret: Option<Hex>,
    /// What it is for, as the payer reads it
    #[arg(long, default_value = "")]
    memo: String,
    /// The preimage (32 bytes in hex); none: a random one
    #[arg(long, conflicts_with = "secret", value_parser = hex_32)]
    preimage: Option<Hex>,
    /// The amount (sat, or with a unit)
    #[arg(long, conflicts_with = "value", value_parser = msat)]
    amt: Option<u64>,
    /// The amount (msat)
    #[arg(long, conflicts_with_all = ["value", "amt"], value_parser = bare_msat)]
    amt_msat: Option<u64>,
    /// SHA256 of a description that is too long for the memo (hex)
    #[arg(long, value_parser = hex)]
    description_hash: Option<Hex>,
    /// On-chain address for payers without Lightning
    #[arg(long, default_value = "")]
    fallback_addr: String,
    /// Seconds until the invoice expires [default: a day, AMP 30 days]
    #[arg(long, default_value_t = 0)]
    expiry: i64,
    /// Blocks for the last hop
    #[arg(long, default_value_t = 0)]
    cltv_expiry_delta: u64,
    /// Tell the payer of our unannounced channels
    #[arg(long)]
    private: bool,
    /// An AMP invoice: it can be paid again and again
    #[arg(long)]
    amp: bool,
    /// Hide this node behind blinded paths
    #[arg(long)]
    blind: bool,
}

impl AddInvoice {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        print(node.lightning.add_invoice(self.request()).await?.get_ref())
    }

    fn request(self) -> Invoice {
        let msat = self.amt_msat.or(self.amt).or(self.value).unwrap_or(0);
        // Only one of the two may be set; whole satoshi are the usual case.
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
            expiry: self.expiry,
            fallback_addr: self.fallback_addr,
            cltv_expiry: self.cltv_expiry_delta,
            private: self.private,
            is_amp: self.amp,
            is_blinded: self.blind,
            ..Default::default()
        }
    }
}

/// What an invoice says.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct DecodePayReq {
    #[arg(
        id = "invoice",
        value_name = "PAY_REQ",
        required_unless_present = "pay_req"
    )]
    invoice: Option<String>,
    /// The invoice
    #[arg(long, conflicts_with = "invoice")]
    pay_req: Option<String>,
}

impl DecodePayReq {
    pub async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let pay_req = self.pay_req.or(self.invoice).unwrap_or_default();
        let request = PayReqString {
            pay_req: without_scheme(&pay_req).to_owned(),
        };
        print(node.lightning.decode_pay_req(request).await?.get_ref())
    }
}

/// An invoice as it is copied from a page may begin with `lightning:`.
pub fn without_scheme(invoice: &str) -> &str {
    let invoice = invoice.trim();
    match invoice.get(..10) {
        Some(scheme) if scheme.eq_ignore_ascii_case("lightning:") => &invoice[10..],
        _ => invoice,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_an_invoice_is_dropped() {
        assert_eq!(without_scheme("LIGHTNING:lnbc1"), "lnbc1");
        assert_eq!(without_scheme(" lnbcrt1xyz\n"), "lnbcrt1xyz");
        assert_eq!(without_scheme("äöüßäöüß"), "äöüßäöüß");
    }
}
