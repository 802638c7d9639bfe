//! The client for bitcoind's RPC: typed calls, time limits, and errors that say what to do.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, Network, Transaction};
use lightning_block_sync::http::HttpEndpoint;
use lightning_block_sync::rpc::{RpcClient, RpcError};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::auth::RpcAuth;
use super::error::ChainError;
use super::http_status;

/// Limit for one call. A full block takes well under a second; a bitcoind that flushes its cache
/// may take longer, and then the caller tries again.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// bitcoind's error code for "I am still starting" (`RPC_IN_WARMUP`).
const CODE_WARMING_UP: i64 = -28;

/// bitcoind's error code for an unknown block or transaction (`RPC_INVALID_ADDRESS_OR_KEY`).
const CODE_NOT_FOUND: i64 = -5;

/// Time between two questions while bitcoind starts.
const WARM_UP_PAUSE: Duration = Duration::from_secs(1);

/// Time between two questions while bitcoind downloads the chain.
const INITIAL_SYNC_PAUSE: Duration = Duration::from_secs(10);

/// Where bitcoind listens (`bitcoind-rpc-address`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcAddress {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for RpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// What `getblockchaininfo` says, as far as the node needs it.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct ChainInfo {
    /// bitcoind's name of the network: `main`, `test`, `testnet4`, `signet` or `regtest`.
    pub chain: String,
    /// Height of the best block.
    pub blocks: u32,
    /// Height of the best header.
    pub headers: u32,
    /// Hash of the best block.
    #[serde(rename = "bestblockhash")]
    pub best_block: BlockHash,
    /// True until bitcoind has caught up for the first time. On regtest it stays true while the
    /// last block is older than a day.
    #[serde(rename = "initialblockdownload")]
    pub initial_download: bool,
    /// Whether bitcoind deletes old blocks.
    pub pruned: bool,
    /// Height of the first block that a pruned bitcoind still has.
    #[serde(rename = "pruneheight")]
    pub prune_height: Option<u32>,
}

/// How careful bitcoind's fee estimate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstimateMode {
    /// Follows a falling market quickly.
    Economical,
    /// Looks further back; safer against a sudden rise.
    Conservative,
}

/// A bitcoind, reached over RPC. Cheap to share behind an [`Arc`]; every call has a time limit.
pub struct Bitcoind {
    address: RpcAddress,
    auth: RpcAuth,
    network: Network,
    session: RwLock<Option<Session>>,
    /// Whether the last call got through; if not, the next one first knocks, because
    /// lightning-block-sync connects with a blocking call.
    reachable: AtomicBool,
    limit: Duration,
}

/// A client with the credentials that it was made from.
#[derive(Clone)]
struct Session {
    basic: Arc<Zeroizing<String>>,
    client: Arc<RpcClient>,
}

impl Bitcoind {
    /// A client for the bitcoind at `address`; connects at the first call.
    pub fn new(address: RpcAddress, auth: RpcAuth, network: Network) -> Self {
        let reachable = AtomicBool::new(false);
        Self {
            address,
            auth,
            network,
            session: RwLock::default(),
            reachable,
            limit: CALL_LIMIT,
        }
    }

    /// The same client with another time limit per call.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The network that the node is on.
    pub fn network(&self) -> Network {
        self.network
    }

    /// `host:port` as configured, for messages.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits until bitcoind has started and has caught up with the chain, with a log line whenever
    /// what it waits for changes, and checks that it is on our network.
    ///
    /// # Errors
    /// Everything but warm-up and initial sync ends the wait: an address, credentials or a network
    /// that is wrong does not heal by itself. [`ChainError::Stopped`] if `stop` was cancelled.
    pub async fn wait_until_ready(
        &self,
        stop: &CancellationToken,
    ) -> Result<ChainInfo, ChainError> {
        let mut said = String::new();
        loop {
            let (line, pause) = match self.check().await {
                Ok(info) if self.is_syncing(&info) => {
                    let (blocks, headers) = (info.blocks, info.headers);
                    let line = format!("bitcoind still downloads the chain: {blocks} of {headers}");
                    (line, INITIAL_SYNC_PAUSE)
                }
                Ok(info) => return Ok(info),
                Err(error @ ChainError::WarmingUp { .. }) => (error.to_string(), WARM_UP_PAUSE),
                Err(error) => return Err(error),
            };
            if line != said {
                tracing::info!("waiting: {line}");
                said = line;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Err(ChainError::Stopped),
            }
        }
    }

    /// On regtest bitcoind claims to be in initial sync whenever its last block is a day old.
    fn is_syncing(&self, info: &ChainInfo) -> bool {
        info.initial_download && self.network != Network::Regtest
    }

