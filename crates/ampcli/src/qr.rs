//! `qr`, and the flags of the commands that draw one.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;

use super::error::{CliError, error};
use super::invoices::without_scheme;
use super::output::{print_note, print_text};
use ampd_text::qr::{Code, QrError};
use lightning_invoice::SignedRawBolt11Invoice;

/// A QR code of an invoice, drawn in the terminal unless a file is named.
#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct Qr {
    #[arg(
        id = "invoice",
        value_name = "PAY_REQ",
        required_unless_present = "pay_req"
    )]
    invoice: Option<String>,
    /// The invoice
    #[arg(long, conflicts_with = "invoice")]
    pay_req: Option<String>,
    /// Write it to this file: x.svg or x.png
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
}

impl Qr {
    pub fn run(self) -> Result<(), CliError> {
        let invoice = self.pay_req.or(self.invoice).unwrap_or_default();
        let invoice = without_scheme(&invoice);
        // A code with a typo in it would be found out by the first payer.
        if let Err(why) = SignedRawBolt11Invoice::from_str(invoice) {
            return error(format!("this is not an invoice: {why}"));
        }
        let code = Code::of_invoice(invoice)?;
        match self.qr_file {
            Some(file) => file.write(&code),
            None => print_text(&code.terminal()),
        }
    }
}

/// How the QR code of a new invoice is shown.
#[derive(Clone, Debug, Args)]
#[command(rename_all = "snake_case")]
pub struct QrFlags {
    /// Draw the invoice's QR code in the terminal (about 70 columns), on stderr: stdout has only the
    /// JSON
    #[arg(long)]
    qr: bool,
    /// Write the invoice's QR code to this file: x.svg or x.png
    #[arg(long, value_name = "FILE", value_parser = ImageFile::from_str)]
    qr_file: Option<ImageFile>,
}

impl QrFlags {
    /// Does nothing if no flag asks for a code.
    pub fn draw(&self, invoice: &str) -> Result<(), CliError> {
        self.draw_code(|| Code::of_invoice(invoice))
    }

    /// The same for a link.
    pub fn draw_link(&self, uri: &str) -> Result<(), CliError> {
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

/// A file whose name says which kind of image it becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageFile {
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
    /// Draws the code into the file.
    pub fn write(&self, code: &Code) -> Result<(), CliError> {
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
