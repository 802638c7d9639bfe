//! Parses amounts with an optional unit: `1000`, `50sat`, `50000msat`, `0.001btc`.

/// Unit suffixes, the longer ones first, because "msat" ends in "sat".
const UNITS: [(&str, Unit); 4] = [
    ("msat", Unit::Msat),
    ("sats", Unit::Sat),
    ("sat", Unit::Sat),
    ("btc", Unit::Btc),
];

/// 21 million bitcoin in msat. A larger amount can only be a mistake.
const MAX_MSAT: u64 = 21_000_000 * 100_000_000_000;

/// The unit of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A thousandth of a satoshi, the smallest unit.
    Msat,
    /// A satoshi.
    Sat,
    /// 100,000,000 satoshi.
    Btc,
}

impl Unit {
    /// Returns the number of decimals at which an amount in this unit is still a whole number of msat.
    const fn decimals(self) -> usize {
        match self {
            Unit::Msat => 0,
            Unit::Sat => 3,
            Unit::Btc => 11,
        }
    }
}

/// The text is not a valid amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AmountError {
    /// Not a number with an optional unit.
    #[error("{0:?} is not an amount; write 1000, 50sat, 50000msat or 0.001btc")]
    Syntax(String),
    /// More digits than the unit has.
    #[error("{0:?} has more decimals than 1 msat allows")]
    TooFine(String),
    /// More than fits into 64 bits.
    #[error("{0:?} is more than 21 million bitcoin")]
    TooLarge(String),
    /// Not a whole number of satoshis; the amount in msat.
    #[error("{0} msat is not a whole number of satoshi")]
    NotWholeSat(u64),
}

/// Parses an amount and returns it in msat. A number without a unit is in `bare` units.
///
/// # Errors
/// If the text is not a number, is negative, is not a whole number of msat or exceeds 21 million bitcoin.
pub fn parse_msat(text: &str, bare: Unit) -> Result<u64, AmountError> {
    let lower = text.trim().to_ascii_lowercase();
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((lower.strip_suffix(name)?.trim_end(), *unit)))
        .unwrap_or((&lower, bare));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, ""));
    let is_number = !whole.is_empty()
        && !number.ends_with('.')
        && whole
            .bytes()
            .chain(decimals.bytes())
            .all(|byte| byte.is_ascii_digit());
    if !is_number {
        return Err(AmountError::Syntax(text.to_owned()));
    }
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > unit.decimals() {
        return Err(AmountError::TooFine(text.to_owned()));
    }
    // Padding the decimals with zeros to the unit's precision gives msat: 0.001btc -> 0 00100000000.
    let digits = format!("{whole}{decimals:0<width$}", width = unit.decimals());
    match digits.parse::<u64>() {
        Ok(msat) if msat <= MAX_MSAT => Ok(msat),
        _ => Err(AmountError::TooLarge(text.to_owned())),
    }
}

/// Parses an amount and returns it in satoshi. A number without a unit is in satoshi.
///
/// # Errors
/// Like [`parse_msat`], and if the amount is not a whole number of satoshi.
pub fn parse_sat(text: &str) -> Result<u64, AmountError> {
    let msat = parse_msat(text, Unit::Sat)?;
    if msat % 1000 != 0 {
        return Err(AmountError::NotWholeSat(msat));
    }
    Ok(msat / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suffix_overrides_the_default_unit() {
        assert_eq!(parse_msat("1000", Unit::Sat), Ok(1_000_000));
        assert_eq!(parse_msat("1000", Unit::Msat), Ok(1_000));
        assert_eq!(parse_msat("50sat", Unit::Msat), Ok(50_000));
        assert_eq!(parse_msat("50 sats", Unit::Msat), Ok(50_000));
        assert_eq!(parse_msat("50000MSAT", Unit::Sat), Ok(50_000));
        assert_eq!(parse_msat("0.001btc", Unit::Sat), Ok(100_000_000));
        assert_eq!(parse_msat("1.5", Unit::Sat), Ok(1_500));
    }

    #[test]
    fn rejects_malformed_amounts() {
        for text in [
            "", "sat", "-5", "+5", "1e3", "0x10", "1.", ".5", "1.2.3", "5 eur", "١",
        ] {
            let refused = Err(AmountError::Syntax(text.to_owned()));
            assert_eq!(parse_msat(text, Unit::Sat), refused, "{text}");
        }
    }

    #[test]
    fn rejects_amounts_that_need_rounding() {
        assert_eq!(
            parse_msat("0.5msat", Unit::Sat),
            Err(AmountError::TooFine("0.5msat".into()))
        );
        assert_eq!(parse_msat("1.50000sat", Unit::Sat), Ok(1_500));
        assert_eq!(parse_sat("1500msat"), Err(AmountError::NotWholeSat(1_500)));
        assert_eq!(parse_sat("2000msat"), Ok(2));
    }

    #[test]
    fn rejects_more_than_21_million_bitcoin() {
        assert_eq!(parse_msat("21000000btc", Unit::Sat), Ok(MAX_MSAT));
        for text in ["21000000.00000000001btc", "99999999999999999999999999"] {
            assert_eq!(
                parse_msat(text, Unit::Sat),
                Err(AmountError::TooLarge(text.to_owned()))
            );
        }
    }
}
