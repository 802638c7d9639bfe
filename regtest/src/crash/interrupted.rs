//! Payments whose receiver, or whose senders, die at a named point in the middle of one of them.

use crash_points::Point;
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::lnrpc::payment::PaymentStatus;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use anyhow::{Context, Result, bail, ensure};
use tokio::task::JoinSet;
use tonic::Status;

use crate::network::Network;

/// The calls of payments that were under way when nodes died.
#[derive(Debug)]
pub struct Interrupted(JoinSet<Result<Payment, Status>>);

impl Interrupted {
    /// Starts the victims (by name) anew so that each aborts when it passes `point` for the `nth`
    /// time, lets the payers (by name) pay, and waits until all victims have aborted. They stay down,
    /// and abort nowhere from their next start on.
    ///
    /// # Errors
    /// If one did not die, or not by that.
    pub async fn start(
        network: &mut Network,
        victims: &[&str],
        (point, nth): (Point, u32),
        payments: Vec<(&str, SendPaymentRequest)>,
    ) -> Result<Self> {
        for victim in victims {
            let status = network[*victim].stop().await?;
            ensure!(status.success(), "{victim} ended with {status}");
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
            aborted.with_context(|| format!("{victim} never came to {point}:{nth}"))?;
            network[*victim].abort_nowhere();
        }
        Ok(Self(under_way))
    }

    /// Waits for the end of all calls. The victims were the senders.
    ///
    /// # Errors
    /// If one was told how its payment ended: each of them died before that.
    pub async fn cut_off(self) -> Result<()> {
        let told = self.0.join_all().await.into_iter().flatten().next();
        if let Some(payment) = told {
            bail!("the payer of {} was told of its end", payment.payment_hash);
        }
        Ok(())
    }

    /// Waits for the end of all payments. The receiver was the victim, and is back.
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
