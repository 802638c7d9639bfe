//! Fills a node's database: what it received, its payments and its forwards.

use std::sync::Arc;

use ampd::model::attempt::{AttemptRecord, AttemptState, HopRecord};
use ampd::model::forward::ForwardRow;
use ampd::model::payment::{FailureReason, PaymentRecord, PaymentState, PaymentTerms};
use ampd::storage::forwards::AddForward;
use ampd::storage::payments::{PutAttempt, PutPayment};
use ampd::storage::{Change, Store};
use anyhow::Result;
use lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::common::fill::{self, History, bytes};

/// The size of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub received: History,
    /// Succeeded payments with one attempt of three hops each.
    pub payments: u64,
    pub forwards: u64,
    /// Coins of the on-chain wallet.
    pub coins: usize,
}

impl Size {
    /// When the payment with this index was created, in seconds since 1970.
    pub(crate) const fn paid_at(index: u64) -> u64 {
        START + index * PAYMENT_STEP
    }

    /// When the n-th forward happened, in seconds since 1970.
    pub(crate) const fn forwarded_at(n: u64) -> u64 {
        START + n * FORWARD_STEP
    }
}

/// 2026-01-01, and seconds between two payments and two forwards: both histories span about a year.
const START: u64 = 1_767_225_600;
const PAYMENT_STEP: u64 = 300;
const FORWARD_STEP: u64 = 30;
const SECOND_NS: u64 = 1_000_000_000;
/// Rows per commit.
const BATCH: usize = 5_000;
/// The channels of the forwards. The first of them has a single forward.
const CHANNELS: u64 = 40;

/// Writes the history.
pub(crate) async fn fill(store: &Arc<Store>, size: Size) -> Result<()> {
    fill::fill(store, size.received).await;
    let mut batch: Vec<Box<dyn Change>> = Vec::new();
    for index in 1..=size.payments {
        batch.push(Box::new(PutPayment(payment(index))));
        batch.push(Box::new(PutAttempt(attempt(index))));
        commit_full(store, &mut batch).await;
    }
    for n in 0..size.forwards {
        batch.push(forward(n));
        commit_full(store, &mut batch).await;
    }
    let ticket = store.submit(batch);
    store.durable(ticket).await;
    Ok(())
}

async fn commit_full(store: &Store, batch: &mut Vec<Box<dyn Change>>) {
    if batch.len() >= BATCH {
        let ticket = store.submit(std::mem::take(batch));
        store.durable(ticket).await;
    }
}

fn payment(index: u64) -> PaymentRecord {
    PaymentRecord {
        payment_index: index,
        identifier: bytes("payment", index),
        created_at_ns: Size::paid_at(index) * SECOND_NS,
        state: PaymentState::Succeeded,
        failure_reason: FailureReason::None,
        preimage: Some(PaymentPreimage(bytes("payment preimage", index))),
        root: None,
        terms: PaymentTerms {
            amount_msat: 1_000 + index,
            ..PaymentTerms::default()
        },
    }
}

fn attempt(index: u64) -> AttemptRecord {
    let hop = |number: u64| HopRecord {
        node_id: format!("02{}", "ab".repeat(32)),
        scid: (800_000 << 40) | number,
        amt_to_forward_msat: 1_000 + index,
        fee_msat: 10,
        expiry: 900_000,
        cltv_delta: 40,
        ..HopRecord::default()
    };
    AttemptRecord {
        attempt_id: index,
        payment_index: index,
        payment_hash: PaymentHash(bytes("payment", index)),
        shard: None,
        state: AttemptState::Succeeded,
        attempt_time_ns: Size::paid_at(index) * SECOND_NS,
        resolve_time_ns: Some((Size::paid_at(index) + 1) * SECOND_NS),
        preimage: Some(PaymentPreimage(bytes("payment preimage", index))),
        route: (0..3).map(hop).collect(),
        failure: None,
    }
}

/// The channel of the first forward only.
pub(crate) const RARE_SCID: u64 = 800_000 << 40;

fn forward(n: u64) -> Box<dyn Change> {
    let channel = |n: u64| RARE_SCID + if n == 0 { 0 } else { 1 + n % CHANNELS };
    Box::new(AddForward {
        row: ForwardRow {
            forwarded_at_ns: Size::forwarded_at(n) * SECOND_NS,
            scid_in: Some(channel(n)),
            scid_out: Some(channel(n + 7)),
            amount_out_msat: Some(1_000 + n),
            fee_msat: Some(n % 100),
        },
        record: (),
    })
}
