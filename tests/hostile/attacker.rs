//! Attackers have a thread of their own: what they do costs the honest ones nothing but processor time.

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

/// Between two tries, if the node does not want us.
const PAUSE: Duration = Duration::from_millis(20);

/// A thread that attacks until it is stopped.
pub struct Attacker {
    stop: CancellationToken,
    tally: Tally,
    thread: Option<JoinHandle<Result<()>>>,
}

/// How much was sent: messages, connections or channels, as the attack has it.
#[derive(Clone, Debug, Default)]
pub struct Tally(Arc<AtomicU64>);

impl Tally {
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Attacker {
    /// Runs this again and again; that it fails, for example because the node closes connections, is a reason to try
    /// again.
    pub fn start<F>(attack: impl Fn(Tally) -> F + Send + 'static) -> Self
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
                        sleep(PAUSE).await;
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

    /// Keeps a processor busy as an attacker does who sends as fast as he can, and sends nothing.
    pub fn harmless() -> Self {
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

    /// Ends it and closes its connections. Returns how much it has sent.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.cancel();
        let thread = self.thread.take().context("it was stopped already")?;
        thread
            .join()
            .map_err(|_| anyhow!("the attacker panicked"))??;
        Ok(self.tally.read())
    }

    /// How much it has sent so far.
    pub fn sent(&self) -> u64 {
        self.tally.read()
    }
}

impl Drop for Attacker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
