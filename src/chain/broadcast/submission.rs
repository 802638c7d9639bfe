//! Submissions: transactions that are sent to bitcoind together.

use std::collections::{BTreeSet, HashSet};

use bitcoin::{OutPoint, Transaction, TxIn, Txid};

/// The order in which submissions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Our funds are at stake, possibly with a deadline: claims, and our commitment of a channel in which we
    /// have a balance.
    Urgent,
    /// Cooperative closes.
    Normal,
    /// We have nothing at stake, or it was broadcast before.
    Idle,
}

/// An outpoint and the script or key with which it is spent. They belong together because a peer may name an
/// output of a commitment as its funding: a transaction that closes its channel is not a version of our
/// claim on that output.
type Claimed = (OutPoint, Vec<u8>);

/// A transaction, or a package of parents and their child.
#[derive(Debug, Clone)]
pub struct Submission {
    transactions: Vec<Transaction>,
    txids: Vec<Txid>,
    /// The outputs that identify the claim: all outside outputs that are spent, or in a package only those
    /// spent by the parents, because the child adds coins for the fee. Versions with different fees have
    /// these in common.
    claimed: BTreeSet<Claimed>,
    /// All outside outputs that are spent, including coins for the fee.
    spent: BTreeSet<OutPoint>,
    priority: Priority,
    repeated: bool,
}

impl Submission {
    /// Creates a submission of transactions in any order, with [`Priority::Urgent`].
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

    /// Sets the priority.
    pub fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// Creates a rebroadcast, in case bitcoind has dropped the transaction. It is tried once, without a log
    /// line above debug level if bitcoind rejects it.
    pub fn repeated(transaction: Transaction) -> Self {
        Self {
            repeated: true,
            priority: Priority::Idle,
            ..Self::new(vec![transaction])
        }
    }

    /// The transactions, parents before children.
    pub fn transactions(&self) -> &[Transaction] {
        &self.transactions
    }

    /// The transaction ids, in the same order.
    pub fn txids(&self) -> &[Txid] {
        &self.txids
    }

    /// The priority.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    pub(super) fn raise_priority(&mut self, priority: Priority) {
        self.priority = self.priority.min(priority);
    }

    /// Whether it spends an output of one of these transactions.
    pub(super) fn spends_any(&self, txids: &[Txid]) -> bool {
        let mut inputs = self.transactions.iter().flat_map(|one| &one.input);
        inputs.any(|input| txids.contains(&input.previous_output.txid))
    }

    /// Whether this is a rebroadcast; see [`repeated`](Self::repeated).
    pub fn is_repeated(&self) -> bool {
        self.repeated
    }

    /// Whether it has no transactions.
    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    /// Whether the queued submission `older` makes this one redundant.
    pub fn is_covered_by(&self, older: &Self) -> bool {
        let holds_all = self.txids.iter().all(|txid| older.txids.contains(txid));
        match (self.repeated, older.repeated) {
            (true, _) => holds_all || self.claimed == older.claimed,
            (false, false) => holds_all,
            (false, true) => false,
        }
    }

    /// Whether both spend the same outputs, so that inputs missing for one are missing for the other.
    pub(super) fn spends_the_same(&self, other: &Self) -> bool {
        self.spent == other.spent
    }

    /// Whether this replaces the queued submission `older` because it claims the same outputs.
    pub fn replaces(&self, older: &Self) -> bool {
        !self.is_covered_by(older) && self.claimed == older.claimed
    }
}

/// Sorts transactions topologically, parents before children.
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
        // Transactions cannot form a cycle, so there is always one that spends none of the rest.
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
    fn parents_come_before_their_child() {
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
    fn version_with_another_fee_replaces_the_older_one() {
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
    fn repeated_submission_never_replaces_a_new_one() {
        let coin = transaction(&[], 1);
        let old = Submission::repeated(transaction(&[&coin], 2));
        let new = Submission::new(vec![transaction(&[&coin], 3)]);
        assert!(old.is_covered_by(&new) && !old.replaces(&new));
        assert!(new.replaces(&old) && !new.is_covered_by(&old));
        let same = Submission::new(old.transactions().to_vec());
        assert!(
            same.replaces(&old),
            "a new submission is not limited to one attempt"
        );
    }

    #[test]
    fn spend_with_another_script_is_a_different_claim() {
        let commitment = transaction(&[], 1);
        let spend = |sat, script: u8| {
            let mut spend = transaction(&[&commitment], sat);
            spend.input[0].witness = Witness::from_slice(&[vec![1; 71], vec![script; 77]]);
            Submission::new(vec![spend])
        };
        let sweep = spend(2, 1);
        assert!(spend(3, 1).replaces(&sweep), "a newer version");
        let other_script = spend(4, 2);
        assert!(!other_script.replaces(&sweep) && !other_script.is_covered_by(&sweep));
        let again = Submission::repeated(spend(5, 1).transactions()[0].clone());
        assert!(again.is_covered_by(&sweep) && !again.is_covered_by(&other_script));
    }
}
