//! The donation page: `donations show`, `donations rotate`.

use clap::{Args, Subcommand};

use super::connection::Node;
use super::error::CliError;
use super::output::print;
use super::qr::QrFlags;
use lnd_api::proto::ampdrpc::{DonationPageRequest, RotateDonationInvoiceRequest};

/// Show or replace the invoice of the donation page.
#[derive(Debug, Args)]
pub(crate) struct Donations {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the page's current and past invoices and the total received
    Show(Show),
    /// Replace the page's invoice; old invoices stay payable until they expire
    Rotate(Rotate),
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct Show {
    #[command(flatten)]
    qr: QrFlags,
}

#[derive(Debug, Args)]
#[command(rename_all = "snake_case")]
struct Rotate {
    #[command(flatten)]
    qr: QrFlags,
}

impl Donations {
    pub(crate) async fn run(self, node: &mut Node) -> Result<(), CliError> {
        let service = &mut node.static_invoices;
        match self.command {
            Command::Show(show) => {
                let page = service.donation_page(DonationPageRequest {}).await?;
                print(page.get_ref())?;
                show.qr.draw(&page.get_ref().payment_request)
            }
            Command::Rotate(rotate) => {
                let request = RotateDonationInvoiceRequest {};
                let rotated = service.rotate_donation_invoice(request).await?;
                print(rotated.get_ref())?;
                rotate.qr.draw(&rotated.get_ref().payment_request)
            }
        }
    }
}
