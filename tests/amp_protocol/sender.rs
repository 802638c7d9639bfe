//! Payers that build their own shards, valid or not, and record the outcome of each.

use std::cell::RefCell;
use std::collections::BTreeMap;

use ldk_amp::{AmpRecord, MppRecord, PaymentAddr, SetId, Share, Splitter};
use lightning::events::Event;
use lightning::ln::channelmanager::{PaymentId, RecipientOnionFields};
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{BigSize, Readable, Writeable};

use crate::network::FINAL_DELTA;

/// Its data is `amount (u64, msat) || height (u32)`.
const INCORRECT_PAYMENT_DETAILS: u16 = 0x4000 | 15;
const MPP_TIMEOUT: u16 = 23;
/// Its data is `type (BigSize) || offset (u16)`.
const INVALID_ONION_PAYLOAD: u16 = 0x4000 | 22;

/// The outcome of one HTLC as reported by the payer's LDK, with the decoded failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    InFlight,
    /// Settled with the right preimage; LDK would close the channel for any other.
    Settled,
    /// `incorrect_or_unknown_payment_details` (PERM|15) with its data.
    Refused {
        amount_msat: u64,
        height: u32,
    },
    /// `mpp_timeout`, without data.
    TimedOut,
    /// `invalid_onion_payload` (PERM|22) with the type at fault and offset 0.
    InvalidPayload {
        kind: u64,
    },
    /// Any other code, or one of the above with other data.
    Failed {
        code: u16,
    },
}

impl Outcome {
    fn failed(code: u16, data: &[u8]) -> Self {
        match (code, data.len()) {
            (INCORRECT_PAYMENT_DETAILS, 12) => Self::Refused {
                amount_msat: u64::from_be_bytes(data[..8].try_into().unwrap()),
                height: u32::from_be_bytes(data[8..].try_into().unwrap()),
            },
            (MPP_TIMEOUT, 0) => Self::TimedOut,
            (INVALID_ONION_PAYLOAD, 3..) => Self::invalid_payload(data),
            _ => Self::Failed { code },
        }
    }

    fn invalid_payload(data: &[u8]) -> Self {
        let mut rest = data;
        let kind: BigSize = Readable::read(&mut rest).unwrap();
        assert_eq!(rest, [0, 0], "the offset is not 0");
        Self::InvalidPayload { kind: kind.0 }
    }
}

/// One HTLC of a payment. Tests modify it before sending.
#[derive(Clone)]
pub(crate) struct Shard {
    pub hash: PaymentHash,
    pub amount_msat: u64,
    pub mpp: Option<MppRecord>,
    pub amp: Option<AmpRecord>,
    /// Further records, in any order.
    pub records: Vec<(u64, Vec<u8>)>,
    /// Blocks until the HTLC expires, counted from the next block.
    pub final_delta: u32,
}

impl Shard {
    /// Sets the total of the MPP record.
    pub(crate) fn total(mut self, total_msat: u64) -> Self {
        self.mpp.as_mut().unwrap().total_msat = total_msat;
        self
    }

    pub(crate) fn amount(mut self, amount_msat: u64) -> Self {
        self.amount_msat = amount_msat;
        self
    }

    pub(crate) fn with_share(mut self, share: Share) -> Self {
        self.amp.as_mut().unwrap().share = share;
        self
    }

    pub(crate) fn with_wrong_share(self) -> Self {
        self.with_share(Share::from_bytes([0xee; 32]))
    }

    pub(crate) fn with_record(mut self, kind: u64, value: &[u8]) -> Self {
        self.records.push((kind, value.to_vec()));
        self
    }

    pub(crate) fn without_mpp(mut self) -> Self {
        self.mpp = None;
        self
    }

    pub(crate) fn without_amp(mut self) -> Self {
        self.amp = None;
        self
    }

    pub(crate) fn with_hash(mut self, hash: PaymentHash) -> Self {
        self.hash = hash;
        self
    }

    /// Sets the HTLC's expiry to this many blocks after the newest block.
    pub(crate) fn expiring_in(mut self, blocks: u32) -> Self {
        self.final_delta = blocks - 1;
        self
    }

    pub(crate) fn share(&self) -> &Share {
        &self.amp.as_ref().unwrap().share
    }

    pub(crate) fn set_id(&self) -> SetId {
        self.amp.as_ref().unwrap().set_id
    }

    /// Returns the fields that LDK writes into the final payload.
    pub(crate) fn onion(&self) -> RecipientOnionFields {
        let mpp = self.mpp.map(|mpp| (8, mpp.encode()));
        let amp = self.amp.as_ref().map(|amp| (14, amp.encode().to_vec()));
        let records = mpp.into_iter().chain(amp).chain(self.records.clone());
        onion(records.collect())
    }
}

