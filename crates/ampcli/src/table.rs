//! Text tables in lncli's style.

/// The title of a column, and whether its cells are right-aligned.
pub(crate) type Column = (&'static str, bool);

/// Renders a table. Without rows it has only the header.
#[must_use]
pub(crate) fn table<R: AsRef<[String]>>(columns: &[Column], rows: &[R]) -> String {
    let width = |(column, (title, _)): (usize, &Column)| {
        let cells = rows.iter().map(|row| row.as_ref()[column].chars().count());
        cells.chain([title.len()]).max().unwrap_or(0)
    };
    let widths: Vec<_> = columns.iter().enumerate().map(width).collect();
    let rule: String = widths
        .iter()
        .map(|width| format!("+{}", "-".repeat(width + 2)))
        .collect();
    let rule = format!("{rule}+\n");
    let titles: Vec<_> = columns
        .iter()
        .map(|(title, _)| (*title).to_owned())
        .collect();
    let header = line(&titles, &widths, |_| false);
    let body: String = rows
        .iter()
        .map(|row| line(row.as_ref(), &widths, |column| columns[column].1))
        .collect();
    let end = if rows.is_empty() { "" } else { &rule };
    format!("{rule}{header}{rule}{body}{end}")
}

fn line(cells: &[String], widths: &[usize], right_aligned: impl Fn(usize) -> bool) -> String {
    let pad = |(column, cell): (usize, &String)| match (right_aligned(column), widths[column]) {
        (true, width) => format!("| {cell:>width$} "),
        (false, width) => format!("| {cell:<width$} "),
    };
    let cells: String = cells.iter().enumerate().map(pad).collect();
    format!("{cells}|\n")
}

/// Formats msat as satoshis without trailing zeros: 1120 is `1.12`.
#[must_use]
pub(crate) fn satoshi(msat: i64) -> String {
    let sign = if msat < 0 { "-" } else { "" };
    let msat = msat.unsigned_abs();
    let text = format!("{sign}{}.{:03}", msat / 1000, msat % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_no_trailing_zeros() {
        let texts = [0, 1, 10, 1120, 1000, 120_000_000, -1500].map(satoshi);
        assert_eq!(texts, ["0", "0.001", "0.01", "1.12", "1", "120000", "-1.5"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["1".to_owned(), "grüße".to_owned()]];
        let text = table(&[("NO", true), ("A", false)], &rows);
        let expected = "+----+-------+\n| NO | A     |\n+----+-------+\n\
                        |  1 | grüße |\n+----+-------+\n";
        assert_eq!(text, expected);
    }
}
