//! The stream of all payments: those in flight as they are, then every update.

use tokio_util::sync::CancellationToken;

use crate::payments::AllUpdates;
use crate::rpc::payment::payment;
use crate::rpc::streams::{Answers, stream};
use lnd_api::proto::lnrpc::Payment;

/// Streams until the caller goes away or the node stops. `only_last`: one message for each payment,
/// once it has succeeded or failed.
pub(super) fn follow(
    stop: CancellationToken,
    mut updates: AllUpdates,
    only_last: bool,
) -> Answers<Payment> {
    stream(stop, move |writer| async move {
        loop {
            let view = updates.next().await?;
            if view.is_final() || !only_last {
                writer.send(payment(&view)).await;
            }
        }
    })
}
