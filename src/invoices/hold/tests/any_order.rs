//! Events in any order: all HTLCs of a payment are claimed or all are failed, and rows are stored
//! before LDK is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use bitcoin::Network;
use lightning::ln::types::ChannelId;
use lightning_types::payment::{PaymentHash, PaymentPreimage};
use proptest::prelude::*;

use crate::invoices::hold::cancel_hold;
use crate::invoices::inbound_htlcs::{Claimable, InboundHtlcs, IncomingHtlc};
use crate::invoices::test_registry::LIMITS;
use crate::invoices::{NewInvoice, Purpose, Registry};
use crate::ldk::KeysManager;
use crate::model::htlc::HtlcState;
use crate::model::invoice::InvoiceState;
use crate::storage::Store;
use ldk_amp::Envelope;
use ldk_amp::HtlcKey;

const PREIMAGE: PaymentPreimage = PaymentPreimage([5; 32]);
const AMOUNT: u64 = 600;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// A payment in this many parts arrives; LDK reports it now or later.
    Arrive {
        parts: u64,
        tell: bool,
    },
    /// LDK reports pending events.
    Events,
    Settle,
    Cancel,
    /// LDK fails another HTLC with the hash.
    Stray,
    Blocks(u32),
    /// LDK's current state is persisted.
    Persist,
    /// After the restart LDK has its latest state, or the one last persisted.
    Restart {
        behind: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1u64..4, any::<bool>()).prop_map(|(parts, tell)| Step::Arrive { parts, tell }),
        2 => Just(Step::Events),
        3 => Just(Step::Settle),
        1 => Just(Step::Cancel),
        1 => Just(Step::Stray),
        3 => prop_oneof![1u32..8, 50u32..70].prop_map(Step::Blocks),
        1 => Just(Step::Persist),
        3 => any::<bool>().prop_map(|behind| Step::Restart { behind }),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    Held,
    Claimed,
    Failed,
}

#[derive(Debug, Clone)]
struct Part {
    key: HtlcKey,
    expiry: u32,
    fate: Fate,
}

/// The state that LDK persists.
#[derive(Debug, Clone, Default)]
struct State {
    height: u32,
    payments: Vec<Vec<Part>>,
    claimable_untold: bool,
    failure_untold: bool,
}

impl State {
    /// The payment that LDK holds; it holds at most one per hash.
    fn held(&mut self) -> Option<&mut Vec<Part>> {
        let last = self.payments.last_mut();
        last.filter(|parts| parts.iter().any(|part| part.fate == Fate::Held))
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        let parts = self.payments.iter().flatten();
        parts.filter(|part| part.fate == Fate::Held)
    }

    fn has_claimed(&self) -> bool {
        let mut parts = self.payments.iter().flatten();
        parts.any(|part| part.fate == Fate::Claimed)
    }

    /// LDK fails each part at its own deadline.
    fn connect(&mut self, tip: u32) {
        self.height = tip;
        for part in self.payments.iter_mut().flatten() {
            if part.fate == Fate::Held && tip >= part.expiry - 39 {
                part.fate = Fate::Failed;
                self.failure_untold = true;
            }
        }
    }
}

/// A model of LDK.
#[derive(Default)]
struct Ldk {
    live: Mutex<State>,
    store: OnceLock<Arc<Store>>,
}

impl Ldk {
    fn rows(&self, parts: &[Part]) -> Vec<Option<HtlcState>> {
        let store = self.store.get().unwrap();
        store.flush();
        let row = |part: &Part| store.htlc(&part.key);
        let rows = parts.iter().map(row);
        rows.map(|row| row.unwrap().map(|row| row.state)).collect()
    }
}

