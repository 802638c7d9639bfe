//! Events in any order: a set settles or fails as a whole, and the rows match what LDK was told
//! about every HTLC.

use std::collections::HashMap;

use lightning_types::payment::PaymentHash;
use proptest::prelude::*;

use crate::invoices::test_registry::*;
use crate::invoices::{Limits, NewInvoice, Purpose};
use crate::model::htlc::HtlcState;
use crate::model::invoice::{InvoiceRecord, InvoiceRef};
use ldk_amp::HtlcKey;

#[derive(Debug, Clone)]
enum Step {
    /// A shard of a set arrives, for the first time or again; its share may be wrong.
    Arrive {
        set: u8,
        shard: usize,
        wrong: bool,
    },
    /// All held HTLCs time out.
    TimeOut,
    Restart,
    Switch(bool),
    Cancel,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1..=4u8, 0..4usize, prop::bool::weighted(0.1))
            .prop_map(|(set, shard, wrong)| Step::Arrive { set, shard, wrong }),
        2 => Just(Step::TimeOut),
        2 => Just(Step::Restart),
        1 => any::<bool>().prop_map(Step::Switch),
        1 => Just(Step::Cancel),
    ]
}

/// The instruction that LDK got for an HTLC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instruction {
    Nothing,
    Claim,
    Fail,
}

/// The node, and LDK's view of it.
struct World {
    fixture: Fixture,
    invoice: InvoiceRecord,
    /// The shards of each set, as created by an honest sender.
    shards: HashMap<u8, Vec<Sent>>,
    /// Every HTLC that ever arrived.
    came: Vec<(Sent, Instruction)>,
    next_htlc_id: u64,
}

impl World {
    async fn new() -> Self {
        let fixture = Fixture::with(Limits {
            max_held_per_channel: 100,
            max_open_sets: 100,
            ..LIMITS
        });
        let new = NewInvoice {
            purpose: Purpose::Amp,
            ..NewInvoice::default()
        };
        let invoice = fixture.registry.add(new).await.unwrap();
        let amounts: [&[u64]; 4] = [&[100], &[60, 40], &[50, 30, 20], &[40, 30, 20, 10]];
        let shards = (1..=4).zip(amounts);
        let shards = shards.map(|(id, amounts)| (id, payment(id, amounts)));
        Self {
            shards: shards.collect(),
            fixture,
            invoice,
            came: Vec::new(),
            next_htlc_id: 0,
        }
    }

    async fn take(mut self, step: Step) -> Self {
        let by = InvoiceRef::Addr(self.invoice.payment_addr);
        match step {
            Step::Arrive { set, shard, wrong } => self.arrive(set, shard, wrong),
            Step::TimeOut => {
                self.fixture.registry.expire_sets(u64::MAX);
            }
            Step::Restart => self.fixture = self.fixture.restart(),
            // Fails if the invoice is already canceled.
            Step::Switch(on) => drop(self.fixture.registry.set_enabled(&by, on).await),
            Step::Cancel => self.fixture.registry.cancel(&by).await.unwrap(),
        }
        let answers = self.fixture.port.answers();
        self.carry_out(answers);
        self
    }

    fn arrive(&mut self, set: u8, shard: usize, wrong: bool) {
        let shards = &self.shards[&set];
        let shard = shards[shard % shards.len()].clone();
        let mut shard = shard.to(self.invoice.payment_addr);
        if wrong {
            shard = shard.with_wrong_share();
        }
        if self.held(shard.hash()).is_some() {
            // LDK fails a second HTLC with a hash that it holds, and reports it.
            self.fixture.registry.htlc_gone(&shard.hash());
            return;
        }
        shard.envelope.htlc_id = self.next_htlc_id;
        self.next_htlc_id += 1;
        self.came.push((shard.clone(), Instruction::Nothing));
        let answers = self.fixture.arrive(&shard);
        self.carry_out(answers);
    }

    fn held(&mut self, hash: PaymentHash) -> Option<&mut (Sent, Instruction)> {
        let mut came = self.came.iter_mut();
        came.find(|(shard, instruction)| {
            shard.hash() == hash && *instruction == Instruction::Nothing
        })
    }

    /// LDK carries out instructions for the HTLCs that it holds.
    fn carry_out(&mut self, answers: Vec<Answer>) {
        for answer in answers {
            let (hash, instruction) = match answer {
                Answer::Claim(hash) => (hash, Instruction::Claim),
                Answer::Fail(hash) | Answer::TimeOut(hash) => (hash, Instruction::Fail),
            };
            if let Some(held) = self.held(hash) {
                held.1 = instruction;
                let key: HtlcKey = held.0.envelope.key();
                self.fixture.port.forget(key);
            } else {
                let again = |(shard, was): &(Sent, Instruction)| {
                    shard.hash() == hash && *was == instruction
                };
                assert!(
                    self.came.iter().any(again),
                    "{answer:?} for an unknown HTLC"
                );
            }
        }
    }

    /// Compares LDK's instructions with the rows.
    fn check(&self) {
        for (shard, instruction) in &self.came {
            let expected = match instruction {
                Instruction::Nothing => vec![Some(HtlcState::Accepted)],
                Instruction::Claim => vec![Some(HtlcState::Settled)],
                // HTLCs that were failed on arrival have no row.
                Instruction::Fail => vec![Some(HtlcState::Canceled), None],
            };
            let state = self.fixture.state(shard);
            assert!(
                expected.contains(&state),
                "LDK was told {instruction:?}, but the row is {state:?}"
            );
        }
        let mut paid = 0;
        for id in 1..=4 {
            let of_set = |(shard, instruction): &&(Sent, Instruction)| {
                shard.envelope.amp.set_id.as_bytes() == &[id; 32]
                    && *instruction == Instruction::Claim
            };
            let claimed: u64 = self
                .came
                .iter()
                .filter(of_set)
                .map(|(shard, _)| shard.claimable.amount_msat)
                .sum();
            assert!(
                claimed == 0 || claimed == 100,
                "only partly paid: {claimed}"
            );
            let set = self.fixture.set(id);
            let settled = set.filter(|set| set.settle_index.is_some());
            assert_eq!(settled.map_or(0, |set| set.amt_paid_msat), claimed);
            paid += claimed;
        }
        assert_eq!(self.fixture.invoices()[0].amt_paid_msat, paid);
    }
}

proptest! {
    // Each case uses a database and several restarts.
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn sets_settle_or_fail_atomically(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world = world.take(step).await;
            }
            world.check();
            world = world.take(Step::TimeOut).await;
            world.check();
            assert!(world.came.iter().all(|(_, instruction)| *instruction != Instruction::Nothing));
        });
    }
}
