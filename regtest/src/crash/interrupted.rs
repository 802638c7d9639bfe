//! Payments whose receiver or senders crash at a named crash point while they are in flight.

use anyhow::{Context, Result, bail, ensure};
use crash_points::Point;
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use tokio::task::JoinSet;
use tonic::Status;

use crate::network::Network;

/// The calls of payments in flight when nodes crashed.
#[derive(Debug)]
pub struct Interrupted(JoinSet<Result<Payment, Status>>);

impl Interrupted {
    /// Restarts the victims (by name) so that each aborts when it passes `point` for the `nth` time,
    /// lets the payers (by name) pay, and waits until all victims have aborted. They stay down, and
    /// have no crash point after their next start.
    ///
    /// # Errors
    /// If one did not crash, or not at that point.
    pub async fn start(
        network: &mut Network,
        victims: &[&str],
        (point, nth): (Point, u32),
        payments: Vec<(&str, SendPaymentRequest)>,
    ) -> Result<Self> {
        for victim in victims {
            let status = network[*victim].stop().await?;
            ensure!(status.success(), "{victim} exited with {status}");
            network[*victim].abort_at(point, nth);
        }
        network.restart(victims).await?;
        network.wait_usable().await?;
        let mut under_way = JoinSet::new();
        for (payer, request) in payments {
            let api = network[payer].api()?;
            under_way.spawn(async move { api.pay(request).await });
        }
        for victim in victims {
            let aborted = network[*victim].wait_for_abort().await;
            aborted.with_context(|| format!("{victim} never reached {point}:{nth}"))?;
            network[*victim].abort_nowhere();
        }
        Ok(Self(under_way))
    }

    /// Waits for the end of all calls whose senders crashed.
    ///
    /// # Errors
    /// If one got a response: each sender crashed before its payment completed.
    pub async fn cut_off(self) -> Result<()> {
        let completed = self.0.join_all().await.into_iter().flatten().next();
        if let Some(payment) = completed {
            bail!("the payer of {} got a final response", payment.payment_hash);
        }
        Ok(())
    }

    /// Waits for all payments to complete after the receiver crashed and was restarted.
    ///
    /// # Errors
    /// If one failed: each can be completed after the crash.
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
