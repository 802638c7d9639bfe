//! Agreed cooperative closes, until one of the transactions confirms.
//!
//! LDK removes a channel as soon as its closing transaction has both signatures, and at the next
//! start it force-closes every channel whose monitor remains. Our commitment would replace the
//! agreed transaction while that is unconfirmed. So the agreed transaction is stored and
//! rebroadcast, and our commitment is held back unless the operator asks for it. Such a channel has
//! no HTLCs (BOLT 2: `closing_signed` comes after the last one is removed), so a slow close puts no
//! funds at risk. LDK's claims from a confirmed commitment, such as a revoked one of the peer, do
//! not spend the funding output and are never held back, whatever outpoint a peer has named as its
//! funding.

use bitcoin::{OutPoint, Transaction};
use lightning::ln::types::ChannelId;

use super::{FundingSpends, Spend, Watched, funding_script};
use crate::channels::closing_transaction::{AgreedClose, ClosingKind, ClosingTransaction};
use crash_points::Point;

/// The part of an agreed close that [`Watched`] keeps.
pub(super) struct Agreed {
    transaction: Transaction,
    forced: bool,
}

impl Watched {
    /// Returns the transaction that both sides have signed. It may wait for its commit or be
    /// broadcast.
    pub(super) fn agreed_closing(&self) -> Option<ClosingTransaction> {
        let agreed = self.agreed.as_ref().filter(|agreed| !agreed.forced)?;
        Some(ClosingTransaction {
            txid: agreed.transaction.compute_txid(),
            height: None,
            kind: Some(ClosingKind::Cooperative),
        })
    }
}

impl FundingSpends {
    /// Watches the channels of these closes again. Call it at start, before LDK broadcasts
    /// anything.
    pub fn restore(&self, closes: impl IntoIterator<Item = AgreedClose>) {
        closes
            .into_iter()
            .for_each(|close| self.restore_close(close));
    }

    fn restore_close(&self, close: AgreedClose) {
        let Some(input) = close.transaction.input.first() else {
            return;
        };
        let Some(script) = funding_script(input) else {
            // Earlier versions stored claims as agreed closes.
            tracing::warn!(
                channel = %close.channel_id,
                "a stored closing transaction does not spend a channel"
            );
            self.closed.buried(close.channel_id);
            return;
        };
        let agreed = close.transaction.compute_txid();
        let unconfirmed = (!close.forced).then_some(agreed);
        let closing = |txid, height| ClosingTransaction {
            txid,
            height,
            kind: (txid == agreed).then_some(ClosingKind::Cooperative),
        };
        let closing = match close.confirmed {
            Some((txid, height)) => Some(closing(txid, Some(height))),
            None => unconfirmed.map(|txid| closing(txid, None)),
        };
        self.watch(close.channel_id, input.previous_output, script);
        if let Some(watched) = self.watched().get_mut(&input.previous_output) {
            let spend = closing.map(|closing| Spend {
                closing,
                forced: closing.txid != agreed,
            });
            watched.spend.send_replace(spend);
            watched.agreed = Some(Agreed {
                transaction: close.transaction,
                forced: close.forced,
            });
        }
    }

    /// Records the closing transactions among those that LDK broadcasts as agreed. They must be on
    /// disk before they are broadcast.
    pub fn note_agreed(&self, transactions: &[Transaction]) {
        let mut watched = self.watched();
        for transaction in transactions.iter().filter(|one| !is_commitment(one)) {
            let [input] = &transaction.input[..] else {
                continue;
            };
            let Some(watched) = watched.get_mut(&input.previous_output) else {
                continue;
            };
            if watched.agreed.is_none() && watched.is_spent_by(input) {
                watched.agreed = Some(Agreed {
                    transaction: transaction.clone(),
                    forced: false,
                });
                self.keep_agreed(watched);
                crash_points::at(Point::CloseAgreed);
            }
        }
    }

    /// Returns whether these transactions must be held back, as they would replace an agreed
    /// closing transaction.
    pub fn keeps_back(&self, transactions: &[Transaction]) -> bool {
        let watched = self.watched();
        transactions.iter().any(|transaction| {
            transaction.input.iter().any(|input| {
                let watched = watched.get(&input.previous_output);
                let spent = watched.filter(|one| one.is_spent_by(input));
                let agreed = spent.and_then(|one| one.agreed.as_ref());
                agreed.is_some_and(|agreed| {
                    !agreed.forced
                        && agreed.transaction.compute_txid() != transaction.compute_txid()
                })
            })
        })
    }

    /// Returns whether an agreed closing transaction is among these.
    pub fn are_agreed(&self, transactions: &[Transaction]) -> bool {
        let watched = self.watched();
        let mut agreed = watched.values().filter_map(|one| one.agreed.as_ref());
        agreed.any(|agreed| transactions.contains(&agreed.transaction))
    }

    /// Returns the agreed transactions that are unconfirmed.
    pub fn unconfirmed_closes(&self) -> Vec<Transaction> {
        let watched = self.watched();
        let waiting = watched.values().filter(|watched| !watched.is_confirmed());
        let agreed = waiting.filter_map(|watched| watched.agreed.as_ref());
        agreed
            .filter(|agreed| !agreed.forced)
            .map(|agreed| agreed.transaction.clone())
            .collect()
    }

    /// Returns the channel of an unconfirmed agreed close.
    pub fn agreed_channel(&self, channel_point: &OutPoint) -> Option<ChannelId> {
        let watched = self.watched();
        let watched = watched.get(channel_point)?;
        (watched.agreed.is_some() && !watched.is_confirmed()).then_some(watched.channel_id)
    }

    /// Records that the operator wants our commitment instead of the agreed transaction; survives
    /// restarts.
    pub fn force(&self, channel_point: &OutPoint) {
        let mut watched = self.watched();
        let Some(watched) = watched.get_mut(channel_point) else {
            return;
        };
        if let Some(agreed) = &mut watched.agreed {
            agreed.forced = true;
            self.keep_agreed(watched);
        }
    }

    /// Stores the state of an agreed close, if this is one.
    pub(super) fn keep_agreed(&self, watched: &Watched) {
        if let Some(agreed) = &watched.agreed {
            let closing = (*watched.spend.borrow()).map(|spend| spend.closing);
            self.closed.agreed(AgreedClose {
                channel_id: watched.channel_id,
                transaction: agreed.transaction.clone(),
                forced: agreed.forced,
                confirmed: closing.and_then(|closing| Some((closing.txid, closing.height?))),
            });
        }
    }
}

/// Returns whether this is a commitment transaction. BOLT 3 fixes the upper bytes of its lock time
/// and sequence; a closing transaction has a lock time of 0.
pub fn is_commitment(transaction: &Transaction) -> bool {
    let lock_time = transaction.lock_time.to_consensus_u32() >> 24;
    let mut sequences = transaction.input.iter().map(|input| input.sequence.0 >> 24);
    lock_time == 0x20 && sequences.all(|sequence| sequence == 0x80)
}
