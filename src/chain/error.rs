//! Errors of calls to bitcoind. Each message is one line that names the config key and the remedy.

use std::path::PathBuf;

use bitcoin::{BlockHash, Network};
use lightning_block_sync::BlockSourceError;

/// A failed call to bitcoind, or a bitcoind that this node cannot use.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Nothing responds at the address, or the connection was lost.
    #[error(
        "cannot reach bitcoind at {address} ({reason}): start bitcoind, or correct \
         bitcoind-rpc-address"
    )]
    Unreachable {
        /// `host:port` as configured.
        address: String,
        /// The operating system's error.
        reason: String,
    },
    /// The connection succeeded, but no complete response arrived in time.
    #[error(
        "bitcoind at {address} did not respond to {method} within {seconds} s: it is overloaded or \
         hangs; see bitcoind's debug.log"
    )]
    TimedOut {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
        /// The timeout, in seconds.
        seconds: u64,
    },
    /// Something responds, but not bitcoind's JSON-RPC.
    #[error(
        "the server at {address} is not bitcoind's RPC ({reason}): correct bitcoind-rpc-address"
    )]
    NotBitcoind {
        /// `host:port` as configured.
        address: String,
        /// What was received instead.
        reason: String,
    },
    /// HTTP 401 for user and password.
    #[error(
        "bitcoind at {address} rejects the user name or password: correct bitcoind-rpc-user and \
         bitcoind-rpc-password"
    )]
    WrongPassword {
        /// `host:port` as configured.
        address: String,
    },
    /// HTTP 401 for a cookie, even after reading it again.
    #[error(
        "bitcoind at {address} rejects the cookie in {}: set bitcoind-rpc-cookie to the .cookie \
         file of this bitcoind", path.display()
    )]
    WrongCookie {
        /// `host:port` as configured.
        address: String,
        /// The cookie file.
        path: PathBuf,
    },
    /// HTTP 403: bitcoind does not allow our address or the method.
    #[error(
        "bitcoind at {address} does not allow {method}: add it to rpcwhitelist in bitcoin.conf (or, \
         if no method is allowed, this machine to rpcallowip)"
    )]
    Forbidden {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
    },
    /// bitcoind does not have a method (RPC code -32601).
    #[error("bitcoind at {address} does not have {method}: use Bitcoin Core 26 or newer")]
    MissingMethod {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
    },
    /// The cookie file is missing, unreadable, or not a cookie.
    #[error(
        "cannot read bitcoind's cookie {} ({reason}): start bitcoind, correct \
         bitcoind-rpc-cookie, or set bitcoind-rpc-user and bitcoind-rpc-password", path.display()
    )]
    CookieUnreadable {
        /// The cookie file.
        path: PathBuf,
        /// Why it cannot be used.
        reason: String,
    },
    /// bitcoind is on another network than the node.
    #[error(
        "bitcoind at {address} is on {theirs}, but this node is on {ours}: correct network or \
         bitcoind-rpc-address"
    )]
    WrongNetwork {
        /// `host:port` as configured.
        address: String,
        /// The node's network.
        ours: Network,
        /// bitcoind's name of its network (`main`, `test`, `signet`, `regtest`, ...).
        theirs: String,
    },
    /// A pruned bitcoind has deleted blocks that the node has not processed yet.
    #[error(
        "bitcoind at {address} is pruned and lacks blocks {needed} to {lacking} that this node \
         still needs: use an unpruned bitcoind (bitcoind-rpc-address), or set prune=0 in \
         bitcoin.conf and start bitcoind once with -reindex"
    )]
    Pruned {
        /// `host:port` as configured.
        address: String,
        /// Height of the first block that the node needs.
        needed: u32,
        /// Height of the last block that bitcoind no longer has.
        lacking: u32,
    },
    /// The same, detected when the block was requested.
    #[error(
        "bitcoind at {address} is pruned and lacks block {hash} that this node still needs: \
         use an unpruned bitcoind (bitcoind-rpc-address), or set prune=0 in bitcoin.conf and \
         start bitcoind once with -reindex"
    )]
    BlockPruned {
        /// `host:port` as configured.
        address: String,
        /// The block.
        hash: BlockHash,
    },
    /// bitcoind does not know a block that the node has processed, and the node lacks the headers that
    /// connect it to a block that bitcoind knows.
    #[error(
        "bitcoind at {address} does not know block {hash} at height {height}, which this node \
         has processed: it is on another chain or still syncing; correct bitcoind-rpc-address or \
         wait until bitcoind is synced; no state was changed"
    )]
    UnknownBlock {
        /// `host:port` as configured.
        address: String,
        /// The block.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// bitcoind knows none of the last blocks that the node has processed.
    #[error(
        "bitcoind at {address} is on another chain: it knows none of the last {depth} blocks up \
         to {hash} at height {height} that this node has processed; correct bitcoind-rpc-address, \
         or let bitcoind validate its chain again (-reindex); no state was changed"
    )]
    OtherChain {
        /// `host:port` as configured.
        address: String,
        /// The node's last block.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// The number of blocks compared.
        depth: u32,
    },
    /// bitcoind is starting (RPC code -28).
    #[error("bitcoind at {address} is still starting: {message}")]
    WarmingUp {
        /// `host:port` as configured.
        address: String,
        /// bitcoind's message, such as "Loading block index…".
        message: String,
    },
    /// HTTP 503: bitcoind's queue of RPC calls is full.
    #[error("bitcoind at {address} is busy: raise rpcworkqueue in bitcoin.conf if this persists")]
    Busy {
        /// `host:port` as configured.
        address: String,
    },
    /// bitcoind's chain has less work than the one that the node has processed: bitcoind is reindexing,
    /// or was rolled back or replaced.
    #[error(
        "bitcoind at {address} is at height {theirs} with less work than our chain at {ours}: \
         waiting until it has caught up"
    )]
    Behind {
        /// `host:port` as configured.
        address: String,
        /// Our height.
        ours: u32,
        /// bitcoind's height.
        theirs: u32,
    },
    /// bitcoind understood the call and rejected it.
    #[error("bitcoind rejects {method}: {message} (code {code})")]
    Rpc {
        /// The RPC method.
        method: &'static str,
        /// bitcoind's error code.
        code: i64,
        /// bitcoind's message.
        message: String,
    },
    /// A response of unexpected form.
    #[error("bitcoind at {address} sent an unexpected response to {method}: {what}")]
    BadAnswer {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
        /// What is missing or wrong.
        what: String,
    },
    /// The node is shutting down.
    #[error("stopped while waiting for bitcoind")]
    Stopped,
}

impl ChainError {
    /// Whether bitcoind processed the call and rejected it, so that an immediate retry is pointless.
    ///
    /// False means that bitcoind was unreachable, starting, busy or misconfigured: retry later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ChainError::Rpc { .. })
    }

    /// Whether bitcoind is unreachable, starting, or not the right server: every other call would fail
    /// as well.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            ChainError::Unreachable { .. }
                | ChainError::WarmingUp { .. }
                | ChainError::NotBitcoind { .. }
                | ChainError::WrongPassword { .. }
                | ChainError::WrongCookie { .. }
                | ChainError::CookieUnreadable { .. }
        )
    }

    /// Whether bitcoind's configuration or version has to be changed.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            ChainError::Forbidden { .. } | ChainError::MissingMethod { .. }
        )
    }
}

impl From<ChainError> for BlockSourceError {
    /// Always transient: each of these can be fixed on bitcoind's side while the node runs.
    fn from(error: ChainError) -> Self {
        BlockSourceError::transient(error)
    }
}