impl InboundHtlcs for Ldk {
    fn claim(&self, preimage: PaymentPreimage) {
        assert_eq!(preimage, PREIMAGE);
        let mut live = self.live.lock().unwrap();
        let claimed = live.has_claimed();
        let Some(parts) = live.held() else {
            assert!(claimed, "claimed after it was failed");
            return;
        };
        assert!(parts.iter().all(|part| part.fate == Fate::Held), "half");
        for row in self.rows(parts) {
            assert_eq!(
                row,
                Some(HtlcState::Settled),
                "the row must be stored first"
            );
        }
        parts.iter_mut().for_each(|part| part.fate = Fate::Claimed);
    }

    fn fail(&self, _: &PaymentHash) {
        let mut live = self.live.lock().unwrap();
        if let Some(parts) = live.held() {
            for row in self.rows(parts) {
                assert!(matches!(row, None | Some(HtlcState::Canceled)), "{row:?}");
            }
            let held = parts.iter_mut().filter(|part| part.fate == Fate::Held);
            held.for_each(|part| part.fate = Fate::Failed);
        }
    }

    fn fail_timed_out(&self, _: &PaymentHash, _: &Envelope) {
        unreachable!("no AMP here");
    }

    fn height(&self) -> u32 {
        self.live.lock().unwrap().height
    }

    fn incoming(&self, _: &PaymentHash) -> Vec<IncomingHtlc> {
        let live = self.live.lock().unwrap();
        let incoming = |part: &Part| IncomingHtlc {
            key: part.key,
            amount_msat: AMOUNT / 3,
            cltv_expiry: part.expiry,
        };
        live.parts().map(incoming).collect()
    }

    fn incoming_on(&self, _: &[ChannelId], hash: &PaymentHash) -> Vec<IncomingHtlc> {
        self.incoming(hash)
    }

    fn process_pending(&self) {}

    fn all_incoming(&self) -> Vec<HtlcKey> {
        let live = self.live.lock().unwrap();
        live.parts().map(|part| part.key).collect()
    }

    fn scid(&self, _: &ChannelId) -> u64 {
        42
    }
}

/// A node with one hold invoice.
struct Node {
    runtime: tokio::runtime::Runtime,
    directory: tempfile::TempDir,
    registry: Registry,
    ldk: Arc<Ldk>,
    disk: State,
    tip: u32,
}

fn open(
    runtime: &tokio::runtime::Runtime,
    directory: &std::path::Path,
    state: State,
) -> (Arc<Ldk>, Registry) {
    let _guard = runtime.enter();
    let store = Arc::new(Store::open(directory).unwrap());
    let ldk = Arc::new(Ldk {
        live: Mutex::new(state),
        store: OnceLock::from(store.clone()),
    });
    let keys = Arc::new(KeysManager::new(&[7; 32], 1, 1, true));
    let registry = Registry::new(store, ldk.clone(), keys, Network::Regtest, LIMITS).unwrap();
    registry.restore().unwrap();
    (ldk, registry)
}

