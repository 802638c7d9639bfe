//! QR codes for terminals, as SVG and as PNG.
//!
//! Invoices are encoded in upper case: the QR alphanumeric mode takes 5.5 bits per character instead of
//! 8, and BOLT 11 allows either case. They have no `lightning:` prefix: in lower case it would need the
//! larger mode, in upper case some wallets do not recognize it, and all wallets read bare invoices. Text
//! in mixed case is divided into segments, each in the smallest mode for it.

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

/// Width in modules of the light border around the code (ISO 18004).
const QUIET_ZONE: usize = 4;
/// Pixels per module in a PNG: at one bit per pixel, a module fills a byte.
const PNG_SCALE: usize = 8;
/// Black on white from the 256-color palette; terminal themes redefine the first 16 colors.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const RESET: &str = "\x1b[0m";

/// The QR code could not be created.
#[derive(Debug, thiserror::Error)]
pub enum QrError {
    /// The text does not fit into a QR code.
    #[error("the {0} is too long for a QR code")]
    TooLong(&'static str),
    /// The image cannot be encoded.
    #[error("cannot draw the QR code: {0}")]
    Png(#[from] png::EncodingError),
}

/// The modules of a QR code.
pub struct Code(QrCode);

impl Code {
    /// Encodes any text unchanged, with the lowest error correction level (L): such texts are long and are
    /// scanned from a screen.
    ///
    /// # Errors
    /// [`QrError::TooLong`] above some 2,900 bytes.
    pub fn of_text(text: &str) -> Result<Self, QrError> {
        build(text, &[EcLevel::L], "text")
    }

    /// Encodes an invoice in upper case, with error correction level M (15 %), or L (7 %) if it is too
    /// long for M.
    ///
    /// # Errors
    /// [`QrError::TooLong`] above 4,296 characters.
    pub fn of_invoice(invoice: &str) -> Result<Self, QrError> {
        build(
            &invoice.to_ascii_uppercase(),
            &[EcLevel::M, EcLevel::L],
            "invoice",
        )
    }

    /// Encodes a URI unchanged, with the error correction levels of [`Code::of_invoice`].
    ///
    /// # Errors
    /// [`QrError::TooLong`].
    pub fn of_uri(uri: &str) -> Result<Self, QrError> {
        build(uri, &[EcLevel::M, EcLevel::L], "URI")
    }

    /// Returns the side length in modules, including the quiet zone.
    #[must_use]
    pub fn side(&self) -> usize {
        self.0.width() + 2 * QUIET_ZONE
    }

    /// Returns whether the module is dark. Everything outside the code is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < self.0.width());
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.0[(x, y)] == Color::Dark,
            _ => false,
        }
    }

    /// Renders the code for a terminal, with two rows of modules per line.
    #[must_use]
    pub fn terminal(&self) -> String {
        let line = |y: usize| {
            let cells =
                (0..self.side()).map(|x| match (self.is_dark(x, y), self.is_dark(x, y + 1)) {
                    (true, true) => '█',
                    (true, false) => '▀',
                    (false, true) => '▄',
                    (false, false) => ' ',
                });
            format!("{BLACK_ON_WHITE}{}{RESET}\n", cells.collect::<String>())
        };
        (0..self.side()).step_by(2).map(line).collect()
    }

    /// Renders the code as SVG, with one unit per module. Edges are crisp, because hairlines between modules
    /// confuse scanners.
    #[must_use]
    pub fn svg(&self) -> String {
        let side = self.side();
        let path: String = (0..side).map(|y| self.svg_row(y)).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" \
             shape-rendering=\"crispEdges\">\n\
             <rect width=\"{side}\" height=\"{side}\" fill=\"#fff\"/>\n\
             <path fill=\"#000\" d=\"{path}\"/>\n</svg>\n"
        )
    }

    /// Returns one rectangle per run of dark modules in a row.
    fn svg_row(&self, y: usize) -> String {
        let row: Vec<bool> = (0..self.side()).map(|x| self.is_dark(x, y)).collect();
        let mut path = String::new();
        let mut x = 0;
        for stretch in row.chunk_by(|one, next| one == next) {
            let length = stretch.len();
            if stretch.contains(&true) {
                path += &format!("M{x} {y}h{length}v1h-{length}z");
            }
            x += length;
        }
        path
    }

    /// Renders the code as a black-and-white PNG with one bit per pixel.
    ///
    /// # Errors
    /// [`QrError::Png`]; writing to memory does not fail in practice.
    pub fn png(&self) -> Result<Vec<u8>, QrError> {
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

    /// Returns the pixels, eight per byte; 1 is white.
    fn bits(&self) -> Vec<u8> {
        let side = self.side();
        let row = |y| -> Vec<u8> {
            let bytes = (0..side).map(|x| if self.is_dark(x, y) { 0x00 } else { 0xff });
            bytes.collect()
        };
        (0..side).flat_map(|y| row(y).repeat(PNG_SCALE)).collect()
    }
}

/// Encodes the text with the first of these error correction levels at which it fits.
fn build(text: &str, levels: &[EcLevel], what: &'static str) -> Result<Code, QrError> {
    let build = |level: &EcLevel| QrCode::with_error_correction_level(text, *level).ok();
    let code = levels.iter().find_map(build);
    code.map(Code).ok_or(QrError::TooLong(what))
}

#[cfg(test)]
mod tests;
