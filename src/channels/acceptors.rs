//! Channel acceptors: API clients that decide, in addition to our rules, which channels peers may
//! open (as in lnd).

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use lightning::util::config::{ChannelConfigOverrides, ChannelHandshakeConfigUpdate};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::inbound_request::Request;
use crate::sync::lock;

/// The time that each acceptor has to answer (lnd's `acceptortimeout`). LDK waits for a minute at
/// least.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The number of requests that may be queued for one acceptor.
const REQUEST_QUEUE_LEN: usize = 16;

/// The text sent to the peer if an acceptor gives no reason, does not answer or disconnects (as
/// lnd).
pub const REJECTED: &str = "channel rejected";

/// The terms that an acceptor sets for an accepted channel; `None` means the node's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// The delay, in blocks, for the peer's funds after its own force close.
    pub remote_csv_delay: Option<u16>,
    /// The smallest HTLC that we accept, in msat.
    pub min_htlc_msat: Option<u64>,
    /// The number of confirmations before the channel can be used.
    pub min_depth_blocks: Option<u32>,
}

/// The terms of an accepted channel, or the reason sent to the peer.
pub type Decision = Result<Terms, String>;

/// A request that an acceptor has to decide.
#[derive(Debug)]
pub struct Question {
    pub request: Request,
    answer: oneshot::Sender<Decision>,
}

/// All channel acceptors. Clones share their state.
#[derive(Clone)]
pub struct ChannelAcceptors {
    acceptors: Arc<Mutex<Vec<mpsc::Sender<Question>>>>,
    /// The time for each acceptor's answer.
    answer_timeout: Duration,
}

impl Default for ChannelAcceptors {
    fn default() -> Self {
        Self {
            acceptors: Arc::default(),
            answer_timeout: ANSWER_TIMEOUT,
        }
    }
}

impl Question {
    /// Sends the decision. It is ignored if it comes too late.
    pub fn answer(self, decision: Decision) {
        let _ = self.answer.send(decision);
    }

    /// Returns whether the answer is no longer awaited.
    pub fn is_over(&self) -> bool {
        self.answer.is_closed()
    }
}

impl ChannelAcceptors {
    /// Adds an acceptor, which is asked until it drops the returned receiver.
    pub fn join(&self) -> mpsc::Receiver<Question> {
        let (acceptor, questions) = mpsc::channel(REQUEST_QUEUE_LEN);
        self.present().push(acceptor);
        questions
    }

    /// Returns whether there are no acceptors.
    pub fn is_empty(&self) -> bool {
        self.present().is_empty()
    }

    /// Asks all acceptors in turn; the channel is accepted if all accept it.
    ///
    /// # Errors
    ///
    /// The reason of the first acceptor that refuses.
    pub async fn decide(&self, request: &Request) -> Decision {
        let acceptors = self.present().clone();
        let mut terms = Terms::default();
        for acceptor in acceptors {
            let theirs = match timeout(self.answer_timeout, ask(&acceptor, request)).await {
                Ok(decision) => decision?,
                Err(_) => {
                    tracing::error!(
                        "a channel acceptor did not answer within {:?}",
                        self.answer_timeout
                    );
                    return Err(REJECTED.to_owned());
                }
            };
            terms = terms.and(theirs).ok_or_else(|| {
                tracing::error!("channel acceptors returned conflicting terms for one channel");
                REJECTED.to_owned()
            })?;
        }
        Ok(terms)
    }

    /// Returns the acceptors that are still connected.
    fn present(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Question>>> {
        let mut acceptors = lock(&self.acceptors);
        acceptors.retain(|acceptor| !acceptor.is_closed());
        acceptors
    }
}

/// Asks one acceptor. An acceptor that disconnects has refused, as in lnd.
async fn ask(acceptor: &mpsc::Sender<Question>, request: &Request) -> Decision {
    let (answer, decision) = oneshot::channel();
    let request = request.clone();
    let asked = acceptor.send(Question { request, answer }).await;
    match asked {
        Ok(()) => decision.await.unwrap_or_else(|_| Err(REJECTED.to_owned())),
        Err(_) => Err(REJECTED.to_owned()),
    }
}

impl Terms {
    /// Merges two sets of terms; `None` if they contradict each other.
    fn and(self, other: Self) -> Option<Self> {
        Some(Self {
            remote_csv_delay: either(self.remote_csv_delay, other.remote_csv_delay)?,
            min_htlc_msat: either(self.min_htlc_msat, other.min_htlc_msat)?,
            min_depth_blocks: either(self.min_depth_blocks, other.min_depth_blocks)?,
        })
    }

    /// Converts the terms to LDK's overrides.
    pub(super) fn overrides(self) -> ChannelConfigOverrides {
        ChannelConfigOverrides {
            handshake_overrides: Some(ChannelHandshakeConfigUpdate {
                to_self_delay: self.remote_csv_delay,
                htlc_minimum_msat: self.min_htlc_msat,
                minimum_depth: self.min_depth_blocks,
                ..Default::default()
            }),
            update_overrides: None,
        }
    }
}

/// Returns the value that is set; `None` if both are set and differ.
fn either<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => Some(one.or(other)),
    }
}

#[cfg(test)]
mod tests;