/// Returns LDK's fields for these records, some of which its constructors would reject.
pub(crate) fn onion(mut records: Vec<(u64, Vec<u8>)>) -> RecipientOnionFields {
    records.sort();
    let record = |(kind, value): &(u64, Vec<u8>)| [kind.encode(), value.encode()].concat();
    let list: Vec<u8> = records.iter().flat_map(record).collect();
    let length = |bytes: &[u8]| BigSize(bytes.len() as u64).encode();
    let custom_tlvs = [BigSize(1).encode(), length(&list), list].concat();
    let bytes = [length(&custom_tlvs), custom_tlvs].concat();
    Readable::read(&mut &bytes[..]).unwrap()
}

/// An honest payer's side of a set.
pub(crate) struct Payment {
    set_id: SetId,
    mpp: MppRecord,
    splitter: Splitter,
    made: u8,
}

impl Payment {
    pub(crate) fn new(set_id: SetId, payment_addr: PaymentAddr, total_msat: u64) -> Self {
        let mpp = MppRecord {
            payment_addr,
            total_msat,
        };
        // The first bytes of roots and shares differ, so that shares never cancel each other out.
        let mut root = set_id.to_bytes();
        root[0] = 0xf0;
        Self {
            set_id,
            mpp,
            splitter: Splitter::new(Share::from_bytes(root)),
            made: 0,
        }
    }

    /// Returns the next shard, with a new child.
    pub(crate) fn shard(&mut self, amount_msat: u64, last: bool) -> Shard {
        self.shard_with_index(amount_msat, last, self.made.into())
    }

    pub(crate) fn shard_with_index(&mut self, amount_msat: u64, last: bool, index: u32) -> Shard {
        self.made += 1;
        let mut random = [self.made; 32];
        random[0] = 0x0f;
        let shard = self.splitter.next_shard(random, index, last).unwrap();
        Shard {
            hash: shard.child.hash,
            amount_msat,
            mpp: Some(self.mpp),
            amp: Some(AmpRecord {
                share: shard.share,
                set_id: self.set_id,
                child_index: shard.index,
            }),
            records: Vec::new(),
            final_delta: FINAL_DELTA,
        }
    }

    /// Returns a failed shard's share to the splitter, to be used by later shards.
    pub(crate) fn reclaim_share(&mut self, failed: &Shard) {
        self.splitter.merge_back(failed.share());
    }
}

/// Returns a complete payment with one shard per amount.
pub(crate) fn shards(set_id: SetId, addr: PaymentAddr, amounts: &[u64]) -> Vec<Shard> {
    let mut payment = Payment::new(set_id, addr, amounts.iter().sum());
    let shard = |(i, amount): (usize, &u64)| payment.shard(*amount, i + 1 == amounts.len());
    amounts.iter().enumerate().map(shard).collect()
}

/// The HTLCs sent by all payers and their outcomes.
#[derive(Default)]
pub(crate) struct Attempts(RefCell<BTreeMap<[u8; 32], Outcome>>);

impl Attempts {
    pub(crate) fn next_id(&self) -> PaymentId {
        let mut attempts = self.0.borrow_mut();
        let mut id = [0; 32];
        id[..8].copy_from_slice(&attempts.len().to_be_bytes());
        attempts.insert(id, Outcome::InFlight);
        PaymentId(id)
    }

    pub(crate) fn outcome(&self, id: &PaymentId) -> Outcome {
        self.0.borrow()[&id.0]
    }

    /// Handles an event of a paying or forwarding node.
    pub(crate) fn handle(&self, event: Event) {
        match event {
            Event::PaymentSent {
                payment_id: Some(id),
                ..
            } => self.ended(id, Outcome::Settled),
            Event::PaymentPathFailed {
                payment_id: Some(id),
                error_code,
                error_data,
                ..
            } => {
                let data = error_data.unwrap();
                self.ended(id, Outcome::failed(error_code.unwrap(), &data));
            }
            Event::PaymentFailed { .. }
            | Event::PaymentPathSuccessful { .. }
            | Event::PaymentForwarded { .. }
            | Event::HTLCHandlingFailed { .. } => {}
            other => panic!("unexpected event of a payer: {other:?}"),
        }
    }

    fn ended(&self, id: PaymentId, outcome: Outcome) {
        let before = self.0.borrow_mut().insert(id.0, outcome);
        assert_eq!(before, Some(Outcome::InFlight), "an HTLC ended twice");
    }
}
