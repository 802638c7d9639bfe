//! Sending payments: `sendpayment` and `payinvoice`.

use clap::Args;

use super::connection::Node;
use super::error::{CliError, error};
use super::follow::{follow, require_success};
use super::keysend::set_keysend;
use super::payment_flags::PaymentFlags;
use super::prompt::confirm;
use super::route_hints::{RouteHints, route_hints};
use super::values::{hex, msat, signed, without_scheme};
use ampd_text::sanitize::escape;
use lnd_api::proto::lnrpc::{PayReq, PayReqString};
use lnd_api::proto::routerrpc::SendPaymentRequest;

/// Send a payment to a public key or an invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct SendPayment {
    /// DEST AMT PAYMENT_HASH FINAL_CLTV_DELTA PAY_ADDR, except those set by flags; no PAYMENT_HASH with
    /// --amp or --keysend
    #[arg(value_name = "VALUES")]
    values: Vec<String>,
    /// Public key of the receiver
    #[arg(long, short)]
    dest: Option<String>,
    /// Amount (sat, or with a unit: 50000msat, 0.001btc)
    #[arg(long, short)]
    amt: Option<String>,
    /// Payment hash (hex), whose preimage the receiver knows
    #[arg(long, short = 'r')]
    payment_hash: Option<String>,
    /// Final CLTV delta (blocks) [default: the node's]
    #[arg(long)]
    final_cltv_delta: Option<String>,
    /// Pay with keysend: a single HTLC with the preimage in the onion payload
    #[arg(long)]
    keysend: bool,
    /// Route hints to the receiver, as printed by decodepayreq (JSON)
    #[arg(long, value_parser = route_hints)]
    route_hints: Option<RouteHints>,
    #[command(flatten)]
    flags: PaymentFlags,
}

impl SendPayment {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request()?;
        pay(node, &self.flags, request).await
    }

    fn request(&self) -> Result<SendPaymentRequest, CliError> {
        if self.keysend && self.flags.is_amp() {
            return error("either keysend or amp may be set, but not both");
        }
        match &self.flags.pay_req {
            Some(invoice) => self.to_invoice(invoice),
            None => self.to_public_key(),
        }
    }

    fn to_invoice(&self, invoice: &str) -> Result<SendPaymentRequest, CliError> {
        if !self.values.is_empty() {
            return error("positional arguments cannot be used with --pay_req: use flags");
        }
        if self.keysend || self.route_hints.is_some() {
            return error("--keysend and --route_hints cannot be used with --pay_req");
        }
        invoice_request(&self.flags, invoice, self.amt.as_deref())
    }

    fn to_public_key(&self) -> Result<SendPaymentRequest, CliError> {
        let mut values = self.values.iter();
        let mut either = |flag: &Option<String>| flag.clone().or_else(|| values.next().cloned());
        let dest = either(&self.dest);
        let amount = either(&self.amt);
        let hash = if self.makes_hash() {
            self.payment_hash.clone()
        } else {
            either(&self.payment_hash)
        };
        let delta = either(&self.final_cltv_delta);
        let address = either(&self.flags.pay_addr);
        if let Some(extra) = values.next() {
            return error(format!("unexpected argument {extra:?}"));
        }
        let mut request = self.flags.request()?;
        request.dest = destination(dest.as_deref())?;
        if amount.is_none() {
            return error("the amount is missing: set AMT or --amt");
        }
        set_amount(&mut request, amount.as_deref())?;
        self.set_hash(&mut request, hash.as_deref())?;
        request.final_cltv_delta = match delta {
            Some(text) => text
                .parse()
                .or_else(|_| error(format!("{text:?} is not a valid CLTV delta")))?,
            None => 0,
        };
        request.payment_addr = payment_addr(address.as_deref())?;
        request.route_hints = self
            .route_hints
            .clone()
            .map_or_else(Vec::new, |hints| hints.0);
        Ok(request)
    }

    /// Returns whether the sender generates the payment hash.
    fn makes_hash(&self) -> bool {
        self.flags.is_amp() || self.keysend
    }

    fn set_hash(
        &self,
        request: &mut SendPaymentRequest,
        given: Option<&str>,
    ) -> Result<(), CliError> {
        match given {
            Some(_) if self.flags.is_amp() => error("cannot set payment hash when using amp"),
            Some(_) if self.keysend => error("cannot set payment hash when using keysend"),
            Some(text) => {
                request.payment_hash = payment_hash(text)?;
                Ok(())
            }
            None if self.keysend => set_keysend(request),
            None if self.flags.is_amp() => Ok(()),
            None => error(
                "the payment hash is missing: set --payment_hash, or pay with --amp or --keysend",
            ),
        }
    }
}

