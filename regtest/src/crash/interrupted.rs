//! Payments whose receiver dies at a named point in the middle of one of them.

use ampd::abort::Point;
use ampd::rpc::proto::lnrpc::Payment;
use ampd::rpc::proto::lnrpc::payment::PaymentStatus;
use ampd::rpc::proto::routerrpc::SendPaymentRequest;
use anyhow::{Result, ensure};
use tokio::task::JoinSet;
use tonic::Status;

use crate::network::Network;

/// Payments that are under way; their senders live.
#[derive(Debug)]
pub struct Interrupted(JoinSet<Result<Payment, Status>>);

impl Interrupted {
    /// Starts the receiver anew so that it aborts when it passes `point` for the `nth` time, lets the
    /// payers (by name) pay, and waits until it has aborted. It stays down, and aborts nowhere from
    /// its next start on.
    ///
    /// # Errors
    /// If it did not die, or not by that.
    pub async fn start(
        network: &mut Network,
        receiver: &str,
        (point, nth): (Point, u32),
        payments: Vec<(&str, SendPaymentRequest)>,
    ) -> Result<Self> {
        let status = network[receiver].stop().await?;
        ensure!(status.success(), "{receiver} ended with {status}");
        network[receiver].abort_at(point, nth);
        network.restart(&[receiver]).await?;
        network.wait_usable().await?;
        let mut under_way = JoinSet::new();
        for (payer, request) in payments {
            let api = network[payer].api()?;
            under_way.spawn(async move { api.pay(request).await });
        }
        network[receiver].wait_for_abort().await?;
        network[receiver].abort_nowhere();
        Ok(Self(under_way))
    }

    /// Waits for the end of all payments. The receiver is back.
    ///
    /// # Errors
    /// If one failed: each of them can be completed after the crash.
    pub async fn succeed(self) -> Result<Vec<Payment>> {
        let ended = self.0.join_all().await.into_iter();
        let payments = ended.collect::<Result<Vec<_>, Status>>()?;
        for payment in &payments {
            ensure!(
                payment.status() == PaymentStatus::Succeeded,
                "{} is {}: {}",
                payment.payment_hash,
                payment.status().as_str_name(),
                payment.failure_reason().as_str_name()
            );
        }
        Ok(payments)
    }
}
