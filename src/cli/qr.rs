//! QR codes: in the terminal, as SVG, as PNG.
//!
//! That of an invoice holds it in upper case: QR codes have a mode for digits, capitals and a few
//! signs that takes 5.5 bits for each instead of 8, and BOLT 11 allows either case. There is no
//! `lightning:` before it: in lower case it would need the larger mode, in upper case some wallets do
//! not know it, and bare invoices are read by all.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use fast_qr::qr::QRCode;
use fast_qr::{ECL, QRBuilder};
use lightning_invoice::SignedRawBolt11Invoice;

use super::error::{CliError, error};
use super::invoices::without_scheme;
use super::output::{print_note, print_text};

/// Light modules around the code (ISO 18004).
const QUIET_ZONE: usize = 4;
/// Pixels of a module's side in a PNG: at one bit for each pixel it fills a byte.
const PNG_SCALE: usize = 8;
/// Black on white by their numbers among 256 colours: the first 16 are the theme's and may be anything.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const PLAIN: &str = "\x1b[0m";

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
        let code = Code::of(invoice)?;
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
        if !self.qr && self.qr_file.is_none() {
            return Ok(());
        }
        let code = Code::of(invoice)?;
        if self.qr {
            print_note(&code.terminal())?;
        }
        self.qr_file
            .as_ref()
            .map_or(Ok(()), |file| file.write(&code))
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
            Self::Png(path) => match code.png() {
                Ok(image) => write(path, &image),
                Err(why) => error(format!("cannot draw the QR code: {why}")),
            },
        }
    }
}

fn write(path: &Path, content: &[u8]) -> Result<(), CliError> {
    std::fs::write(path, content)
        .or_else(|why| error(format!("cannot write {}: {why}", path.display())))
}

/// The modules of a QR code.
pub struct Code(QRCode);

impl Code {
    /// Any text as it is, with the least correction: such texts are long and read from a screen.
    pub fn of_text(text: &str) -> Result<Self, CliError> {
        let built = QRBuilder::new(text).ecl(ECL::L).build();
        built
            .map(Self)
            .or_else(|_| error("the text is too long for a QR code"))
    }

    /// With 15 % of it for the correction of errors, as is usual; with 7 % if it is too long for that.
    fn of(invoice: &str) -> Result<Self, CliError> {
        let text = invoice.to_ascii_uppercase();
        let build = |level| QRBuilder::new(text.as_str()).ecl(level).build();
        build(ECL::M)
            .or_else(|_| build(ECL::L))
            .map(Self)
            .or_else(|_| error("the invoice is too long for a QR code"))
    }

    /// Modules of a side, the quiet zone included.
    fn side(&self) -> usize {
        self.0.size + 2 * QUIET_ZONE
    }

    /// Whatever is outside the code is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < self.0.size);
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.0[y][x].value(),
            _ => false,
        }
    }

    /// Two rows of modules in each line.
    pub fn terminal(&self) -> String {
        let line = |y: usize| {
            let cells =
                (0..self.side()).map(|x| match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            format!("{BLACK_ON_WHITE}{}{PLAIN}\n", cells.collect::<String>())
        };
        (0..self.side()).step_by(2).map(line).collect()
    }

    /// A module is a unit; crisp edges, because hairlines between modules confuse readers.
    fn svg(&self) -> String {
        let side = self.side();
        let dark = (0..side).flat_map(|y| (0..side).map(move |x| (x, y)));
        let dark = dark.filter(|(x, y)| self.is_dark(*x, *y));
        let path: String = dark.map(|(x, y)| format!("M{x} {y}h1v1h-1z")).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
             shape-rendering=\"crispEdges\">\n\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n\
             <path fill=\"#000\" d=\"{path}\"/>\n</svg>\n"
        )
    }

    fn png(&self) -> Result<Vec<u8>, png::EncodingError> {
        let side = self.side();
        // At most (177 + 8) * 8.
        let pixels = (side * PNG_SCALE) as u32;
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, pixels, pixels);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.bits())?;
        writer.finish()?;
        Ok(file)
    }

    /// Eight pixels in each byte, 1 is white.
    fn bits(&self) -> Vec<u8> {
        let side = self.side();
        let row = |y| -> Vec<u8> {
            let bytes = (0..side).map(|x| if self.is_dark(x, y) { 0x00 } else { 0xff });
            bytes.collect()
        };
        (0..side).flat_map(|y| row(y).repeat(PNG_SCALE)).collect()
    }
}

#[cfg(test)]
mod tests;
