//! Attackers run on their own threads, so that they affect honest nodes only by using CPU time.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use bitcoin::hashes::{Hash, sha256};
use tokio::runtime;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Delay between two attempts if the node rejects the attacker.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A thread that attacks until it is stopped.
pub(crate) struct Attacker {
    stop: CancellationToken,
    tally: Tally,
    thread: Option<JoinHandle<Result<()>>>,
}

/// Number of messages, connections or channels sent, depending on the attack.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally(Arc<AtomicU64>);

impl Tally {
    pub(crate) fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Attacker {
    /// Runs `attack` repeatedly; errors, for example because the node closes connections, lead to a retry.
    pub(crate) fn start<F>(attack: impl Fn(Tally) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<()>>,
    {
        let (stop, tally) = (CancellationToken::new(), Tally::default());
        let (stopped, counted) = (stop.clone(), tally.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let forever = async {
                loop {
                    if attack(counted.clone()).await.is_err() {
                        sleep(RETRY_DELAY).await;
                    }
                }
            };
            runtime?.block_on(async {
                tokio::select! {
                    () = stopped.cancelled() => {}
                    () = forever => {}
                }
            });
            Ok(())
        });
        Self {
            stop,
            tally,
            thread: Some(thread),
        }
    }

    /// Uses as much CPU time as an attacker that sends at full speed, but sends nothing.
    pub(crate) fn harmless() -> Self {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut hash = sha256::Hash::hash(&[]);
            while !stopped.is_cancelled() {
                hash = sha256::Hash::hash(hash.as_ref());
            }
            std::hint::black_box(hash);
            Ok(())
        });
        Self {
            stop,
            tally: Tally::default(),
            thread: Some(thread),
        }
    }

    /// Stops the attack, closes its connections, and returns how much was sent.
    pub(crate) fn stop(mut self) -> Result<u64> {
        self.stop.cancel();
        let thread = self
            .thread
            .take()
            .context("the attacker was already stopped")?;
        thread
            .join()
            .map_err(|_| anyhow!("the attacker panicked"))??;
        Ok(self.tally.read())
    }

    /// How much was sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.tally.read()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
