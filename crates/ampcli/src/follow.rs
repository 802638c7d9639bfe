//! Shows a payment until it is final, as JSON or as a live table.

use std::io::{self, IsTerminal};

use tonic::Streaming;

use super::error::{CliError, error};
use super::output::{print, print_text};
use super::payment_table::render;
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::payment::PaymentStatus;

/// The format in which a payment is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    /// The final state as JSON.
    Json,
    /// Every update as JSON, separated by empty lines.
    JsonUpdates,
    /// A table, redrawn at each update.
    Table,
}

/// Shows the payment until it succeeds or fails, and returns its final state.
pub(crate) async fn follow(
    mut updates: Streaming<Payment>,
    view: View,
) -> Result<Payment, CliError> {
    let mut screen = Screen::new(view);
    while let Some(payment) = updates.message().await? {
        let is_final = matches!(
            payment.status(),
            PaymentStatus::Succeeded | PaymentStatus::Failed
        );
        screen.show(&payment, is_final)?;
        if is_final {
            return Ok(payment);
        }
    }
    error("the node closed the stream before the payment was final; run trackpayment")
}

struct Screen {
    view: View,
    /// The number of lines of the table on the screen, which the next one replaces.
    lines: usize,
    messages: usize,
    is_terminal: bool,
}

impl Screen {
    fn new(view: View) -> Self {
        Screen {
            view,
            lines: 0,
            messages: 0,
            is_terminal: io::stdout().is_terminal(),
        }
    }

    fn show(&mut self, payment: &Payment, is_final: bool) -> Result<(), CliError> {
        self.messages += 1;
        match self.view {
            View::Json if is_final => print(payment),
            View::JsonUpdates => {
                print_text(if self.messages > 1 { "\n" } else { "" })?;
                print(payment)
            }
            View::Table if is_final || self.is_terminal => self.draw(payment),
            View::Json | View::Table => Ok(()),
        }
    }

    fn draw(&mut self, payment: &Payment) -> Result<(), CliError> {
        let table = render(payment, short_key);
        // For each line of the previous table: cursor up, clear the line.
        let clear = "\u{1b}[1A\u{1b}[2K".repeat(self.lines);
        self.lines = table.lines().count();
        print_text(&format!("{clear}{table}"))
    }
}

/// Returns what lncli shows for a node without a known alias.
fn short_key(key: &str) -> String {
    key.chars().take(6).collect()
}

/// Returns an error with the payment's status unless it succeeded.
pub(crate) fn require_success(payment: &Payment) -> Result<(), CliError> {
    match payment.status() {
        PaymentStatus::Succeeded => Ok(()),
        other => error(other.as_str_name()),
    }
}
