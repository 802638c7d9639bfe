//! What is submitted to bitcoind together.

use std::collections::{BTreeSet, HashSet};

use bitcoin::{OutPoint, Transaction, TxIn, Txid};

/// What is sent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Our money is in it, and it may have a deadline: claims, and our commitment of a channel in which
    /// we hold something.
    Urgent,
    /// Cooperative closes.
    Normal,
    /// Brings us nothing, or was broadcast before.
    Idle,
}

/// An output, and the script or key with which its spender spends it. A peer may name an output of a commitment
/// as its funding: what ends its channel is no version of our claim on that output.
type Claimed = (OutPoint, Vec<u8>);

/// A transaction, or a package of parents and their child.
#[derive(Debug, Clone)]
pub struct Submission {
    transactions: Vec<Transaction>,
    txids: Vec<Txid>,
    /// What it is about: all that it spends of others, or in a package, where the child adds coins to
    /// pay with, all that the parents do. Versions with different fees have these in common.
    claimed: BTreeSet<Claimed>,
    /// All that it spends of others, coins that pay the fee included.
    spent: BTreeSet<OutPoint>,
    priority: Priority,
    repeated: bool,
}

impl Submission {
    /// Transactions in any order.
    pub fn new(transactions: Vec<Transaction>) -> Self {
        let transactions = parents_first(transactions);
        let txids: Vec<Txid> = transactions.iter().map(Transaction::compute_txid).collect();
        let parents = match &transactions[..] {
            [parents @ .., _child] if !parents.is_empty() => parents,
            all => all,
        };
        let of_others = |transactions: &[Transaction]| -> BTreeSet<Claimed> {
            let inputs = transactions.iter().flat_map(|one| &one.input);
            let others = inputs.filter(|input| !txids.contains(&input.previous_output.txid));
            let claimed = |input: &TxIn| {
                let script = input.witness.last().unwrap_or_default();
                (input.previous_output, script.to_vec())
            };
            others.map(claimed).collect()
        };
        let claimed = of_others(parents);
        let all = of_others(&transactions).into_iter();
        let spent = all.map(|(output, _)| output).collect();
        Self {
            transactions,
            txids,
            claimed,
            spent,
            priority: Priority::Urgent,
            repeated: false,
        }
    }

    /// The same with another priority than [`Priority::Urgent`].
    pub fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// A transaction that was broadcast before, in case that bitcoind has forgotten it. It is tried
    /// once, without a log line if bitcoind refuses it.
    pub fn repeated(transaction: Transaction) -> Self {
        Self {
            repeated: true,
            priority: Priority::Idle,
            ..Self::new(vec![transaction])
        }
    }

    /// Parents before their children.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    pub fn txids(&self) -> &[Txid] {
        &self.txids
    }

    pub fn priority(&self) -> Priority {
        self.priority
    }

    pub(super) fn raise_priority(&mut self, priority: Priority) {
        self.priority = self.priority.min(priority);
    }

    /// Whether it spends outputs of one of these transactions.
    pub(super) fn spends_any(&self, txids: &[Txid]) -> bool {
        let mut inputs = self.transactions.iter().flat_map(|one| &one.input);
        inputs.any(|input| txids.contains(&input.previous_output.txid))
    }

    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Whether `older`, which still waits, makes this one needless.
    pub fn is_covered_by(&self, older: &Self) -> bool {
        let holds_all = self.txids.iter().all(|txid| older.txids.contains(txid));
        match (self.repeated, older.repeated) {
            (true, _) => holds_all || self.claimed == older.claimed,
            (false, false) => holds_all,
            (false, true) => false,
        }
    }

    /// Whether both spend the same: if bitcoind does not know the inputs of one, it does not know those of the
    /// other.
    pub(super) fn spends_the_same(&self, other: &Self) -> bool {
        self.spent == other.spent
    }

    /// Whether this takes the place of `older`, which still waits: it claims the same.
    pub fn replaces(&self, older: &Self) -> bool {
        !self.is_covered_by(older) && self.claimed == older.claimed
    }
}