fn destination(text: Option<&str>) -> Result<Vec<u8>, CliError> {
    let Some(text) = text else {
        return error(
            "the destination is missing: set DEST or --dest, or --pay_req for an invoice",
        );
    };
    let key = hex(text)
        .map_err(|text| CliError::Text(format!("dest: {text}")))?
        .0;
    match key.len() {
        33 => Ok(key),
        len => error(format!(
            "dest node pubkey must be exactly 33 bytes, is instead: {len}"
        )),
    }
}

fn payment_hash(text: &str) -> Result<Vec<u8>, CliError> {
    let hash = hex(text).map_err(|text| CliError::Text(format!("payment_hash: {text}")))?;
    match hash.0.len() {
        32 => Ok(hash.0),
        len => error(format!(
            "payment hash must be exactly 32 bytes, is instead {len}"
        )),
    }
}

fn payment_addr(text: Option<&str>) -> Result<Vec<u8>, CliError> {
    let address =
        hex(text.unwrap_or("")).map_err(|text| CliError::Text(format!("pay_addr: {text}")))?;
    match address.0.len() {
        0 | 32 => Ok(address.0),
        len => error(format!(
            "payment addr must be exactly 32 bytes, is instead {len}"
        )),
    }
}

/// Sets one of the API's two amount fields: that for satoshis if the amount is a whole number of them.
fn set_amount(request: &mut SendPaymentRequest, text: Option<&str>) -> Result<(), CliError> {
    let Some(text) = text else { return Ok(()) };
    let amount = msat(text).map_err(CliError::Text)?;
    match amount % 1000 {
        0 => request.amt = signed(amount / 1000),
        _ => request.amt_msat = signed(amount),
    }
    Ok(())
}

fn amount_msat(request: &SendPaymentRequest) -> u64 {
    let msat = request
        .amt
        .saturating_mul(1000)
        .saturating_add(request.amt_msat);
    u64::try_from(msat).unwrap_or(0)
}

/// Pay an invoice.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct PayInvoice {
    /// Invoice to pay
    #[arg(
        value_name = "PAY_REQ",
        required_unless_present = "pay_req",
        conflicts_with = "pay_req"
    )]
    invoice: Option<String>,
    /// Amount, if the invoice has none (sat, or with a unit: 50000msat, 0.001btc)
    #[arg(long)]
    amt: Option<String>,
    #[command(flatten)]
    flags: PaymentFlags,
}

impl PayInvoice {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let request = self.request()?;
        pay(node, &self.flags, request).await
    }

    fn request(&self) -> Result<SendPaymentRequest, CliError> {
        let invoice = self.flags.pay_req.as_ref().or(self.invoice.as_ref());
        let invoice = invoice.map_or("", String::as_str);
        invoice_request(&self.flags, invoice, self.amt.as_deref())
    }
}

fn invoice_request(
    flags: &PaymentFlags,
    invoice: &str,
    amount: Option<&str>,
) -> Result<SendPaymentRequest, CliError> {
    let mut request = flags.request()?;
    request.payment_request = without_scheme(invoice).to_owned();
    request.payment_addr = payment_addr(flags.pay_addr.as_deref())?;
    set_amount(&mut request, amount)?;
    Ok(request)
}

async fn pay(
    node: &mut Node,
    flags: &PaymentFlags,
    mut request: SendPaymentRequest,
) -> Result<(), CliError> {
    let view = flags.view()?;
    let given = amount_msat(&request);
    if request.payment_request.is_empty() {
        request.fee_limit_msat = signed(flags.fee_limit_msat(given));
    } else {
        let decode = PayReqString {
            pay_req: request.payment_request.clone(),
        };
        let invoice = node.lightning.decode_pay_req(decode).await?.into_inner();
        let amount = u64::try_from(invoice.num_msat)
            .ok()
            .filter(|msat| *msat > 0)
            .unwrap_or(given);
        let fee_limit = flags.fee_limit_msat(amount);
        request.fee_limit_msat = signed(fee_limit);
        // Without an amount there is nothing to confirm: the node rejects the payment.
        if !flags.force && amount > 0 {
            confirm(
                &question(&invoice, amount, fee_limit),
                "payment not confirmed",
            )?;
        }
    }
    let updates = node.router.send_payment_v2(request).await?.into_inner();
    require_success(&follow(updates, view).await?)
}

fn question(invoice: &PayReq, amount_msat: u64, fee_limit_msat: u64) -> String {
    format!(
        "Payment hash: {}\nDescription: {}\nAmount (in satoshis): {}\n\
         Fee limit (in satoshis): {}\nDestination: {}\nConfirm payment (yes/no): ",
        invoice.payment_hash,
        // The payee must not be able to hide or reorder the lines below.
        escape(&invoice.description),
        satoshi(amount_msat),
        satoshi(fee_limit_msat),
        invoice.destination,
    )
}

fn satoshi(msat: u64) -> String {
    match msat % 1000 {
        0 => (msat / 1000).to_string(),
        rest => format!("{}.{rest:03}", msat / 1000),
    }
}

#[cfg(test)]
mod tests;
