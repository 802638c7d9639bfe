//! Test replacements for the components that a real node has outside of LDK.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::transaction::Version;
use bitcoin::{Amount, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Witness};
use futures_util::future::{BoxFuture, FutureExt, ready};
use lightning::chain::ChannelMonitorUpdateStatus;
use lightning::chain::chaininterface::BroadcasterInterface;
use lightning::chain::chainmonitor::Persist;
use lightning::chain::channelmonitor::ChannelMonitorUpdate;
use lightning::ln::script::ShutdownScript;
use lightning::ln::types::ChannelId;
use lightning::sign::SignerProvider;
use lightning::util::persist::MonitorName;

use crate::channels::closed::{ClosedChannel, ClosedChannels};
use crate::channels::closing_transaction::{AgreedClose, ClosingTransaction};
use crate::channels::forwards::{Forward, Forwards};
use crate::channels::funding_spends::FundingSpends;
use crate::channels::inbound::KnownPeers;
use crate::channels::open::{FundingFee, FundingWallet};
use crate::ldk::{ChannelMonitor, ChannelSigner, KeysManager};
use crate::peers::connection::HoldCommits;
use crate::peers::{AddressBook, address_book};

/// All broadcast transactions that are not mined yet.
pub(super) struct Broadcasts {
    pub waiting: Mutex<Vec<Transaction>>,
    pub spends: Arc<FundingSpends>,
}

impl BroadcasterInterface for Broadcasts {
    fn broadcast_transactions(&self, transactions: &[&Transaction]) {
        let transactions: Vec<Transaction> = transactions.iter().map(|&tx| tx.clone()).collect();
        self.spends.broadcast(&transactions);
        self.waiting.lock().unwrap().extend(transactions);
    }
}

/// The addresses from which peers appear to be connected.
#[derive(Default)]
pub(crate) struct Addresses(pub Mutex<HashMap<PublicKey, IpAddr>>);

impl KnownPeers for Addresses {
    fn address(&self, peer: &PublicKey) -> Option<IpAddr> {
        self.0.lock().unwrap().get(peer).copied()
    }

    fn is_connected(&self, _: &PublicKey) -> bool {
        true
    }

    fn has_paid(&self, _: &PublicKey) -> bool {
        false
    }
}

/// The signers of [`KeysManager`], as ampd uses them.
pub(crate) struct TestSigners(pub Arc<KeysManager>);

impl SignerProvider for TestSigners {
    type EcdsaSigner = ChannelSigner;

    fn generate_channel_keys_id(&self, inbound: bool, user_channel_id: u128) -> [u8; 32] {
        self.0.generate_channel_keys_id(inbound, user_channel_id)
    }

    fn derive_channel_signer(&self, channel_keys_id: [u8; 32]) -> ChannelSigner {
        self.0.derive_channel_signer(channel_keys_id).into()
    }

    fn get_destination_script(&self, channel_keys_id: [u8; 32]) -> Result<ScriptBuf, ()> {
        self.0.get_destination_script(channel_keys_id)
    }

    fn get_shutdown_scriptpubkey(&self) -> Result<ShutdownScript, ()> {
        self.0.get_shutdown_scriptpubkey()
    }
}

pub(super) struct NoDisk;

impl Persist<ChannelSigner> for NoDisk {
    fn persist_new_channel(
        &self,
        _: MonitorName,
        _: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn update_persisted_channel(
        &self,
        _: MonitorName,
        _: Option<&ChannelMonitorUpdate>,
        _: &ChannelMonitor,
    ) -> ChannelMonitorUpdateStatus {
        ChannelMonitorUpdateStatus::Completed
    }

    fn archive_persisted_channel(&self, _: MonitorName) {}
}

/// Records what the store adapters would keep.
#[derive(Default)]
pub(crate) struct Store {
    pub closed: Mutex<Vec<ClosedChannel>>,
    pub closing: Mutex<Vec<(ChannelId, ClosingTransaction)>>,
    pub agreed: Mutex<HashMap<ChannelId, AgreedClose>>,
    pub forwards: Mutex<Vec<Forward>>,
    pub book: Mutex<Vec<(PublicKey, String)>>,
}

impl ClosedChannels for Store {
    fn record(&self, channel: ClosedChannel) {
        self.closed.lock().unwrap().push(channel);
    }

    fn closing_transaction(&self, channel_id: ChannelId, closing: ClosingTransaction) {
        let mut closed = self.closed.lock().unwrap();
        let known = closed.iter_mut();
        for record in known.filter(|record| record.channel_id == channel_id) {
            *record = record.clone().with_closing(closing);
        }
        self.closing.lock().unwrap().push((channel_id, closing));
    }

    fn agreed(&self, close: AgreedClose) {
        self.agreed.lock().unwrap().insert(close.channel_id, close);
    }

    fn buried(&self, channel_id: ChannelId) {
        self.agreed.lock().unwrap().remove(&channel_id);
    }
}

impl Forwards for Store {
    fn record(&self, forward: Forward) {
        self.forwards.lock().unwrap().push(forward);
    }
}

impl HoldCommits for Store {
    fn hold(&self) -> Box<dyn Send> {
        Box::new(())
    }
}

impl AddressBook for Store {
    fn addresses(&self) -> Result<Vec<(PublicKey, String)>, address_book::AddressBookError> {
        Ok(self.book.lock().unwrap().clone())
    }

    fn remember(&self, peer: PublicKey, address: String) {
        self.book.lock().unwrap().push((peer, address));
    }

    fn forget(&self, peer: &PublicKey) {
        self.book.lock().unwrap().retain(|(owner, _)| owner != peer);
    }
}

/// A wallet with invented UTXOs.
#[derive(Default)]
pub(crate) struct Wallet {
    pub empty: std::sync::atomic::AtomicBool,
    /// The error with which its transactions are rejected.
    pub refusal: Mutex<Option<String>>,
    pub funded: Mutex<Vec<Transaction>>,
    pub canceled: Mutex<Vec<Txid>>,
}

impl FundingWallet for Wallet {
    fn fund(&self, script: ScriptBuf, sat: u64, _: FundingFee) -> Result<Transaction, String> {
        if self.empty.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("not enough witness outputs".to_owned());
        }
        let mut funded = self.funded.lock().unwrap();
        let mut coin = [0; 32];
        getrandom::fill(&mut coin).unwrap();
        let transaction = Transaction {
            version: Version::TWO,
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: OutPoint::new(Txid::from_byte_array(coin), 0),
                script_sig: ScriptBuf::new(),
                sequence: Sequence::MAX,
                witness: Witness::from_slice(&[[1; 64]]),
            }],
            output: vec![TxOut {
                value: Amount::from_sat(sat),
                script_pubkey: script,
            }],
        };
        funded.push(transaction.clone());
        Ok(transaction)
    }

    fn check(&self, _: Transaction) -> BoxFuture<'static, Result<(), String>> {
        let refusal = self.refusal.lock().unwrap().clone();
        ready(refusal.map_or(Ok(()), Err)).boxed()
    }

    fn cancel(&self, transaction: &Transaction) {
        self.canceled
            .lock()
            .unwrap()
            .push(transaction.compute_txid());
    }
}
