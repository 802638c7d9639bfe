//! The outputs of closed channels on their way to the wallet.

use lightning::ln::types::ChannelId;
use lightning::sign::SpendableOutputDescriptor;
use lightning::util::sweep::{OutputSpendStatus, TrackedSpendableOutput};

use crate::ldk::OutputSweeper;

/// A spendable output of a closed channel that the sweeper holds: it is no longer in LDK's balances
/// and not yet in the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sweeping {
    pub channel_id: ChannelId,
    pub amount_sat: u64,
}

/// Returns the outputs that the sweeper has yet to confirm; after that they belong to the wallet.
pub(super) fn sweeping(sweeper: &OutputSweeper) -> Vec<Sweeping> {
    let outputs = sweeper.tracked_spendable_outputs();
    outputs.iter().filter_map(unconfirmed).collect()
}

fn unconfirmed(tracked: &TrackedSpendableOutput) -> Option<Sweeping> {
    if matches!(
        tracked.status,
        OutputSpendStatus::PendingThresholdConfirmations { .. }
    ) {
        return None;
    }
    let output = match &tracked.descriptor {
        SpendableOutputDescriptor::StaticOutput { output, .. } => output,
        SpendableOutputDescriptor::DelayedPaymentOutput(delayed) => &delayed.output,
        SpendableOutputDescriptor::StaticPaymentOutput(payment) => &payment.output,
    };
    Some(Sweeping {
        channel_id: tracked.channel_id?,
        amount_sat: output.value.to_sat(),
    })
}
