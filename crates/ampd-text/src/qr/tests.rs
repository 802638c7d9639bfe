//! Tests of QR codes: a reader decodes each to its text.

use rqrr::PreparedImage;
use serde_json::Value;

use super::*;

/// Returns invoices of various lengths created by lnd.
fn invoices() -> Vec<String> {
    let lnd = include_str!("../../../../tests/data/lnd_invoices.json");
    let lnd: Vec<Value> = serde_json::from_str(lnd).unwrap();
    let request = |invoice: &Value| invoice["addinvoice"]["payment_request"].clone();
    let requests = lnd.iter().map(request);
    requests
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

/// Decodes the single QR code in an image.
fn scanned(width: usize, is_dark: impl Fn(usize, usize) -> bool) -> String {
    let shade = |x, y| if is_dark(x, y) { 0 } else { 255 };
    let mut image = PreparedImage::prepare_from_greyscale(width, width, shade);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

/// Decodes a grid with one cell per module, enlarged because the scanner needs several pixels per module.
fn scanned_modules(rows: &[Vec<bool>]) -> String {
    const SCALE: usize = 4;
    assert!(rows.iter().all(|row| row.len() == rows.len()));
    scanned(rows.len() * SCALE, |x, y| rows[y / SCALE][x / SCALE])
}

/// Returns whether the border of four modules is light.
fn has_quiet_zone(rows: &[Vec<bool>]) -> bool {
    let inside = QUIET_ZONE..rows.len() - QUIET_ZONE;
    let dark = |(y, row): (usize, &Vec<bool>)| -> bool {
        let outside =
            |(x, dark): (usize, &bool)| *dark && !(inside.contains(&x) && inside.contains(&y));
        row.iter().enumerate().any(outside)
    };
    !rows.iter().enumerate().any(dark)
}

/// Returns the modules of the terminal output.
fn terminal_rows(text: &str) -> Vec<Vec<bool>> {
    let mut rows = Vec::new();
    for line in text.lines() {
        let line = line.strip_prefix(BLACK_ON_WHITE).unwrap();
        let line = line.strip_suffix(RESET).unwrap();
        rows.push(line.chars().map(|c| matches!(c, '█' | '▀')).collect());
        rows.push(line.chars().map(|c| matches!(c, '█' | '▄')).collect());
    }
    // A code has an odd number of rows: the lower half of the last line is empty.
    let rest: Option<Vec<bool>> = rows.pop();
    assert!(!rest.unwrap().contains(&true));
    rows
}

/// Returns the modules of the SVG, whose only path is a list of runs within rows.
fn svg_rows(text: &str) -> Vec<Vec<bool>> {
    let between = |start: &str, end: &str| {
        let (_, rest) = text.split_once(start).unwrap();
        rest.split_once(end).unwrap().0
    };
    let side: usize = between("<rect width=\"", "\"").parse().unwrap();
    assert_eq!(between("viewBox=\"", "\""), format!("0 0 {side} {side}"));
    let mut rows = vec![vec![false; side]; side];
    let number = |text: &str| text.parse::<usize>().unwrap();
    for stretch in between(" d=\"", "\"").split_inclusive('z') {
        let (at, size) = stretch.split_once('h').unwrap();
        let (x, y) = at.strip_prefix('M').unwrap().split_once(' ').unwrap();
        let (length, back) = size.split_once("v1h-").unwrap();
        assert_eq!(back, format!("{length}z"));
        rows[number(y)][number(x)..number(x) + number(length)].fill(true);
    }
    rows
}

#[test]
fn terminal_and_svg_decode_to_the_upper_case_invoice() {
    for invoice in invoices() {
        let code = Code::of_invoice(&invoice).unwrap();
        let upper = invoice.to_uppercase();
        let terminal = terminal_rows(&code.terminal());
        assert_eq!(scanned_modules(&terminal), upper);
        let svg = svg_rows(&code.svg());
        assert_eq!(scanned_modules(&svg), upper);
        assert!(has_quiet_zone(&terminal) && has_quiet_zone(&svg));
    }
}

#[test]
fn png_decodes_to_the_upper_case_invoice() {
    for invoice in invoices() {
        let image = Code::of_invoice(&invoice).unwrap().png().unwrap();
        let mut decoder = png::Decoder::new(std::io::Cursor::new(image));
        decoder.set_transformations(png::Transformations::EXPAND);
        let mut reader = decoder.read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        assert_eq!(info.width, info.height);
        let width = info.width as usize;
        let is_dark = |x, y| pixels[y * width + x] < 128;
        assert_eq!(scanned(width, is_dark), invoice.to_uppercase());
        let module = |y: usize| {
            let xs = (0..width).step_by(PNG_SCALE);
            xs.map(|x| is_dark(x, y)).collect::<Vec<_>>()
        };
        let rows: Vec<_> = (0..width).step_by(PNG_SCALE).map(module).collect();
        assert!(has_quiet_zone(&rows));
    }
}

#[test]
fn invoices_use_the_alphanumeric_mode() {
    for invoice in invoices() {
        let code = Code::of_invoice(&invoice).unwrap();
        let bytes = QrCode::with_error_correction_level(&invoice, EcLevel::M);
        assert!(code.0.width() < bytes.unwrap().width());
    }
}

#[test]
fn the_longest_invoice_fits_into_a_code() {
    let longest = "lnbc1".to_owned() + &"q".repeat(4_096 - 5);
    let code = Code::of_invoice(&longest).unwrap();
    let rows = terminal_rows(&code.terminal());
    assert_eq!(scanned_modules(&rows), longest.to_uppercase());
    let text = "q".repeat(5_000);
    let error = Code::of_invoice(&text).err().unwrap().to_string();
    assert_eq!(error, "the invoice is too long for a QR code");
}

#[test]
fn upper_case_parts_of_a_uri_use_the_alphanumeric_mode() {
    let invoice = &invoices()[0];
    let link = |invoice: &str| format!("bitcoin:BC1Q?amount=0.1&lightning={invoice}");
    let [upper, lower] = [invoice.to_uppercase(), invoice.to_lowercase()].map(|one| link(&one));
    let code = Code::of_uri(&upper).unwrap();
    assert_eq!(scanned_modules(&svg_rows(&code.svg())), upper);
    assert!(code.side() < Code::of_uri(&lower).unwrap().side());
}
