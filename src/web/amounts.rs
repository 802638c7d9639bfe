//! Formats amounts for visitors.

const MSAT_PER_SAT: u64 = 1_000;

/// Formats an amount as `21,000 sat`, with up to three decimals if it is not a whole satoshi.
pub(super) fn sat_text(msat: u64) -> String {
    let whole = grouped(msat / MSAT_PER_SAT);
    match msat % MSAT_PER_SAT {
        0 => format!("{whole} sat"),
        rest => {
            let rest = format!("{rest:03}");
            format!("{whole}.{} sat", rest.trim_end_matches('0'))
        }
    }
}

/// Formats a number with thousands separators: `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns the share of the goal that is reached, in whole percent, at most 100.
pub(super) fn percent(msat: u64, goal_sat: u64) -> u64 {
    let goal_msat = goal_sat.saturating_mul(MSAT_PER_SAT).max(1);
    let percent = u128::from(msat) * 100 / u128::from(goal_msat);
    // The cast is lossless: the value is at most 100.
    percent.min(100) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_exact_amounts_with_separators() {
        for (msat, text) in [
            (0, "0 sat"),
            (1, "0.001 sat"),
            (1_500, "1.5 sat"),
            (999_000, "999 sat"),
            (1_000_000, "1,000 sat"),
            (1_234_567_010, "1,234,567.01 sat"),
            (u64::MAX, "18,446,744,073,709,551.615 sat"),
        ] {
            assert_eq!(sat_text(msat), text);
        }
    }

    #[test]
    fn percent_rounds_down_and_stops_at_100() {
        assert_eq!(percent(0, 10), 0);
        assert_eq!(percent(9_999, 10), 99);
        assert_eq!(percent(10_000, 10), 100);
        assert_eq!(percent(u64::MAX, 1), 100);
        assert_eq!(percent(5, u64::MAX), 0);
    }
}
