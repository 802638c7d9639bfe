//! The settings of the donation page and their validation.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::ConfigError;
use super::layers::Layers;

/// In characters.
const MAX_TITLE: usize = 100;
/// In characters.
const MAX_TEXT: usize = 2_000;
const MAX_BASE_URL: usize = 200;
const MAX_AMOUNTS: usize = 8;
/// In satoshis: 10 BTC, far more than any channel carries.
const MAX_AMOUNT_SAT: u64 = 1_000_000_000;
/// In satoshis: the total supply.
const MAX_GOAL_SAT: u64 = 21_000_000 * 100_000_000;
/// lnd's invoices are valid for at most a year.
const EXPIRY: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(60)..=Duration::from_secs(365 * 86_400);

/// The validity period of the page's invoice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Seconds(u64),
    Never,
}

/// The settings of the donation page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Donations {
    pub listen: SocketAddr,
    pub title: String,
    /// May be empty or have several lines.
    pub text: String,
    pub amounts_sat: Vec<u64>,
    pub goal_sat: Option<u64>,
    pub show_messages: bool,
    pub on_chain: bool,
    /// Ends with a slash.
    pub base_url: Option<String>,
    pub expiry: Validity,
}

/// Validates all donation keys, even if the page is disabled.
pub(super) fn check(layers: &Layers) -> Result<Option<Donations>, ConfigError> {
    let listen = "IP:port, such as 127.0.0.1:8090";
    let listen = layers.optional("donations-listen", listen, |text| text.parse().ok())?;
    let title = layers.value(
        "donations-title",
        "1 to 100 characters without control characters",
        title,
    )?;
    let text = layers.value(
        "donations-text",
        "at most 2000 characters without control characters",
        text,
    )?;
    let goal = layers.number("donations-goal", 0, MAX_GOAL_SAT)?;
    let amounts_sat = amounts(layers)?;
    let show_messages = layers.switch("donations-show-messages")?;
    let on_chain = layers.switch("donations-on-chain")?;
    let base_url = layers.optional(
        "donations-base-url",
        "http:// or https://, a host and an optional path, at most 200 characters",
        base_url,
    )?;
    let expiry = layers.value(
        "donations-expiry",
        "a duration from 1min to 365d, or never",
        expiry,
    )?;
    Ok(listen.map(|listen| Donations {
        listen,
        title,
        text,
        amounts_sat,
        goal_sat: (goal > 0).then_some(goal),
        show_messages,
        on_chain,
        base_url,
        expiry,
    }))
}

fn title(text: &str) -> Option<String> {
    let length = text.trim().chars().count();
    let fits = (1..=MAX_TITLE).contains(&length) && !text.chars().any(char::is_control);
    fits.then(|| text.trim().to_owned())
}

fn text(text: &str) -> Option<String> {
    let is_wrong = |c: char| c.is_control() && c != '\n';
    let fits = text.chars().count() <= MAX_TEXT && !text.chars().any(is_wrong);
    fits.then(|| text.trim().to_owned())
}

fn amounts(layers: &Layers) -> Result<Vec<u64>, ConfigError> {
    let sat = |text: &str| {
        let number = text.replace('_', "").parse().ok();
        number.filter(|sat| (1..=MAX_AMOUNT_SAT).contains(sat))
    };
    let expected = format!("whole satoshis from 1 to {MAX_AMOUNT_SAT}");
    let mut amounts: Vec<u64> = layers.items("donations-amounts", &expected, sat)?;
    if amounts.len() > MAX_AMOUNTS {
        return Err(ConfigError::Conflict(format!(
            "{}: found {} amounts, expected at most {MAX_AMOUNTS}",
            layers.name_of("donations-amounts"),
            amounts.len(),
        )));
    }
    amounts.sort_unstable();
    amounts.dedup();
    Ok(amounts)
}

fn base_url(text: &str) -> Option<String> {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&byte);
    let host = rest.split('/').next().unwrap_or_default();
    let fits = !host.is_empty() && text.len() <= MAX_BASE_URL && rest.bytes().all(is_plain);
    fits.then(|| format!("{}/", text.trim_end_matches('/')))
}

fn expiry(text: &str) -> Option<Validity> {
    if text == "never" {
        return Some(Validity::Never);
    }
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| EXPIRY.contains(time))?;
    Some(Validity::Seconds(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enforces_text_limits() {
        assert_eq!(title(" Tea fund "), Some("Tea fund".into()));
        let long = "ü".repeat(100);
        assert_eq!(title(&long), Some(long.clone()));
        for wrong in ["", "  ", "a\nb", &"x".repeat(101)] {
            assert_eq!(title(wrong), None, "{wrong:?}");
        }
        assert_eq!(text(""), Some(String::new()));
        assert_eq!(text("a\n\nb\n"), Some("a\n\nb".into()));
        assert_eq!(text("a\tb"), None);
        assert_eq!(text(&"x".repeat(2_001)), None);
    }

    #[test]
    fn base_urls_end_in_a_slash_and_reject_markup() {
        let expected = Some("https://example.org/donate/".to_owned());
        assert_eq!(base_url("https://example.org/donate"), expected);
        assert_eq!(base_url("https://example.org/donate/"), expected);
        for wrong in [
            "example.org",
            "https://",
            "https:///x",
            "ftp://example.org",
            "https://example.org/?q",
            "https://example.org/\"><b>",
            "https://example.org/a b",
        ] {
            assert_eq!(base_url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn accepts_expiries_from_a_minute_to_a_year_and_never() {
        assert_eq!(expiry("1min"), Some(Validity::Seconds(60)));
        assert_eq!(expiry("365d"), Some(Validity::Seconds(31_536_000)));
        assert_eq!(expiry("never"), Some(Validity::Never));
        for wrong in ["", "59s", "366d", "0", "Never", "1"] {
            assert_eq!(expiry(wrong), None, "{wrong}");
        }
    }
}
