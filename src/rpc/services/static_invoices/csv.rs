//! Payments as CSV (RFC 4180), safe to open in a spreadsheet.

use csv::{Terminator, WriterBuilder};
use tonic::Status;

use super::text;
use crate::model::amp_payment::PaymentRecord;
use ampd_text::sanitize;
use ampd_text::utc_text;

const COLUMNS: [&str; 6] = [
    "settle_index",
    "settled_at",
    "amount_msat",
    "set_id",
    "htlcs",
    "message",
];

/// Returns the header line.
pub(super) fn header() -> Result<Vec<u8>, Status> {
    write([COLUMNS.map(str::to_owned)])
}

/// Returns one line per payment.
pub(super) fn lines(payments: &[PaymentRecord]) -> Result<Vec<u8>, Status> {
    write(payments.iter().map(line))
}

fn line(payment: &PaymentRecord) -> [String; COLUMNS.len()] {
    [
        payment.settle_index.to_string(),
        utc_text(payment.settled_at),
        payment.amt_msat.to_string(),
        payment.set_id.to_string(),
        payment.shards.to_string(),
        cell(&text(payment.message.clone())),
    ]
}

/// Returns a payer's message as a single-line cell. Spreadsheets treat a cell that starts with one of these
/// characters as a formula, also in full-width form or after spaces; a leading apostrophe makes it text
/// (OWASP, "CSV Injection").
fn cell(message: &str) -> String {
    let safe = sanitize::escape(message);
    let is_formula = safe
        .trim_start()
        .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{safe}") } else { safe }
}

fn write(lines: impl IntoIterator<Item = [String; COLUMNS.len()]>) -> Result<Vec<u8>, Status> {
    let failed = |error: String| Status::internal(format!("cannot write CSV: {error}"));
    let mut writer = WriterBuilder::new()
        .terminator(Terminator::CRLF)
        .from_writer(Vec::new());
    for line in lines {
        writer
            .write_record(&line)
            .map_err(|error| failed(error.to_string()))?;
    }
    writer
        .into_inner()
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use ldk_amp::SetId;

    use super::*;

    fn payment(message: &[u8]) -> PaymentRecord {
        PaymentRecord {
            settle_index: 7,
            settled_at: 1_000_000_000,
            set_id: SetId::from_bytes([0xab; 32]),
            amt_msat: 1_500,
            shards: 3,
            message: Some(message.to_vec()),
        }
    }

    fn message(bytes: &[u8]) -> String {
        let text = lines(&[payment(bytes)]).unwrap();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .from_reader(&text[..]);
        let records: Vec<_> = reader.records().collect::<Result<_, _>>().unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), 1);
        records[0][5].to_owned()
    }

    #[test]
    fn lines_follow_rfc_4180() {
        assert_eq!(
            String::from_utf8(header().unwrap()).unwrap(),
            "settle_index,settled_at,amount_msat,set_id,htlcs,message\r\n"
        );
        let set_id = "ab".repeat(32);
        let two = [payment(b"tea, \"green\""), payment(b"")];
        assert_eq!(
            String::from_utf8(lines(&two).unwrap()).unwrap(),
            format!(
                "7,2001-09-09T01:46:40Z,1500,{set_id},3,\"tea, \"\"green\"\"\"\r\n\
                 7,2001-09-09T01:46:40Z,1500,{set_id},3,\r\n"
            )
        );
    }

    #[test]
    fn messages_are_never_formulas() {
        for formula in [
            "=1+1",
            "+1",
            "-1",
            "@SUM(A1)",
            "=HYPERLINK(\"x\",\"y\")",
            "  =1",
            "\u{a0}=1",
            "＝1",
        ] {
            assert_eq!(message(formula.as_bytes()), format!("'{formula}"));
        }
        assert!(message(b"\t=1").starts_with("\\u{9}"));
        assert_eq!(message("1+1=2, für dich".as_bytes()), "1+1=2, für dich");
    }

    #[test]
    fn arbitrary_bytes_stay_in_their_cell() {
        assert_eq!(message(b"a\r\nb,c"), "a\\u{d}\\u{a}b,c");
        assert_eq!(message(b"\xff\xfe"), "\u{fffd}\u{fffd}");
        assert_eq!(
            message("\u{202e}x\u{1b}[2J".as_bytes()),
            "\\u{202e}x\\u{1b}[2J"
        );
        let all: Vec<u8> = (0..=255).collect();
        assert!(!message(&all).contains(sanitize::is_harmful));
    }
}
