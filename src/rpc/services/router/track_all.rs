//! The update stream of all payments: the current state of those in flight, then every update.

use tokio_util::sync::CancellationToken;

use crate::payments::AllUpdates;
use crate::rpc::convert::payment::payment;
use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::Payment;

/// Streams until the client disconnects or the node shuts down. With `only_last`, each payment is sent only
/// once, when it has succeeded or failed.
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