/// Orders transactions so that each comes after those whose outputs it spends.
pub fn parents_first(transactions: Vec<Transaction>) -> Vec<Transaction> {
    let mut ordered = Vec::with_capacity(transactions.len());
    let mut rest: Vec<(Txid, Transaction)> = transactions
        .into_iter()
        .map(|transaction| (transaction.compute_txid(), transaction))
        .collect();
    while !rest.is_empty() {
        let open: HashSet<Txid> = rest.iter().map(|(txid, _)| *txid).collect();
        let spends_open = |transaction: &Transaction| {
            let mut inputs = transaction.input.iter();
            inputs.any(|input| open.contains(&input.previous_output.txid))
        };
        // Hashes cannot form a ring, so there is always one that spends none of the rest.
        let next = rest
            .iter()
            .position(|(_, transaction)| !spends_open(transaction))
            .unwrap_or(0);
        ordered.push(rest.remove(next).1);
    }
    ordered
}

#[cfg(test)]
mod tests {
    use bitcoin::Witness;

    use super::*;
    use crate::chain::broadcast::test_data::transaction;

    #[test]
    fn parents_come_before_their_child_in_whatever_order_they_are_given() {
        let a = transaction(&[], 1);
        let b = transaction(&[&a], 2);
        let child = transaction(&[&a, &b], 3);
        let right = [a.clone(), b.clone(), child.clone()];
        for given in [
            [&child, &b, &a],
            [&b, &child, &a],
            [&a, &b, &child],
            [&child, &a, &b],
        ] {
            let given = Submission::new(given.map(Clone::clone).to_vec());
            assert_eq!(given.transactions(), right);
        }
    }

    #[test]
    fn a_version_with_another_fee_replaces_the_older_one_and_a_part_of_it_does_not() {
        let coin = transaction(&[], 1);
        let commitment = transaction(&[&coin], 2);
        let alone = Submission::new(vec![commitment.clone()]);
        let child = |sat| {
            let child = transaction(&[&commitment], sat);
            Submission::new(vec![child, commitment.clone()])
        };
        assert!(child(3).replaces(&alone) && child(4).replaces(&child(3)));
        assert!(!alone.replaces(&child(3)) && alone.is_covered_by(&child(3)));
        assert!(child(3).is_covered_by(&child(3)) && !child(3).replaces(&child(3)));
        let own_coin = transaction(&[], 5);
        let paid_otherwise = transaction(&[&commitment, &own_coin], 3);
        let paid_otherwise = Submission::new(vec![commitment.clone(), paid_otherwise]);
        assert!(paid_otherwise.replaces(&child(3)), "with another coin");
        let other = Submission::new(vec![transaction(&[], 9)]);
        assert!(!other.replaces(&alone) && !other.is_covered_by(&alone));
    }

    #[test]
    fn what_is_repeated_never_replaces_what_is_new() {
        let coin = transaction(&[], 1);
        let old = Submission::repeated(transaction(&[&coin], 2));
        let new = Submission::new(vec![transaction(&[&coin], 3)]);
        assert!(old.is_covered_by(&new) && !old.replaces(&new));
        assert!(new.replaces(&old) && !new.is_covered_by(&old));
        let same = Submission::new(old.transactions().to_vec());
        assert!(same.replaces(&old), "it is tried as often as a new one");
    }

    #[test]
    fn what_spends_an_output_in_another_way_is_another_matter() {
        let commitment = transaction(&[], 1);
        let spend = |sat, script: u8| {
            let mut spend = transaction(&[&commitment], sat);
            spend.input[0].witness = Witness::from_slice(&[vec![1; 71], vec![script; 77]]);
            Submission::new(vec![spend])
        };
        let sweep = spend(2, 1);
        assert!(spend(3, 1).replaces(&sweep), "a newer version");
        let of_a_stranger = spend(4, 2);
        assert!(!of_a_stranger.replaces(&sweep) && !of_a_stranger.is_covered_by(&sweep));
        let again = Submission::repeated(spend(5, 1).transactions()[0].clone());
        assert!(again.is_covered_by(&sweep) && !again.is_covered_by(&of_a_stranger));
    }
}
