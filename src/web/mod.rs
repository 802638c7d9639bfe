//! The donation page: one static invoice for all visitors, and a live list of its payments.
//!
//! [`Donations`] holds the page's invoice (`keeper` loads, renews and rotates it; `shown` renders its
//! texts and QR codes) and its totals (`till`). [`serve`] publishes the page over plain HTTP without
//! authentication: `pages` has the routes, `feed` the live updates for open pages, `connections` the
//! limits on visitors. The node's API cannot be reached through this module, and nothing that a visitor
//! sends is stored.

mod amounts;
mod connections;
mod donations;
mod error;
mod feed;
mod files;
mod headers;
mod html;
mod keeper;
mod pages;
mod shown;
mod till;

pub use connections::{Capacity, serve};
pub use donations::{Donations, Sources};
pub use error::DonationError;
pub use shown::Shown;
pub use till::Total;
