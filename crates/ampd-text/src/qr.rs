//! QR codes of texts: for terminals, as SVG, as PNG. Pure drawing.
//!
//! That of an invoice holds it in upper case: QR codes have a mode for digits, capitals and a few
//! signs that takes 5.5 bits for each instead of 8, and BOLT 11 allows either case. There is no
//! `lightning:` before it: in lower case it would need the larger mode, in upper case some wallets do
//! not know it, and bare invoices are read by all. Texts that have both kinds of letters are divided, so
//! that each stretch is in the smallest mode for it.

use qrcode::types::Color;
use qrcode::{EcLevel, QrCode};

/// Light modules around the code (ISO 18004).
const QUIET_ZONE: usize = 4;
/// Pixels of a module's side in a PNG: at one bit for each pixel it fills a byte.
const PNG_SCALE: usize = 8;
/// Black on white by their numbers among 256 colours: the first 16 are the theme's and may be anything.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const PLAIN: &str = "\x1b[0m";

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub enum QrError {
    #[error("the {0} is too long for a QR code")]
    TooLong(&'static str),
    #[error("cannot draw the QR code: {0}")]
    Png(#[from] png::EncodingError),
}

/// The modules of a QR code.
pub struct Code(QrCode);

impl Code {
    /// Any text as it is, with the least correction: such texts are long and read from a screen.
    ///
    /// # Errors
    /// [`QrError::TooLong`], beyond some 2,900 bytes.
    pub fn of_text(text: &str) -> Result<Self, QrError> {
        build(text, &[EcLevel::L], "text")
    }

    /// An invoice, in upper case. With 15 % of it for the correction of errors, as is usual; with 7 %
    /// if it is too long for that.
    ///
    /// # Errors
    /// [`QrError::TooLong`], beyond 4,296 characters.
    pub fn of_invoice(invoice: &str) -> Result<Self, QrError> {
        build(
            &invoice.to_ascii_uppercase(),
            &[EcLevel::M, EcLevel::L],
            "invoice",
        )
    }

    /// A link, as it is, with the correction of [`Code::of_invoice`].
    ///
    /// # Errors
    /// [`QrError::TooLong`].
    pub fn of_uri(uri: &str) -> Result<Self, QrError> {
        build(uri, &[EcLevel::M, EcLevel::L], "link")
    }

    /// Modules of a side, the quiet zone included.
    #[must_use]
    pub fn side(&self) -> usize {
        self.0.width() + 2 * QUIET_ZONE
    }

    /// Whatever is outside the code is light.
    fn is_dark(&self, x: usize, y: usize) -> bool {
        let inside = |at: usize| at.checked_sub(QUIET_ZONE).filter(|at| *at < self.0.width());
        match (inside(x), inside(y)) {
            (Some(x), Some(y)) => self.0[(x, y)] == Color::Dark,
            _ => false,
        }
    }

    /// Two rows of modules in each line.
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
            format!("{BLACK_ON_WHITE}{}{PLAIN}\n", cells.collect::<String>())
        };
        (0..self.side()).step_by(2).map(line).collect()
    }

    /// A module is a unit; crisp edges, because hairlines between modules confuse readers.
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

    /// A rectangle for each stretch of dark modules.
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

    /// Black and white, one bit for each pixel.
    ///
    /// # Errors
    /// [`QrError::Png`], which does not happen in memory.
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

/// With the first of these levels of correction at which there is room.
fn build(text: &str, levels: &[EcLevel], what: &'static str) -> Result<Code, QrError> {
    let build = |level: &EcLevel| QrCode::with_error_correction_level(text, *level).ok();
    let code = levels.iter().find_map(build);
    code.map(Code).ok_or(QrError::TooLong(what))
}

#[cfg(test)]
mod tests;
