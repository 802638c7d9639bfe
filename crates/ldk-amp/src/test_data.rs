//! The typed contents of `tests/data/amp_derivation.json`.

use std::sync::LazyLock;

use bitcoin::hex::FromHex;
use lightning::types::payment::{PaymentHash, PaymentPreimage};
use serde_json::Value;

use super::{SetId, Share};

pub(crate) struct Derivation {
    pub root: Share,
    pub set_id: SetId,
    pub sets: Vec<VectorSet>,
    pub bad_records: Vec<(String, Vec<u8>)>,
}

pub(crate) struct VectorSet {
    pub name: String,
    pub shards: Vec<VectorShard>,
}

pub(crate) struct VectorShard {
    pub share: Share,
    pub index: u32,
    pub preimage: PaymentPreimage,
    pub hash: PaymentHash,
    pub record: Vec<u8>,
}

pub(crate) fn derivation() -> &'static Derivation {
    static DATA: LazyLock<Derivation> = LazyLock::new(|| {
        let text = include_str!("../tests/data/amp_derivation.json");
        let json: Value = serde_json::from_str(text).unwrap();
        Derivation {
            root: Share::from_bytes(bytes32(&json["root"])),
            set_id: SetId::from_bytes(bytes32(&json["set_id"])),
            sets: list(&json["sets"]).map(vector_set).collect(),
            bad_records: list(&json["bad_tlv14_values"])
                .map(|bad| (bad["name"].as_str().unwrap().into(), bytes(&bad["hex"])))
                .collect(),
        }
    });
    &DATA
}

fn vector_set(json: &Value) -> VectorSet {
    let name = json["name"].as_str().unwrap().into();
    VectorSet {
        name,
        shards: list(&json["shards"]).map(vector_shard).collect(),
    }
}

fn vector_shard(json: &Value) -> VectorShard {
    VectorShard {
        share: Share::from_bytes(bytes32(&json["share"])),
        index: json["child_index"].as_u64().unwrap().try_into().unwrap(),
        preimage: PaymentPreimage(bytes32(&json["preimage"])),
        hash: PaymentHash(bytes32(&json["payment_hash"])),
        record: bytes(&json["tlv14_value"]),
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().unwrap().iter()
}

fn bytes(json: &Value) -> Vec<u8> {
    Vec::from_hex(json.as_str().unwrap()).unwrap()
}

fn bytes32(json: &Value) -> [u8; 32] {
    bytes(json).try_into().unwrap()
}
