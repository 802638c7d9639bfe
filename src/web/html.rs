//! The page as HTML. The templates escape every inserted value.

use askama::Template;

use super::amounts::{grouped, sat_text};
use super::donations::Donations;
use super::feed::{Row, Sum};
use super::files::Files;
use super::rendered::{Offer, RenderedInvoice};

const MSAT_PER_SAT: u64 = 1_000;

/// The page with one of its payment offers.
#[derive(Template)]
#[template(path = "page.html")]
pub(super) struct Page<'a> {
    title: &'a str,
    paragraphs: Vec<&'a str>,
    files: &'a Files,
    version: &'a str,
    /// True if the operator has disabled the invoice.
    is_paused: bool,
    offer: &'a Offer,
    /// Query of this offer's image URLs. It includes the version, so that an open page does not reuse an
    /// outdated image.
    image_query: String,
    amount: Option<String>,
    choices: Vec<Choice>,
    goal: Option<Goal>,
    sum: Sum,
    rows: Vec<Row>,
    snippet: Option<String>,
}

/// A suggested amount.
struct Choice {
    href: String,
    text: String,
    is_current: bool,
}

struct Goal {
    text: String,
    percent: u64,
}

impl<'a> Page<'a> {
    pub(super) fn new(
        donations: &'a Donations,
        rendered: &'a RenderedInvoice,
        offer: &'a Offer,
        files: &'a Files,
    ) -> Self {
        let config = &donations.config;
        let totals = donations.totals();
        let sum = Sum::of(&totals, config.goal_sat);
        let amount_text = |sat: u64| sat_text(sat.saturating_mul(MSAT_PER_SAT));
        Self {
            title: &config.title,
            paragraphs: paragraphs(&config.text),
            files,
            version: &rendered.version,
            is_paused: !rendered.is_open(),
            image_query: image_query(offer, &rendered.version),
            amount: offer.amount_sat.map(amount_text),
            choices: choices(&config.amounts_sat, offer.amount_sat),
            goal: config.goal_sat.zip(sum.percent).map(|(sat, percent)| Goal {
                text: amount_text(sat),
                percent,
            }),
            rows: totals.recent.iter().map(Row::from).collect(),
            sum,
            snippet: donations.snippet(),
            offer,
        }
    }

    /// Returns the number of donations with its noun.
    fn donations(&self) -> String {
        let word = if self.sum.count == 1 {
            "donation"
        } else {
            "donations"
        };
        format!("{} {word}", grouped(self.sum.count))
    }
}

fn query(sat: u64) -> String {
    format!("?amount={sat}")
}

fn image_query(offer: &Offer, version: &str) -> String {
    match offer.amount_sat {
        Some(sat) => format!("{}&v={version}", query(sat)),
        None => format!("?v={version}"),
    }
}

fn choices(amounts_sat: &[u64], current: Option<u64>) -> Vec<Choice> {
    if amounts_sat.is_empty() {
        return Vec::new();
    }
    let any = Choice {
        href: "./#pay".to_owned(),
        text: "Any amount".to_owned(),
        is_current: current.is_none(),
    };
    let suggested = amounts_sat.iter().map(|sat| Choice {
        href: format!("{}#pay", query(*sat)),
        text: format!("{} sat", grouped(*sat)),
        is_current: current == Some(*sat),
    });
    std::iter::once(any).chain(suggested).collect()
}

fn paragraphs(text: &str) -> Vec<&str> {
    let paragraphs = text.split("\n\n").map(str::trim);
    paragraphs.filter(|text| !text.is_empty()).collect()
}

/// A message in place of the page, such as an error.
#[derive(Template)]
#[template(path = "notice.html")]
pub(super) struct Notice<'a> {
    pub(super) files: &'a Files,
    /// Relative path to the page: one `../` per directory level.
    pub(super) root: &'a str,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
}
