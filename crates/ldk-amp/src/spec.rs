//! The test vectors that `SPEC.md` prints, compared with the data files that the other tests check
//! the code with.

use bitcoin::hex::FromHex;
use serde_json::Value;

use super::{AmpRecord, Child, MppRecord, SetId, Share};

const SPEC: &str = include_str!("../SPEC.md");
const DERIVATION: &str = include_str!("../tests/data/amp_derivation.json");
const ONIONS: &str = include_str!("../tests/data/lnd_onions.json");

/// The contents of the fenced JSON blocks, in order.
fn json_blocks() -> Vec<&'static str> {
    let ends_at_fence = |rest: &'static str| rest.split("\n```").next().unwrap();
    SPEC.split("\n```json\n")
        .skip(1)
        .map(ends_at_fence)
        .collect()
}

fn payloads() -> Vec<Value> {
    serde_json::from_str(json_blocks()[1]).unwrap()
}

fn bytes(json: &Value) -> Vec<u8> {
    Vec::from_hex(json.as_str().unwrap()).unwrap()
}

fn share(json: &Value) -> Share {
    Share::from_bytes(bytes(json).try_into().unwrap())
}

fn record(vector: &Value) -> AmpRecord {
    let last = &vector["final"];
    AmpRecord {
        share: share(&last["root_share"]),
        set_id: last["set_id"].as_str().unwrap().parse::<SetId>().unwrap(),
        child_index: last["child_index"].as_u64().unwrap().try_into().unwrap(),
    }
}

#[test]
fn prints_the_derivation_vectors_exactly() {
    assert_eq!(json_blocks().len(), 2);
    assert_eq!(json_blocks()[0], DERIVATION.trim_end());
}

#[test]
fn prints_lnds_payloads_exactly() {
    let recorded: Value = serde_json::from_str(ONIONS).unwrap();
    let onions = recorded["onions"].as_array().unwrap();
    for vector in payloads() {
        let name = &vector["name"];
        let onion = onions.iter().find(|onion| onion["name"] == *name).unwrap();
        let hop = onion["hops"].as_array().unwrap().last().unwrap();
        assert_eq!(vector["payload_tlv"], hop["payload_tlv"], "{name}");
        for key in ["final", "payment_hash", "payment_preimage"] {
            assert_eq!(vector[key], onion[key], "{name}: {key}");
        }
    }
}

#[test]
fn printed_payloads_contain_the_encoded_records() {
    for vector in payloads() {
        let (last, payload) = (&vector["final"], bytes(&vector["payload_tlv"]));
        let amp = record(&vector).encode();
        let mpp = MppRecord {
            payment_addr: last["payment_addr"].as_str().unwrap().parse().unwrap(),
            total_msat: last["total_msat"].as_u64().unwrap(),
        }
        .encode();
        // Type 8, length, value, and type 14, length, value, one after the other.
        let mut records = vec![8, mpp.len() as u8];
        records.extend_from_slice(&mpp);
        records.extend_from_slice(&[14, amp.len() as u8]);
        records.extend_from_slice(&amp);
        let found = payload.windows(records.len()).any(|part| part == records);
        assert!(found, "{}", vector["name"]);
    }
}

#[test]
fn printed_payloads_have_the_derived_children() {
    for vector in payloads() {
        let record = record(&vector);
        let root = share(&vector["final"]["root"]);
        let child = Child::derive(&root, &record.share, record.child_index);
        let name = &vector["name"];
        let (preimage, hash) = (&vector["payment_preimage"], &vector["payment_hash"]);
        assert_eq!(child.preimage.0.to_vec(), bytes(preimage), "{name}");
        assert_eq!(child.hash.0.to_vec(), bytes(hash), "{name}");
    }
}

/// The text says that the last two payloads are a complete set.
#[test]
fn printed_set_is_complete() {
    let vectors = payloads();
    let [_, first, second] = &vectors[..] else {
        panic!("three payloads")
    };
    let root = record(first).share.xor(&record(second).share);
    assert_eq!(root, share(&first["final"]["root"]));
    let sent: u64 = [first, second]
        .iter()
        .map(|vector| vector["final"]["amt_to_forward_msat"].as_u64().unwrap())
        .sum();
    assert_eq!(sent, first["final"]["total_msat"].as_u64().unwrap());
}