impl Node {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (ldk, registry) = open(&runtime, directory.path(), State::default());
        let new = NewInvoice {
            purpose: Purpose::Hold {
                hash: PREIMAGE.into(),
            },
            cltv_delta: 42,
            ..NewInvoice::default()
        };
        runtime.block_on(registry.add(new)).unwrap();
        Self {
            runtime,
            directory,
            registry,
            ldk,
            disk: State::default(),
            tip: 0,
        }
    }

    fn live(&self) -> std::sync::MutexGuard<'_, State> {
        self.ldk.live.lock().unwrap()
    }

    fn state(&self) -> State {
        self.live().clone()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Arrive { parts, tell } => {
                self.arrive(parts);
                if tell {
                    self.events();
                }
            }
            Step::Events => self.events(),
            Step::Settle => self.settle(),
            Step::Cancel => self.cancel(),
            Step::Stray => self.registry.htlc_gone(&PREIMAGE.into()),
            Step::Blocks(blocks) => {
                self.tip += blocks;
                self.live().connect(self.tip);
            }
            Step::Persist => self.disk = self.state(),
            Step::Restart { behind } => self.restart(behind),
        }
    }

    /// The HTLCs and the pending event are on disk before LDK reports them.
    fn arrive(&mut self, parts: u64) {
        let tip = self.tip;
        let mut live = self.live();
        if live.held().is_some() {
            return;
        }
        let payment = live.payments.len() as u64;
        let part = |n| Part {
            key: HtlcKey {
                channel_id: ChannelId([1; 32]),
                htlc_id: payment * 10 + n,
            },
            expiry: tip + 100 + 3 * n as u32,
            fate: Fate::Held,
        };
        live.payments.push((0..parts).map(part).collect());
        live.claimable_untold = true;
        let state = live.clone();
        drop(live);
        self.disk = state;
    }

    /// In LDK's order: the payment arrived before it failed.
    fn events(&self) {
        let (claimable, failed, deadline) = {
            let mut live = self.live();
            let first = live.payments.last().and_then(|parts| parts.first());
            let deadline = first.map_or(0, |part| part.expiry - 39);
            let claimable = std::mem::take(&mut live.claimable_untold);
            (
                claimable,
                std::mem::take(&mut live.failure_untold),
                deadline,
            )
        };
        if claimable {
            self.registry.accept_bolt11(Claimable {
                payment_hash: PREIMAGE.into(),
                amount_msat: AMOUNT,
                claim_deadline: Some(deadline),
                channels: Vec::new(),
                custom_records: BTreeMap::new(),
            });
        }
        if failed {
            self.registry.htlc_gone(&PREIMAGE.into());
        }
    }

    fn settle(&self) {
        let settled = self.registry.settle_hold(PREIMAGE);
        if self.runtime.block_on(settled).is_ok() {
            assert!(self.live().has_claimed());
            assert_eq!(self.invoice_state(), InvoiceState::Settled);
        }
    }

    fn cancel(&self) {
        let hash = PREIMAGE.into();
        let mut state = self.registry.state();
        let invoice = self.registry.find_by_hash(&state, &hash).unwrap().unwrap();
        if matches!(invoice.state, InvoiceState::Open | InvoiceState::Accepted) {
            let canceled = cancel_hold(&mut state, invoice);
            self.registry.carry_out(&mut state, canceled);
        }
    }

    /// Decisions are carried out before LDK processes the blocks that it missed.
    fn restart(&mut self, behind: bool) {
        self.ldk.store.get().unwrap().close().unwrap();
        if !behind {
            self.disk = self.state();
        }
        (self.ldk, self.registry) = open(&self.runtime, self.directory.path(), self.disk.clone());
        self.live().connect(self.tip);
        self.events();
    }

    fn invoice_state(&self) -> InvoiceState {
        let store = self.ldk.store.get().unwrap();
        store.flush();
        store.invoice(1).unwrap().unwrap().state
    }

    fn check(&self) {
        let live = self.state();
        for parts in &live.payments {
            let first = parts[0].fate;
            assert!(
                parts.iter().all(|part| part.fate == first),
                "only partly settled: {parts:?}"
            );
            for row in self.ldk.rows(parts) {
                let expected = match first {
                    Fate::Held => HtlcState::Accepted,
                    Fate::Claimed => HtlcState::Settled,
                    Fate::Failed => HtlcState::Canceled,
                };
                // A payment that was rejected has no row.
                let refused = row.is_none() && first == Fate::Failed;
                assert!(refused || row == Some(expected), "{first:?}: {row:?}");
            }
        }
        let state = self.invoice_state();
        assert_eq!(state == InvoiceState::Settled, live.has_claimed());
        let is_held = live.parts().next().is_some();
        assert_eq!(state == InvoiceState::Accepted, is_held);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn payments_settle_or_fail_atomically(
        steps in proptest::collection::vec(any_step(), 1..14),
        behind: bool,
    ) {
        let mut node = Node::new();
        for step in steps {
            node.take(step);
        }
        node.events();
        node.check();
        node.restart(behind);
        node.check();
        node.take(Step::Blocks(200));
        node.events();
        node.check();
        assert!(node.live().parts().next().is_none(), "must not be held forever");
    }
}