    /// Asks for the chain's state and checks that it is our network.
    pub async fn check(&self) -> Result<ChainInfo, ChainError> {
        let info = self.chain_info().await?;
        if Network::from_core_arg(&info.chain).ok() != Some(self.network) {
            let (address, ours) = (self.address(), self.network);
            return Err(ChainError::WrongNetwork {
                address,
                ours,
                theirs: info.chain,
            });
        }
        Ok(info)
    }

    /// `getblockchaininfo`.
    pub async fn chain_info(&self) -> Result<ChainInfo, ChainError> {
        self.call("getblockchaininfo", &[]).await
    }

    /// `getblockhash`: the hash of the block at `height` in bitcoind's best chain.
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, ChainError> {
        self.call("getblockhash", &[json!(height)]).await
    }

    /// Whether bitcoind knows the header of this block, in its best chain or beside it.
    pub async fn knows_block(&self, hash: &BlockHash) -> Result<bool, ChainError> {
        match self
            .call::<Value>("getblockheader", &[json!(hash), json!(false)])
            .await
        {
            Ok(_) => Ok(true),
            Err(ChainError::Rpc {
                code: CODE_NOT_FOUND,
                ..
            }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// `estimatesmartfee` for confirmation within `blocks` (1 to 1008), in sat per 1000 weight
    /// units; `None` if bitcoind has seen too little to say (always so on regtest).
    pub async fn estimate_fee(
        &self,
        blocks: u16,
        mode: EstimateMode,
    ) -> Result<Option<u64>, ChainError> {
        let mode = match mode {
            EstimateMode::Economical => "economical",
            EstimateMode::Conservative => "conservative",
        };
        let answer: Value = self
            .call("estimatesmartfee", &[json!(blocks), json!(mode)])
            .await?;
        Ok(answer["feerate"].as_f64().and_then(sat_per_kw))
    }

    /// The lowest fee rate that bitcoind's mempool takes now, in sat per 1000 weight units.
    pub async fn mempool_min_fee(&self) -> Result<u64, ChainError> {
        let answer: Value = self.call("getmempoolinfo", &[]).await?;
        let rate = answer["mempoolminfee"].as_f64().and_then(sat_per_kw);
        rate.ok_or_else(|| self.bad_answer("getmempoolinfo", "no mempoolminfee"))
    }

    /// `sendrawtransaction` without bitcoind's own limit on the fee rate: an urgent claim of
    /// little value may exceed it, and LDK and the wallet have bounds of their own.
    pub async fn send_raw_transaction(&self, tx: &Transaction) -> Result<(), ChainError> {
        let params = [json!(serialize_hex(tx)), json!(0)];
        self.call::<Value>("sendrawtransaction", &params)
            .await
            .map(|_| ())
    }

    /// `submitpackage` of parents and, last, their child; returns bitcoind's whole answer
    /// (`package_msg` and `tx-results`).
    pub async fn submit_package(&self, txs: &[Transaction]) -> Result<Value, ChainError> {
        let package: Vec<String> = txs.iter().map(serialize_hex).collect();
        self.call("submitpackage", &[json!(package), json!(0)])
            .await
    }

    /// One call, its result read as `T`. After a 401 the cookie is read again, once.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, ChainError> {
        let value = self.call_value(method, params).await?;
        serde_json::from_value(value).map_err(|e| self.bad_answer(method, &e.to_string()))
    }

    async fn call_value(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<Value, ChainError> {
        let session = self.session()?;
        let error = match self.attempt(&session, method, params).await {
            Err(error @ ChainError::WrongCookie { .. }) => error,
            done => return done,
        };
        let fresh = self.session()?;
        if fresh.basic == session.basic {
            return Err(error);
        }
        self.attempt(&fresh, method, params).await
    }

    /// The current session, or a new one with the credentials as they are now.
    fn session(&self) -> Result<Session, ChainError> {
        let open = self
            .session
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(session) = open {
            return Ok(session);
        }
        let basic = Arc::new(self.auth.basic()?);
        let endpoint =
            HttpEndpoint::for_host(self.address.host.clone()).with_port(self.address.port);
        let client = Arc::new(RpcClient::new(&basic, endpoint));
        let session = Session { basic, client };
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    async fn attempt(
        &self,
        session: &Session,
        method: &'static str,
        params: &[Value],
    ) -> Result<Value, ChainError> {
        if !self.reachable.load(Ordering::Acquire) {
            let knocked = http_status::knock(&self.address.host, self.address.port).await;
            knocked.map_err(|e| self.unreachable(&e))?;
        }
        let answer = timeout(
            self.limit,
            session.client.call_method::<Value>(method, params),
        )
        .await;
        let error = match answer {
            Ok(Ok(value)) => {
                self.reachable.store(true, Ordering::Release);
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.forget_session();
                return Err(self.timed_out(method));
            }
        };
        if let Some(answer) = error.get_ref().and_then(|e| e.downcast_ref::<RpcError>()) {
            self.reachable.store(true, Ordering::Release);
            return Err(self.refused(method, answer));
        }
        // The connection may hold half an answer that the next call would take for its own.
        self.forget_session();
        Err(self.diagnose(session, method, &error).await)
    }

    fn forget_session(&self) {
        self.reachable.store(false, Ordering::Release);
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn refused(&self, method: &'static str, answer: &RpcError) -> ChainError {
        let message = answer.message.clone();
        match answer.code {
            CODE_WARMING_UP => ChainError::WarmingUp {
                address: self.address(),
                message,
            },
            code => ChainError::Rpc {
                method,
                code,
                message,
            },
        }
    }

    /// Finds out why a call got no JSON answer.
    async fn diagnose(
        &self,
        session: &Session,
        method: &'static str,
        error: &io::Error,
    ) -> ChainError {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let is_http = matches!(
            error.kind(),
            InvalidData | InvalidInput | Other | UnexpectedEof
        );
        if !is_http {
            return self.unreachable(error);
        }
        let address = self.address();
        match http_status::ask(&self.address.host, self.address.port, &session.basic).await {
            Ok(401) => match &self.auth {
                RpcAuth::UserPassword { .. } => ChainError::WrongPassword { address },
                RpcAuth::Cookie(path) => ChainError::WrongCookie {
                    address,
                    path: path.clone(),
                },
            },
            Ok(403) => ChainError::Forbidden { address, method },
            Ok(503) => ChainError::Busy { address },
            Ok(200) => self.bad_answer(method, &error.to_string()),
            Ok(status) => ChainError::NotBitcoind {
                address,
                reason: format!("HTTP status {status}"),
            },
            Err(e) if e.kind() == InvalidData => ChainError::NotBitcoind {
                address,
                reason: e.to_string(),
            },
            Err(e) => self.unreachable(&e),
        }
    }

    fn unreachable(&self, error: &io::Error) -> ChainError {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::TimedOut => "no answer".to_owned(),
            _ => error.to_string(),
        };
        ChainError::Unreachable {
            address: self.address(),
            reason,
        }
    }

    fn timed_out(&self, method: &'static str) -> ChainError {
        let seconds = self.limit.as_secs();
        ChainError::TimedOut {
            address: self.address(),
            method,
            seconds,
        }
    }

    pub(super) fn bad_answer(&self, method: &'static str, what: &str) -> ChainError {
        ChainError::BadAnswer {
            address: self.address(),
            method,
            what: what.to_owned(),
        }
    }
}

impl fmt::Debug for Bitcoind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bitcoind")
            .field("address", &self.address)
            .field("auth", &self.auth)
            .field("network", &self.network)
            .finish_non_exhaustive()
    }
}

/// Turns bitcoind's BTC per 1000 virtual bytes into sat per 1000 weight units, rounded up.
///
/// 1 BTC/kvB = 10^8 sat per 4000 weight units. `None` for what is not a sensible positive number.
fn sat_per_kw(btc_per_kvb: f64) -> Option<u64> {
    let sat_per_kvb = bitcoin::Amount::from_btc(btc_per_kvb).ok()?.to_sat();
    (sat_per_kvb > 0).then(|| sat_per_kvb.div_ceil(4))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::test_server::{
        Reply, TestServer, bitcoind_at, unreachable_bitcoind, user_password,
    };

    async fn error_after(reply: Reply) -> ChainError {
        TestServer::start(vec![reply])
            .bitcoind()
            .check()
            .await
            .unwrap_err()
    }

    fn chain_info(chain: &str) -> Reply {
        Reply::result(json!({
            "chain": chain, "blocks": 7, "headers": 7, "initialblockdownload": true,
            "bestblockhash": "00".repeat(32), "pruned": false,
        }))
    }

    #[tokio::test]
    async fn refused_connection_names_the_address_and_its_key() {
        let text = unreachable_bitcoind()
            .check()
            .await
            .unwrap_err()
            .to_string();
        assert!(text.contains("connection refused"), "{text}");
        assert!(
            text.contains("127.0.0.1:") && text.contains("bitcoind-rpc-address"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn wrong_password_names_its_keys() {
        let error = error_after(Reply::empty("401 Unauthorized")).await;
        assert!(matches!(error, ChainError::WrongPassword { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("bitcoind-rpc-user") && text.contains("bitcoind-rpc-password"));
    }

    #[tokio::test]
    async fn other_http_statuses_are_told_apart() {
        let forbidden = error_after(Reply::empty("403 Forbidden")).await;
        assert!(
            matches!(forbidden, ChainError::Forbidden { .. }),
            "{forbidden}"
        );
        let busy = error_after(Reply::empty("503 Service Unavailable")).await;
        assert!(matches!(busy, ChainError::Busy { .. }), "{busy}");
        let lost = error_after(Reply::empty("404 Not Found")).await;
        assert!(matches!(lost, ChainError::NotBitcoind { .. }), "{lost}");
    }

    #[tokio::test]
    async fn garbage_is_not_taken_for_bitcoind() {
        let banner = b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n".to_vec();
        let error = error_after(Reply::Raw(banner)).await;
        assert!(matches!(error, ChainError::NotBitcoind { .. }), "{error}");
        let html = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>".to_vec();
        let error = error_after(Reply::Raw(html)).await;
        assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
        let error = error_after(Reply::result(json!({"chain": 7}))).await;
        assert!(matches!(error, ChainError::BadAnswer { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_silent_bitcoind_times_out() {
        let server = TestServer::start(vec![Reply::Silence]);
        let bitcoind = server.bitcoind().with_limit(Duration::from_millis(100));
        let error = bitcoind.check().await.unwrap_err();
        assert!(matches!(error, ChainError::TimedOut { .. }), "{error}");
    }

    #[tokio::test]
    async fn another_network_is_named_beside_ours() {
        let text = error_after(chain_info("main")).await.to_string();
        assert!(
            text.contains("is on main") && text.contains("is on regtest"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn warm_up_is_waited_for_and_regtest_is_never_in_initial_sync() {
        let warming = Reply::error(CODE_WARMING_UP, "Verifying blocks…");
        let server = TestServer::start(vec![warming, chain_info("regtest")]);
        let info = server
            .bitcoind()
            .wait_until_ready(&CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(info.blocks, 7);
    }

    #[tokio::test]
    async fn waiting_for_bitcoind_ends_when_the_node_stops() {
        let server = TestServer::start(vec![Reply::error(CODE_WARMING_UP, "Verifying blocks…")]);
        let stop = CancellationToken::new();
        stop.cancel();
        let error = server.bitcoind().wait_until_ready(&stop).await.unwrap_err();
        assert!(matches!(error, ChainError::Stopped), "{error}");
    }

    #[tokio::test]
    async fn a_new_cookie_is_picked_up_without_a_failed_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        std::fs::write(&path, "__cookie__:old").unwrap();
        // The first call is refused thrice: lightning-block-sync's own retry, and our question.
        let refused = Reply::empty("401 Unauthorized");
        let replies = vec![
            refused.clone(),
            refused.clone(),
            refused,
            chain_info("regtest"),
        ];
        let server = TestServer::start(replies);
        let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path.clone()));
        bitcoind.session().unwrap();
        std::fs::write(&path, "__cookie__:new").unwrap();
        bitcoind.check().await.unwrap();
        let sent = server.credentials();
        assert_eq!(sent.len(), 4);
        assert!(sent[0] != sent[3] && sent[0] == sent[2], "{sent:?}");
    }

    #[tokio::test]
    async fn an_unchanged_cookie_that_is_refused_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        std::fs::write(&path, "__cookie__:x").unwrap();
        let server = TestServer::start(vec![Reply::empty("401 Unauthorized")]);
        let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path));
        let error = bitcoind.check().await.unwrap_err();
        assert!(matches!(error, ChainError::WrongCookie { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_is_an_answer_and_everything_else_is_worth_a_retry() {
        let server = TestServer::start(vec![Reply::error(-8, "Block height out of range")]);
        let error = server.bitcoind().block_hash(9).await.unwrap_err();
        assert!(
            error.is_refusal() && error.to_string().contains("out of range"),
            "{error}"
        );
        assert!(
            !unreachable_bitcoind()
                .check()
                .await
                .unwrap_err()
                .is_refusal()
        );
    }

    #[tokio::test]
    async fn fee_rates_are_rounded_up_and_missing_ones_are_none() {
        let known = json!({"feerate": 0.00001001, "blocks": 2});
        let unknown = json!({"errors": ["Insufficient data"], "blocks": 0});
        let server = TestServer::start(vec![Reply::result(known), Reply::result(unknown)]);
        let bitcoind = server.bitcoind();
        let rate = bitcoind
            .estimate_fee(2, EstimateMode::Conservative)
            .await
            .unwrap();
        assert_eq!(rate, Some(251), "1001 sat/kvB are 250.25 sat/kw");
        assert_eq!(
            bitcoind
                .estimate_fee(2, EstimateMode::Economical)
                .await
                .unwrap(),
            None
        );
        assert_eq!(
            [0.0, -1.0, f64::NAN, f64::INFINITY].map(sat_per_kw),
            [None; 4]
        );
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let bitcoind = bitcoind_at(1, user_password());
        assert!(!format!("{bitcoind:?}").contains("password\""));
    }
}
