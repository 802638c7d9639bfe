//! The update stream of one payment: in flight, changes of its attempts, and its result.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::model::payment::{FailureReason, PaymentState};
use crate::payments::{PaymentView, Payments};
use crate::rpc::convert::payment::payment;
use crate::rpc::transport::streams::{Answers, Writer, stream};
use lnd_api::proto::lnrpc::Payment;

/// The updates that the client wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Updates {
    /// Only the final one.
    Last,
    /// All of them.
    All,
    /// All of them, the first one "in flight" even if the payment has already ended: clients expect at least
    /// two messages.
    FromTheStart,
}

impl Updates {
    /// Returns the updates for a payment started by this call.
    pub(super) fn of_new(only_last: bool) -> Self {
        if only_last {
            Self::Last
        } else {
            Self::FromTheStart
        }
    }

    /// Returns the updates for a payment that already existed.
    pub(super) fn of_known(only_last: bool) -> Self {
        if only_last { Self::Last } else { Self::All }
    }
}

/// Streams the payment's updates until it ends. With a [`Tie`], the payment makes no further attempts once
/// the stream has ended.
pub(super) fn follow(
    stop: CancellationToken,
    views: watch::Receiver<PaymentView>,
    updates: Updates,
    tied_to_stream: Option<Arc<Payments>>,
) -> Answers<Payment> {
    let tie = tied_to_stream.map(|payments| Tie {
        payments: Some(payments),
        identifier: views.borrow().record.identifier,
        stop: stop.clone(),
    });
    stream(stop, move |writer| async move {
        let ended = write(&writer, views, updates).await;
        // The payment has ended, and another payment to the same hash may have started.
        if ended.is_ok()
            && let Some(tie) = tie
        {
            tie.release();
        }
        ended
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
    changed.map_err(|_| Status::unavailable("the node is shutting down"))
}

/// Returns the payment as it was before its first attempt, if it has already ended.
fn as_started(mut view: PaymentView) -> PaymentView {
    if view.is_final() {
        view.record.state = PaymentState::InFlight;
        view.record.failure_reason = FailureReason::None;
        view.record.preimage = None;
        view.attempts.clear();
    }
    view
}

/// Cancels the payment when dropped, except when the node is shutting down: then the payment resumes
/// after the next start.
struct Tie {
    payments: Option<Arc<Payments>>,
    identifier: [u8; 32],
    stop: CancellationToken,
}

impl Tie {
    fn release(mut self) {
        self.payments = None;
    }
}

impl Drop for Tie {
    fn drop(&mut self) {
        if let Some(payments) = &self.payments
            && !self.stop.is_cancelled()
        {
            payments.cancel(&self.identifier);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;
    use crate::model::payment::{PaymentRecord, PaymentTerms};
    use lnd_api::proto::lnrpc::payment::PaymentStatus;

    fn view(state: PaymentState) -> PaymentView {
        let record = PaymentRecord {
            payment_index: 1,
            identifier: [1; 32],
            created_at_ns: 1,
            state,
            failure_reason: match state {
                PaymentState::Failed => FailureReason::NoRoute,
                _ => FailureReason::None,
            },
            preimage: None,
            root: None,
            terms: PaymentTerms::default(),
        };
        PaymentView {
            record,
            attempts: Vec::new(),
        }
    }

    async fn statuses(mut answers: Answers<Payment>) -> Vec<PaymentStatus> {
        let mut statuses = Vec::new();
        while let Some(answer) = answers.next().await {
            statuses.push(answer.unwrap().status());
        }
        statuses
    }

    fn stream_of(views: watch::Receiver<PaymentView>, updates: Updates) -> Answers<Payment> {
        follow(CancellationToken::new(), views, updates, None)
    }

    #[tokio::test]
    async fn ended_payment_still_starts_in_flight() {
        let views = watch::Sender::new(view(PaymentState::Failed)).subscribe();
        let seen = statuses(stream_of(views, Updates::of_new(false))).await;
        assert_eq!(seen, [PaymentStatus::InFlight, PaymentStatus::Failed]);
    }

    #[tokio::test]
    async fn known_payment_starts_with_its_current_state() {
        for only_last in [false, true] {
            let views = watch::Sender::new(view(PaymentState::Succeeded)).subscribe();
            let seen = statuses(stream_of(views, Updates::of_known(only_last))).await;
            assert_eq!(seen, [PaymentStatus::Succeeded]);
        }
    }

    #[tokio::test]
    async fn streams_updates_until_the_end() {
        let sender = watch::Sender::new(view(PaymentState::InFlight));
        let mut answers = stream_of(sender.subscribe(), Updates::of_new(false));
        for _ in 0..2 {
            let update = answers.next().await.unwrap().unwrap();
            assert_eq!(update.status(), PaymentStatus::InFlight);
            sender.send_replace(view(PaymentState::InFlight));
        }
        sender.send_replace(view(PaymentState::Succeeded));
        let rest = statuses(answers).await;
        assert_eq!(rest.last(), Some(&PaymentStatus::Succeeded));
    }

    #[tokio::test]
    async fn without_inflight_updates_only_the_result_is_sent() {
        let sender = watch::Sender::new(view(PaymentState::InFlight));
        let answers = stream_of(sender.subscribe(), Updates::of_new(true));
        sender.send_replace(view(PaymentState::Failed));
        assert_eq!(statuses(answers).await, [PaymentStatus::Failed]);
    }
}
