//! What can go wrong with bitcoind, each in one line that names the config key and the remedy.

use std::path::PathBuf;

use bitcoin::{BlockHash, Network};
use lightning_block_sync::BlockSourceError;

/// A failed call to bitcoind, or a bitcoind that this node cannot work with.
#[derive(Debug, thiserror::Error)]
pub enum ChainError {
    /// Nothing answers at the address, or the connection broke.
    #[error(
        "cannot reach bitcoind at {address} ({reason}): start bitcoind, or correct \
         bitcoind-rpc-address"
    )]
    Unreachable {
        /// `host:port` as configured.
        address: String,
        /// What the operating system said.
        reason: String,
    },
    /// A connection was made, but no complete answer came in time.
    #[error(
        "bitcoind at {address} did not answer {method} within {seconds} s: it is overloaded or \
         hangs; see bitcoind's debug.log"
    )]
    TimedOut {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
        /// The limit that passed, in seconds.
        seconds: u64,
    },
    /// Something answers, but not bitcoind's JSON-RPC.
    #[error(
        "what answers at {address} is not bitcoind's RPC ({reason}): correct bitcoind-rpc-address"
    )]
    NotBitcoind {
        /// `host:port` as configured.
        address: String,
        /// What came instead.
        reason: String,
    },
    /// HTTP 401 with user and password.
    #[error(
        "bitcoind at {address} refuses our credentials: correct bitcoind-rpc-user and \
         bitcoind-rpc-password"
    )]
    WrongPassword {
        /// `host:port` as configured.
        address: String,
    },
    /// HTTP 401 with a cookie, also after it was read again.
    #[error(
        "bitcoind at {address} refuses the cookie in {}: set bitcoind-rpc-cookie to the .cookie \
         file of this very bitcoind", path.display()
    )]
    WrongCookie {
        /// `host:port` as configured.
        address: String,
        /// The cookie file.
        path: PathBuf,
    },
    /// HTTP 403: the address or the method is not allowed for us.
    #[error(
        "bitcoind at {address} forbids us {method}: add it to rpcwhitelist (or, if it forbids \
         everything, allow this machine with rpcallowip) in bitcoin.conf"
    )]
    Forbidden {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
    },
    /// bitcoind does not know a method (RPC code -32601).
    #[error("bitcoind at {address} does not have {method}: use Bitcoin Core 26 or newer")]
    MissingMethod {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
    },
    /// The cookie file is missing, unreadable, or no cookie.
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
    /// bitcoind runs another network than ours.
    #[error(
        "bitcoind at {address} is on {theirs}, but this node is on {ours}: correct network or \
         bitcoind-rpc-address"
    )]
    WrongNetwork {
        /// `host:port` as configured.
        address: String,
        /// The node's network.
        ours: Network,
        /// bitcoind's own name of its network (`main`, `test`, `signet`, `regtest`, ...).
        theirs: String,
    },
    /// A pruned bitcoind has deleted blocks that the node has not seen yet.
    #[error(
        "bitcoind at {address} is pruned and lacks blocks {needed} to {lacking} that this node \
         has not seen: use an unpruned bitcoind (bitcoind-rpc-address), or set prune=0 in \
         bitcoin.conf and start it once with -reindex"
    )]
    Pruned {
        /// `host:port` as configured.
        address: String,
        /// Height of the first block that the node needs.
        needed: u32,
        /// Height of the last block that bitcoind no longer has.
        lacking: u32,
    },
    /// The same, found out by asking for the block.
    #[error(
        "bitcoind at {address} is pruned and lacks block {hash} that this node has not seen: \
         use an unpruned bitcoind (bitcoind-rpc-address), or set prune=0 in bitcoin.conf and \
         start it once with -reindex"
    )]
    BlockPruned {
        /// `host:port` as configured.
        address: String,
        /// The block.
        hash: BlockHash,
    },
    /// bitcoind does not know a block that this node has followed, and the node does not have the
    /// headers that lead from there to a block that bitcoind knows.
    #[error(
        "bitcoind at {address} does not know block {hash} at height {height}, which this node \
         has followed: it is on another chain or still syncing; correct bitcoind-rpc-address or \
         wait until bitcoind is synced; nothing was changed"
    )]
    UnknownBlock {
        /// `host:port` as configured.
        address: String,
        /// The block.
        hash: BlockHash,
        /// Its height.
        height: u32,
    },
    /// None of the last blocks that this node has followed is in bitcoind's chain.
    #[error(
        "bitcoind at {address} is on another chain: it knows none of the last {depth} blocks up \
         to {hash} at height {height} that this node has followed; correct bitcoind-rpc-address, \
         or let bitcoind validate the chain anew (-reindex); nothing was changed"
    )]
    OtherChain {
        /// `host:port` as configured.
        address: String,
        /// The node's last block.
        hash: BlockHash,
        /// Its height.
        height: u32,
        /// How many blocks were compared.
        depth: u32,
    },
    /// bitcoind is starting (RPC code -28).
    #[error("bitcoind at {address} is still starting: {message}")]
    WarmingUp {
        /// `host:port` as configured.
        address: String,
        /// bitcoind's words, such as "Loading block index…".
        message: String,
    },
    /// HTTP 503: bitcoind's queue of RPC calls is full.
    #[error("bitcoind at {address} is busy: raise rpcworkqueue in bitcoin.conf if this goes on")]
    Busy {
        /// `host:port` as configured.
        address: String,
    },
    /// bitcoind has less work than the chain that the node has seen (it reindexes, was rolled
    /// back, or was replaced).
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
    /// bitcoind understood the call and refused it.
    #[error("bitcoind refuses {method}: {message} (code {code})")]
    Rpc {
        /// The RPC method.
        method: &'static str,
        /// bitcoind's error code.
        code: i64,
        /// bitcoind's words.
        message: String,
    },
    /// An answer that does not have the shape it must have.
    #[error("bitcoind at {address} answered {method} with something unexpected: {what}")]
    BadAnswer {
        /// `host:port` as configured.
        address: String,
        /// The RPC method.
        method: &'static str,
        /// What is missing or wrong.
        what: String,
    },
    /// The node is being stopped.
    #[error("stopped while waiting for bitcoind")]
    Stopped,
}

impl ChainError {
    /// True if bitcoind has judged the call: the same call again gets the same answer.
    ///
    /// False means that bitcoind was away, starting, busy or misconfigured: try again later.
    pub fn is_refusal(&self) -> bool {
        matches!(self, ChainError::Rpc { .. })
    }

    /// True if bitcoind is away, starting, or not the one that we can talk to: every other call
    /// would fail now, too.
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

    /// True if the owner has to change a setting of bitcoind, or bitcoind itself.
    pub fn is_configuration(&self) -> bool {
        matches!(
            self,
            ChainError::Forbidden { .. } | ChainError::MissingMethod { .. }
        )
    }
}

impl From<ChainError> for BlockSourceError {
    /// Always transient: whoever runs bitcoind can repair each of these while the node runs.
    fn from(error: ChainError) -> Self {
        BlockSourceError::transient(error)
    }
}
