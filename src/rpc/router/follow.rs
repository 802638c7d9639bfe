//! The stream of a payment: under way, as its attempts change, and its end.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::payments::{PaymentView, Payments};
use crate::rpc::payment::payment;
use crate::rpc::proto::lnrpc::Payment;
use crate::rpc::streams::{Answers, Writer, stream};
use crate::storage::payments::{FailureReason, PaymentState};

/// Which messages the caller wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates {
    /// The last one.
    Last,
    /// All that there are.
    All,
    /// All, the first of them "in flight" even if the payment has ended by then: clients count on
    /// two messages at least.
    FromTheStart,
}

impl Updates {
    /// For a payment that the call started.
    pub(super) fn of_new(only_last: bool) -> Self {
        if only_last {
            Self::Last
        } else {
            Self::FromTheStart
        }
    }

    /// For a payment that was started before.
    pub(super) fn of_known(only_last: bool) -> Self {
        if only_last { Self::Last } else { Self::All }
    }
}

/// Streams the payment until its end. If it is tied to the stream, it makes no further attempt
/// once the stream has ended.
pub(super) fn follow(
    stop: CancellationToken,
    views: watch::Receiver<PaymentView>,
    updates: Updates,
    tied_to_stream: Option<Arc<Payments>>,
) -> Answers<Payment> {
    let tie = tied_to_stream.map(|payments| Tie {
        payments,
        identifier: views.borrow().record.identifier,
        stop: stop.clone(),
    });
    stream(stop, move |writer| async move {
        let _tie = tie;
        write(&writer, views, updates).await
    })
}

async fn write(
    writer: &Writer<Payment>,
    mut views: watch::Receiver<PaymentView>,
    updates: Updates,
) -> Result<(), Status> {
    if updates == Updates::FromTheStart {
        let first = views.borrow_and_update().clone();
        let was_final = first.is_final();
        writer.send(payment(&as_started(first))).await;
        if !was_final {
            next(&mut views).await?;
        }
    }
    loop {
        let view = views.borrow_and_update().clone();
        if view.is_final() || updates != Updates::Last {
            writer.send(payment(&view)).await;
        }
        if view.is_final() {
            return Ok(());
        }
        next(&mut views).await?;
    }
}

async fn next(views: &mut watch::Receiver<PaymentView>) -> Result<(), Status> {
    let changed = views.changed().await;
    changed.map_err(|_| Status::unavailable("the node stops"))
}

/// What was to be seen of a payment before anything happened, if it has ended meanwhile.
fn as_started(mut view: PaymentView) -> PaymentView {
    if view.is_final() {
        view.record.state = PaymentState::InFlight;
        view.record.failure_reason = FailureReason::None;
        view.record.preimage = None;
        view.attempts.clear();
    }
    view
}

/// Cancels the payment when dropped, unless the whole node stops: then the payment goes on after
/// the next start. Canceling a payment that has ended does nothing.
struct Tie {
    payments: Arc<Payments>,
    identifier: [u8; 32],
    stop: CancellationToken,
}

impl Drop for Tie {
    fn drop(&mut self) {
        if !self.stop.is_cancelled() {
            self.payments.cancel(&self.identifier);
        }
    }
}
