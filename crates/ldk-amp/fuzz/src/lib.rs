//! What the fuzz targets share: a node, and a sender that builds its onions as BOLT 4 says, without the
//! crate's own code, so that a mistake in one of them shows.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bitcoin::hashes::{Hash, HashEngine, Hmac, HmacEngine, sha256};
use bitcoin::secp256k1::ecdh::SharedSecret;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use chacha20::cipher::StreamCipher;
use chacha20::{ChaCha20, KeyIvInit};
use ldk_amp::{HopSecret, Payload, Record};
use lightning::ln::msgs::OnionPacket;
use lightning::sign::{KeysManager, NodeSigner, Recipient};
use lightning::types::payment::PaymentHash;
use lightning::util::ser::{BigSize, Readable, Writeable};

pub const HOP_DATA_LEN: usize = 1300;
pub const HMAC_LEN: usize = 32;
/// The payment hash of all HTLCs.
pub const HASH: PaymentHash = PaymentHash([3; 32]);

/// Records by type.
pub type Records = BTreeMap<u64, Vec<u8>>;

/// The node that receives.
pub fn node() -> &'static KeysManager {
    static NODE: LazyLock<KeysManager> =
        LazyLock::new(|| KeysManager::new(&[0x31; 32], 0, 0, true));
    &NODE
}

/// The sender of most onions.
pub fn sender() -> &'static Sender {
    static SENDER: LazyLock<Sender> =
        LazyLock::new(|| Sender::new([0x32; 32]).expect("a valid key"));
    &SENDER
}

/// The node's secret shared with [`sender`].
pub fn hop_secret() -> &'static HopSecret {
    static SECRET: LazyLock<HopSecret> = LazyLock::new(|| sender().hop_secret());
    &SECRET
}

/// A sender, one hop from the node.
pub struct Sender {
    pub ephemeral_key: PublicKey,
    secret: [u8; 32],
}

impl Sender {
    /// Creates a sender with this session key; `None` if it is not a valid key.
    pub fn new(session_key: [u8; 32]) -> Option<Self> {
        let session_key = SecretKey::from_slice(&session_key).ok()?;
        let node_id = node().get_node_id(Recipient::Node).ok()?;
        Some(Self {
            ephemeral_key: session_key.public_key(&Secp256k1::new()),
            secret: SharedSecret::new(&node_id, &session_key).secret_bytes(),
        })
    }

    /// The secret as the node derives it.
    pub fn hop_secret(&self) -> HopSecret {
        HopSecret::shared(node(), &self.ephemeral_key).expect("the signer has the key")
    }

    /// Seals at most 1300 bytes, whatever they are, as the node's layer of an onion.
    pub fn seal(&self, plain: &[u8]) -> OnionPacket {
        let mut hop_data = [0; HOP_DATA_LEN];
        hop_data[..plain.len()].copy_from_slice(plain);
        self.crypt(b"rho", &mut hop_data);
        OnionPacket {
            version: 0,
            public_key: Ok(self.ephemeral_key),
            hop_data,
            hmac: hmac(&self.key(b"mu"), &[&hop_data, &HASH.0]),
        }
    }

    /// Returns code and data of a failure from the node; `None` if they are not authentic.
    pub fn failure(&self, reason: &[u8]) -> Option<Vec<u8>> {
        let mut plain = reason.to_vec();
        self.crypt(b"ammag", &mut plain);
        let (tag, message) = plain.split_first_chunk::<HMAC_LEN>()?;
        if *tag != hmac(&self.key(b"um"), &[message]) {
            return None;
        }
        let (length, message) = message.split_first_chunk()?;
        message
            .get(..u16::from_be_bytes(*length).into())
            .map(<[u8]>::to_vec)
    }

    fn key(&self, purpose: &[u8]) -> [u8; 32] {
        hmac(purpose, &[&self.secret])
    }

    fn crypt(&self, purpose: &[u8], data: &mut [u8]) {
        ChaCha20::new(&self.key(purpose).into(), &[0; 12].into()).apply_keystream(data);
    }
}

/// HMAC-SHA256 of the concatenated parts.
pub fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = HmacEngine::<sha256::Hash>::new(key);
    for part in parts {
        engine.input(part);
    }
    Hmac::from_engine(engine).to_byte_array()
}

/// Splits the plaintext of a layer into the TLV stream and the next hop's HMAC (BOLT 4).
pub fn split_layer(plain: &[u8]) -> Option<(&[u8], &[u8; HMAC_LEN])> {
    let mut rest = plain;
    let length = BigSize::read(&mut rest).ok()?.0;
    let (stream, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    Some((stream, after.first_chunk()?))
}

/// Puts the length in front of a TLV stream.
pub fn with_length(stream: &[u8]) -> Vec<u8> {
    let mut bytes = BigSize(stream.len() as u64).encode();
    bytes.extend_from_slice(stream);
    bytes
}

/// The records as a TLV stream.
pub fn stream(records: &[Record<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in records {
        bytes.extend(BigSize(record.kind).encode());
        bytes.extend(with_length(record.value));
    }
    bytes
}

/// The records of a payload; none if it is not a TLV stream.
pub fn owned(payload: &Payload) -> Option<Records> {
    let records = payload.records().ok()?.into_iter();
    Some(
        records
            .map(|record| (record.kind, record.value.to_vec()))
            .collect(),
    )
}

/// The records as the crate takes them.
pub fn borrowed(records: &Records) -> Vec<Record<'_>> {
    let records = records.iter();
    records
        .map(|(kind, value)| Record { kind: *kind, value })
        .collect()
}

/// Reads the fuzzer's bytes; zeros follow their end.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.bytes(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// At most `length` bytes.
    pub fn bytes(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(length.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Reads records up to the end: 8 bytes of type, 1 of length, the value.
    pub fn records(&mut self) -> Records {
        let mut records = Records::new();
        while !self.0.is_empty() {
            let kind = u64::from_be_bytes(self.array());
            let [length] = self.array();
            records.insert(kind, self.bytes(length.into()).to_vec());
        }
        records
    }
}
