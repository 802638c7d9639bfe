//! The donation page: one static invoice for all visitors, and a live list of its payments.
//!
//! [`Donations`] holds the page's invoice (`invoice_rotation` loads, renews and rotates it; `rendered`
//! holds its texts and QR codes), its on-chain address, and its totals. [`serve`] publishes the page over
//! plain HTTP without authentication: `pages` has the routes, `feed` the live updates for open pages,
//! `connections` the limits on visitors. The node's API cannot be reached through this module, and nothing
//! that a visitor sends is stored.

mod amounts;
mod connections;
mod donations;
mod error;
mod feed;
mod files;
mod headers;
mod html;
mod invoice_rotation;
mod on_chain_address;
mod pages;
mod rendered;
mod totals;

pub use connections::{Capacity, serve};
pub use donations::{Donations, Sources};
pub use error::DonationError;
pub use on_chain_address::OnChainAddress;
pub use rendered::RenderedInvoice;
pub use totals::Total;
