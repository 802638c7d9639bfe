//! The client for bitcoind's RPC: the calls that the node needs, typed.

use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, Network, Transaction};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::auth::RpcAuth;
use super::connection::{Connection, RpcAddress};
use super::error::ChainError;

/// All that the node calls. `rpcwhitelist` of bitcoind may forbid any of them.
const REQUIRED_METHODS: [&str; 10] = [
    "getblockchaininfo",
    "getblockhash",
    "getblockheader",
    "getblock",
    "gettxout",
    "getmempoolinfo",
    "estimatesmartfee",
    "sendrawtransaction",
    "submitpackage",
    "testmempoolaccept",
];

/// Time between two questions while bitcoind starts.
const WARM_UP_PAUSE: Duration = Duration::from_secs(1);

/// Time between two questions while bitcoind downloads the chain.
const INITIAL_SYNC_PAUSE: Duration = Duration::from_secs(10);

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

/// A bitcoind, reached over RPC. Share it behind an [`Arc`](std::sync::Arc); every call has a time
/// limit.
#[derive(Debug)]
pub struct Bitcoind {
    network: Network,
    connection: Connection,
}

impl Bitcoind {
    /// A client for the bitcoind at `address`; connects at the first call.
    pub fn new(address: RpcAddress, auth: RpcAuth, network: Network) -> Self {
        Self {
            network,
            connection: Connection::new(address, auth),
        }
    }

    /// The same client with another time limit per call.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.connection.set_limit(limit);
        self
    }

    /// The network that the node is on.
    pub fn network(&self) -> Network {
        self.network
    }

    /// `host:port` as configured, for messages.
    pub fn address(&self) -> String {
        self.connection.address()
    }

    /// Waits until bitcoind has started and has caught up with the chain, with a log line whenever
    /// what it waits for changes, and checks that it is on our network.
    ///
    /// # Errors
    /// Everything but warm-up and initial sync ends the wait: an address, credentials or a network that is
    /// wrong does not heal by itself. [`ChainError::Stopped`] if `stop` was cancelled.
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

    /// Calls each method that the node needs, without parameters: bitcoind answers with an error that
    /// explains the parameters, or that the method is forbidden. Once at the start, since it takes a second.
    ///
    /// # Errors
    /// [`ChainError::Forbidden`] or [`ChainError::MissingMethod`] with the first one that we cannot call.
    pub async fn check_methods(&self) -> Result<(), ChainError> {
        for method in REQUIRED_METHODS {
            match self.call::<Value>(method, &[]).await {
                Err(error) if error.is_configuration() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// `getblockchaininfo`.
    pub async fn chain_info(&self) -> Result<ChainInfo, ChainError> {
        self.call("getblockchaininfo", &[]).await
    }

    /// `getblockhash`: the hash of the block at `height` in bitcoind's best chain.
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, ChainError> {
        self.call("getblockhash", &[json!(height)]).await
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

    /// `testmempoolaccept`: why bitcoind would refuse this transaction now; `None` if it would not.
    pub async fn refusal_of(&self, tx: &Transaction) -> Result<Option<String>, ChainError> {
        const METHOD: &str = "testmempoolaccept";
        let params = [json!([serialize_hex(tx)]), json!(0)];
        let answer: Value = self.call(METHOD, &params).await?;
        let answer = &answer[0];
        match answer["allowed"].as_bool() {
            Some(true) => Ok(None),
            Some(false) => {
                // The details (bitcoind 29 and later) repeat the reason and have the numbers.
                let reason = answer["reject-details"].as_str();
                let reason = reason.or_else(|| answer["reject-reason"].as_str());
                Ok(Some(reason.unwrap_or("it gives no reason").to_owned()))
            }
            None => Err(self.bad_answer(METHOD, "no allowed")),
        }
    }

    /// `submitpackage` of parents and, last, their child; returns bitcoind's whole answer
    /// (`package_msg` and `tx-results`).
    pub async fn submit_package(&self, txs: &[Transaction]) -> Result<Value, ChainError> {
        let package: Vec<String> = txs.iter().map(serialize_hex).collect();
        self.call("submitpackage", &[json!(package), json!(0)])
            .await
    }

    /// One call, its result read as `T`.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, ChainError> {
        self.connection.call(method, params).await
    }

    pub(super) fn bad_answer(&self, method: &'static str, what: &str) -> ChainError {
        self.connection.bad_answer(method, what)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
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
    use crate::chain::test_server::{Reply, TestServer};

    fn chain_info(chain: &str) -> Reply {
        Reply::result(json!({
            "chain": chain, "blocks": 7, "headers": 7, "initialblockdownload": true,
            "bestblockhash": "00".repeat(32), "pruned": false,
        }))
    }

    #[tokio::test]
    async fn another_network_is_named_beside_ours() {
        let text = TestServer::start(vec![chain_info("main")])
            .bitcoind()
            .check()
            .await;
        let text = text.unwrap_err().to_string();
        assert!(
            text.contains("is on main") && text.contains("is on regtest"),
            "{text}"
        );
    }

    #[tokio::test]
    async fn warm_up_is_waited_for_and_regtest_is_never_in_initial_sync() {
        let warming = Reply::error(-28, "Verifying blocks…");
        let server = TestServer::start(vec![warming, chain_info("regtest")]);
        let info = server
            .bitcoind()
            .wait_until_ready(&CancellationToken::new())
            .await
            .unwrap();
        assert_eq!(info.blocks, 7);
    }

    #[tokio::test]
    async fn a_method_that_bitcoind_forbids_or_lacks_is_named_with_its_remedy() {
        for (reply, remedy) in [
            (Reply::empty("403 Forbidden"), "rpcwhitelist"),
            (Reply::error(-32601, "Method not found"), "Bitcoin Core 26"),
        ] {
            let server = TestServer::by_method(move |method| match method {
                "submitpackage" => reply.clone(),
                _ => chain_info("regtest"),
            });
            let checked = server.bitcoind().check_methods().await;
            let text = checked.unwrap_err().to_string();
            assert!(
                text.contains("submitpackage") && text.contains(remedy),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn waiting_for_bitcoind_ends_when_the_node_stops() {
        let server = TestServer::start(vec![Reply::error(-28, "Verifying blocks…")]);
        let stop = CancellationToken::new();
        stop.cancel();
        let error = server.bitcoind().wait_until_ready(&stop).await.unwrap_err();
        assert!(matches!(error, ChainError::Stopped), "{error}");
    }

    #[tokio::test]
    async fn a_refusal_has_the_best_reason_that_bitcoind_gives() {
        let tx = bitcoin::constants::genesis_block(Network::Regtest)
            .txdata
            .remove(0);
        let answers = [
            json!([{"allowed": true}]),
            json!([{"allowed": false, "reject-reason": "coinbase"}]),
            json!([{"allowed": false, "reject-reason": "a", "reject-details": "a, 1 < 2"}]),
            json!([{}]),
        ];
        let server = TestServer::start(answers.map(Reply::result).into());
        let bitcoind = server.bitcoind();
        assert_eq!(bitcoind.refusal_of(&tx).await.unwrap(), None);
        for reason in ["coinbase", "a, 1 < 2"] {
            let refusal = bitcoind.refusal_of(&tx).await.unwrap();
            assert_eq!(refusal.as_deref(), Some(reason));
        }
        assert!(bitcoind.refusal_of(&tx).await.is_err());
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
}
