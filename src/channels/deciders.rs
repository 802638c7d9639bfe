//! Callers who decide, beside our own rules, which channels peers may open to us (lnd's channel acceptors).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lightning::util::config::{ChannelConfigOverrides, ChannelHandshakeConfigUpdate};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::accept::Request;

/// How long each caller has (lnd's `acceptortimeout`). LDK waits for a minute at least.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests that may wait for a slow caller.
const BACKLOG: usize = 16;

/// What a peer is told if a caller gives no reason of its own, does not answer or goes away (lnd).
pub const REJECTED: &str = "channel rejected";

/// What a caller asks of the peer whose channel it accepts; none: what the node asks of all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Terms {
    /// Blocks that the peer waits for its money after its own force close.
    pub remote_csv_delay: Option<u16>,
    /// The smallest HTLC that we take, msat.
    pub min_htlc_msat: Option<u64>,
    /// Confirmations before the channel can be used.
    pub min_depth_blocks: Option<u32>,
}

/// The terms of a channel that is accepted, or what its peer is told.
pub type Decision = Result<Terms, String>;

/// A channel that a caller is to decide about.
#[derive(Debug)]
pub struct Question {
    pub request: Request,
    answer: oneshot::Sender<Decision>,
}

/// All callers who decide. Clones are the same.
#[derive(Clone)]
pub struct Deciders {
    callers: Arc<Mutex<Vec<mpsc::Sender<Question>>>>,
    /// For each caller's answer.
    patience: Duration,
}

impl Default for Deciders {
    fn default() -> Self {
        Self {
            callers: Arc::default(),
            patience: PATIENCE,
        }
    }
}

impl Question {
    /// An answer that comes too late is forgotten.
    pub fn answer(self, decision: Decision) {
        let _ = self.answer.send(decision);
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_over(&self) -> bool {
        self.answer.is_closed()
    }
}

impl Deciders {
    /// From now on one caller more is asked, until it drops what this returns.
    pub fn join(&self) -> mpsc::Receiver<Question> {
        let (caller, questions) = mpsc::channel(BACKLOG);
        self.present().push(caller);
        questions
    }

    /// Whether there is anybody to ask.
    pub fn is_empty(&self) -> bool {
        self.present().is_empty()
    }

    /// Asks one caller after another; the channel is accepted if all accept it.
    ///
    /// # Errors
    /// What the first who refuses has to say.
    pub async fn decide(&self, request: &Request) -> Decision {
        let callers = self.present().clone();
        let mut terms = Terms::default();
        for caller in callers {
            let theirs = match timeout(self.patience, ask(&caller, request)).await {
                Ok(decision) => decision?,
                Err(_) => {
                    tracing::error!(
                        "a channel acceptor did not answer within {:?}",
                        self.patience
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

    /// Those who have not gone away.
    fn present(&self) -> MutexGuard<'_, Vec<mpsc::Sender<Question>>> {
        // Poisoning is ignored: no holder of this lock can panic in the middle of a change.
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        callers.retain(|caller| !caller.is_closed());
        callers
    }
}

/// A caller that goes away has refused, as with lnd.
async fn ask(caller: &mpsc::Sender<Question>, request: &Request) -> Decision {
    let (answer, decision) = oneshot::channel();
    let request = request.clone();
    let asked = caller.send(Question { request, answer }).await;
    match asked {
        Ok(()) => decision.await.unwrap_or_else(|_| Err(REJECTED.to_owned())),
        Err(_) => Err(REJECTED.to_owned()),
    }
}

impl Terms {
    /// Both of them; `None` if they contradict each other.
    fn and(self, other: Self) -> Option<Self> {
        Some(Self {
            remote_csv_delay: either(self.remote_csv_delay, other.remote_csv_delay)?,
            min_htlc_msat: either(self.min_htlc_msat, other.min_htlc_msat)?,
            min_depth_blocks: either(self.min_depth_blocks, other.min_depth_blocks)?,
        })
    }

    /// For LDK.
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

/// `None` if both are there and differ.
fn either<T: PartialEq>(one: Option<T>, other: Option<T>) -> Option<Option<T>> {
    match (one, other) {
        (Some(one), Some(other)) if one != other => None,
        (one, other) => Some(one.or(other)),
    }
}

#[cfg(test)]
mod tests;
