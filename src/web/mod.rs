//! The donation page: one static invoice for all visitors, and what it received, live.
//!
//! [`Donations`] keeps the invoice (`keeper`: found again, renewed, rotated; `shown`: its texts and
//! codes) and counts (`till`). [`serve`] shows that to anybody over plain HTTP: `pages` is what there
//! is to see, `feed` tells all open pages of a payment, `connections` bounds what visitors may cost.
//! Nothing of the node's API can be reached from here, and nothing that a visitor sends is kept.

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
