//! The typed contents of `tests/data/lnd_macaroons.json`.

use bitcoin::hex::FromHex;
use serde_json::Value;

use super::{Operations, RootKey};

pub(crate) struct Vector {
    pub name: String,
    pub root_key: RootKey,
    pub id: Vec<u8>,
    pub operations: Operations,
    pub caveats: Vec<String>,
    pub bytes: Vec<u8>,
    pub signature: [u8; 32],
}

/// Returns each recorded macaroon without caveats, followed by its variants with caveats.
pub(crate) fn all() -> Vec<Vector> {
    let text = include_str!("../tests/data/lnd_macaroons.json");
    let json: Value = serde_json::from_str(text).unwrap();
    list(&json["macaroons"])
        .flat_map(|plain| {
            let constrained = list(&plain["constrained"]);
            std::iter::once(vector(plain, plain)).chain(constrained.map(|one| vector(plain, one)))
        })
        .collect()
}

fn vector(plain: &Value, macaroon: &Value) -> Vector {
    let names = [&plain["name"], &macaroon["name"]].map(text);
    let operations = list(&plain["ops"]).map(|op| (text(&op["entity"]), text(&op["action"])));
    let caveats = macaroon["caveats"].as_array();
    Vector {
        name: names.join(", "),
        root_key: RootKey::from_bytes(hex(&plain["root_key"]).try_into().unwrap()),
        id: hex(&plain["id"]),
        operations: operations.collect(),
        caveats: caveats.into_iter().flatten().map(text).collect(),
        bytes: hex(&macaroon["macaroon"]),
        signature: hex(&macaroon["signature"]).try_into().unwrap(),
    }
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().unwrap().iter()
}

fn text(json: &Value) -> String {
    json.as_str().unwrap().to_owned()
}

fn hex(json: &Value) -> Vec<u8> {
    Vec::from_hex(json.as_str().unwrap()).unwrap()
}
