//! The contents of `tests/data/lnd_onions.json`.

use std::sync::LazyLock;

use bitcoin::hex::FromHex;
use bitcoin::secp256k1::SecretKey;
use lightning::ln::msgs::OnionPacket;
use lightning::types::payment::PaymentHash;
use lightning::util::ser::Readable;
use serde_json::Value;

use crate::{AmpRecord, MppRecord, PaymentAddr, SetId, Share};

pub(super) struct VectorOnion {
    pub name: String,
    pub payment_hash: PaymentHash,
    pub amount_msat: u64,
    pub cltv: u32,
    pub mpp: Option<MppRecord>,
    pub amp: Option<AmpRecord>,
    pub hops: Vec<VectorHop>,
    pub failures: Vec<VectorFailure>,
}

pub(super) struct VectorHop {
    pub private_key: SecretKey,
    /// The TLV stream for this hop, without its length prefix.
    pub payload: Vec<u8>,
    pub packet: OnionPacket,
}

pub(super) struct VectorFailure {
    pub name: String,
    /// Code, data and padding with their lengths, without the HMAC.
    pub plain: Vec<u8>,
    /// The encrypted reason that the final hop sends.
    pub reason: Vec<u8>,
}

pub(super) fn onions() -> &'static [VectorOnion] {
    static DATA: LazyLock<Vec<VectorOnion>> = LazyLock::new(|| {
        let text = include_str!("../../tests/data/lnd_onions.json");
        let json: Value = serde_json::from_str(text).unwrap();
        list(&json["onions"]).map(onion).collect()
    });
    &DATA
}

fn onion(json: &Value) -> VectorOnion {
    let last = &json["final"];
    VectorOnion {
        name: json["name"].as_str().unwrap().into(),
        payment_hash: PaymentHash(bytes32(&json["payment_hash"])),
        amount_msat: last["amt_to_forward_msat"].as_u64().unwrap(),
        cltv: number(&last["outgoing_cltv_value"]),
        mpp: (last["has_mpp_record"] == true).then(|| mpp(last)),
        amp: (last["has_amp_record"] == true).then(|| amp(last)),
        hops: list(&json["hops"]).map(hop).collect(),
        failures: list(&json["failures"]).map(failure).collect(),
    }
}

fn mpp(json: &Value) -> MppRecord {
    MppRecord {
        payment_addr: PaymentAddr::from_bytes(bytes32(&json["payment_addr"])),
        total_msat: json["total_msat"].as_u64().unwrap(),
    }
}

fn amp(json: &Value) -> AmpRecord {
    AmpRecord {
        share: Share::from_bytes(bytes32(&json["root_share"])),
        set_id: SetId::from_bytes(bytes32(&json["set_id"])),
        child_index: number(&json["child_index"]),
    }
}

fn hop(json: &Value) -> VectorHop {
    let packet = bytes(&json["onion_received"]);
    VectorHop {
        private_key: SecretKey::from_slice(&bytes(&json["private_key"])).unwrap(),
        payload: bytes(&json["payload_tlv"]),
        packet: OnionPacket::read(&mut &packet[..]).unwrap(),
    }
}

fn failure(json: &Value) -> VectorFailure {
    // Hops are listed from the first to the last.
    let reasons = json["reason_sent_by_hop"].as_array().unwrap();
    VectorFailure {
        name: json["failure"].as_str().unwrap().into(),
        plain: bytes(&json["plain_with_length_and_padding"]),
        reason: bytes(reasons.last().unwrap()),
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().unwrap().iter()
}

fn number(json: &Value) -> u32 {
    json.as_u64().unwrap().try_into().unwrap()
}

fn bytes(json: &Value) -> Vec<u8> {
    Vec::from_hex(json.as_str().unwrap()).unwrap()
}

fn bytes32(json: &Value) -> [u8; 32] {
    bytes(json).try_into().unwrap()
}
