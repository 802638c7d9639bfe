//! `qr`, and the flags of other commands that draw QR codes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::error::{CliError, error};
use super::output::{print_note, print_text};
use super::values::without_scheme;
use ampd_text::qr::{Code, QrError};
use lightning_invoice::SignedRawBolt11Invoice;

/// Draw the QR code of an invoice, in the terminal or to a file.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct Qr {
    /// Invoice
    #[arg(
        id = "invoice",
        value_name = "PAY_REQ",
        required_unless_present = "pay_req"
    )]
    invoice: Option<String>,
    /// Invoice
    #[arg(long, conflicts_with = "invoice")]
    pay_req: Option<String>,
    /// Output file (.svg or .png) [default: draw in the terminal]
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
}

impl Qr {
    pub(crate) fn run(self) -> Result<(), CliError> {
        let invoice = self.pay_req.or(self.invoice).unwrap_or_default();
        let invoice = without_scheme(&invoice);
        // Otherwise a typo would be noticed only by the first payer.
        if let Err(why) = SignedRawBolt11Invoice::from_str(invoice) {
            return error(format!("not a valid invoice: {why}"));
        }
        let code = Code::of_invoice(invoice)?;
        match self.qr_file {
            Some(file) => file.write(&code),
            None => print_text(&code.terminal()),
        }
    }
}

/// Flags for the QR code of a new invoice.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "snake_case")]
pub(crate) struct QrFlags {
    /// Draw the QR code of the invoice in the terminal (about 70 columns wide), on stderr
    #[arg(long)]
    qr: bool,
    /// Output file for the QR code of the invoice (.svg or .png)
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
}

impl QrFlags {
    /// Draws the QR code of an invoice as the flags request.
    pub(crate) fn draw(&self, invoice: &str) -> Result<(), CliError> {
        self.draw_code(|| Code::of_invoice(invoice))
    }

    /// Draws the QR code of a link as the flags request.
    pub(crate) fn draw_link(&self, uri: &str) -> Result<(), CliError> {
        self.draw_code(|| Code::of_uri(uri))
    }

    fn draw_code(&self, code: impl FnOnce() -> Result<Code, QrError>) -> Result<(), CliError> {
        if !self.qr && self.qr_file.is_none() {
            return Ok(());
        }
        let code = code()?;
        if self.qr {
            print_note(&code.terminal())?;
        }
        self.qr_file
            .as_ref()
            .map_or(Ok(()), |file| file.write(&code))
    }
}

impl From<QrError> for CliError {
    fn from(error: QrError) -> Self {
        CliError::Text(error.to_string())
    }
}

/// An image file; the extension of its name determines the format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ImageFile {
    Svg(PathBuf),
    Png(PathBuf),
}

impl FromStr for ImageFile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = PathBuf::from(text);
        let kind = path.extension().map(|kind| kind.to_ascii_lowercase());
        match kind.as_ref().and_then(|kind| kind.to_str()) {
            Some("svg") => Ok(Self::Svg(path)),
            Some("png") => Ok(Self::Png(path)),
            _ => Err(format!("{text:?} does not end in .svg or .png")),
        }
    }
}

impl ImageFile {
    /// Writes the QR code to the file.
    pub(crate) fn write(&self, code: &Code) -> Result<(), CliError> {
        match self {
            Self::Svg(path) => write(path, code.svg().as_bytes()),
            Self::Png(path) => write(path, &code.png()?),
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), CliError> {
    std::fs::write(path, content)
        .or_else(|why| error(format!("cannot write {}: {why}", path.display())))
}

#[cfg(test)]
mod tests;
