//! The typed client for the bitcoind RPCs that the node needs.

use std::time::Duration;

use bitcoin::consensus::encode::serialize_hex;
use bitcoin::{BlockHash, Network, Transaction};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::auth::RpcAuth;
use super::connection::{Connection, RpcAddress};
use super::error::ChainError;

/// All methods that the node calls. bitcoind's `rpcwhitelist` may forbid any of them.
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

/// Poll interval while bitcoind is starting.
const WARM_UP_PAUSE: Duration = Duration::from_secs(1);

/// Poll interval while bitcoind is downloading the chain.
const INITIAL_SYNC_PAUSE: Duration = Duration::from_secs(10);

/// The fields of `getblockchaininfo` that the node needs.
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
    /// Whether bitcoind is in its initial block download. On regtest, also true while the last block is
    /// older than a day.
    #[serde(rename = "initialblockdownload")]
    pub initial_download: bool,
    /// Whether bitcoind deletes old blocks.
    pub pruned: bool,
    /// Height of the first block that a pruned bitcoind still has.
    #[serde(rename = "pruneheight")]
    pub prune_height: Option<u32>,
}

/// The mode of bitcoind's fee estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstimateMode {
    /// Follows a falling market quickly.
    Economical,
    /// Looks further back; safer against a sudden rise.
    Conservative,
}

/// The RPC client of a bitcoind. Every call has a timeout. Share it behind an [`Arc`](std::sync::Arc).
#[derive(Debug)]
pub struct Bitcoind {
    network: Network,
    connection: Connection,
}

impl Bitcoind {
    /// Creates a client for the bitcoind at `address`. It connects with the first call.
    pub fn new(address: RpcAddress, auth: RpcAuth, network: Network) -> Self {
        Self {
            network,
            connection: Connection::new(address, auth),
        }
    }

    /// Sets the timeout per call.
    pub fn with_limit(mut self, limit: Duration) -> Self {
        self.connection.set_limit(limit);
        self
    }

    /// The node's network.
    pub fn network(&self) -> Network {
        self.network
    }

    /// `host:port` as configured, for messages.
    pub fn address(&self) -> String {
        self.connection.address()
    }

    /// Waits until bitcoind has started and finished its initial block download, logging the progress, and
    /// checks that it is on our network.
    ///
    /// # Errors
    /// Any error but warm-up, because a wrong address, wrong credentials or a wrong network need the user.
    /// [`ChainError::Stopped`] if `stop` is cancelled.
    pub async fn wait_until_ready(
        &self,
        stop: &CancellationToken,
    ) -> Result<ChainInfo, ChainError> {
        let mut logged = String::new();
        loop {
            let (line, pause) = match self.check().await {
                Ok(info) if self.is_syncing(&info) => {
                    let (blocks, headers) = (info.blocks, info.headers);
                    let line = format!("bitcoind is syncing: block {blocks} of {headers}");
                    (line, INITIAL_SYNC_PAUSE)
                }
                Ok(info) => return Ok(info),
                Err(error @ ChainError::WarmingUp { .. }) => (error.to_string(), WARM_UP_PAUSE),
                Err(error) => return Err(error),
            };
            if line != logged {
                tracing::info!("waiting: {line}");
                logged = line;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return Err(ChainError::Stopped),
            }
        }
    }

    /// Ignores regtest, where bitcoind reports an initial block download if its last block is a day old.
    fn is_syncing(&self, info: &ChainInfo) -> bool {
        info.initial_download && self.network != Network::Regtest
    }

    /// Fetches the state of the chain and checks that it is our network.
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

    /// Calls each required method without parameters: bitcoind returns either a usage error or that the
    /// method is forbidden or missing. Takes about a second; called once at startup.
    ///
    /// # Errors
    /// [`ChainError::Forbidden`] or [`ChainError::MissingMethod`] for the first method that fails.
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
    /// units; `None` if bitcoind has too little data (always on regtest).
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

    /// `getmempoolinfo`: the mempool's current minimum fee rate, in sat per 1000 weight units.
    pub async fn mempool_min_fee(&self) -> Result<u64, ChainError> {
        let answer: Value = self.call("getmempoolinfo", &[]).await?;
        let rate = answer["mempoolminfee"].as_f64().and_then(sat_per_kw);
        rate.ok_or_else(|| self.bad_answer("getmempoolinfo", "mempoolminfee is missing"))
    }

    /// `sendrawtransaction` without bitcoind's fee rate limit: an urgent claim of little value may exceed
    /// it, and LDK and the wallet have their own bounds.
    pub async fn send_raw_transaction(&self, tx: &Transaction) -> Result<(), ChainError> {
        let params = [json!(serialize_hex(tx)), json!(0)];
        self.call::<Value>("sendrawtransaction", &params)
            .await
            .map(|_| ())
    }

    /// `testmempoolaccept`: the reason why bitcoind would reject this transaction now; `None` if it would
    /// accept it.
    pub async fn refusal_of(&self, tx: &Transaction) -> Result<Option<String>, ChainError> {
        const METHOD: &str = "testmempoolaccept";
        let params = [json!([serialize_hex(tx)]), json!(0)];
        let answer: Value = self.call(METHOD, &params).await?;
        let answer = &answer[0];
        match answer["allowed"].as_bool() {
            Some(true) => Ok(None),
            Some(false) => {
                // The details (bitcoind 29 and later) repeat the reason and include figures.
                let reason = answer["reject-details"].as_str();
                let reason = reason.or_else(|| answer["reject-reason"].as_str());
                Ok(Some(reason.unwrap_or("no reason given").to_owned()))
            }
            None => Err(self.bad_answer(METHOD, "allowed is missing")),
        }
    }

    /// `submitpackage` of parents and, last, their child. Returns bitcoind's response (`package_msg` and
    /// `tx-results`).
    pub async fn submit_package(&self, txs: &[Transaction]) -> Result<Value, ChainError> {
        let package: Vec<String> = txs.iter().map(serialize_hex).collect();
        self.call("submitpackage", &[json!(package), json!(0)])
            .await
    }

    /// Makes a call and deserializes its result.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
    ) -> Result<T, ChainError> {
        self.connection.call(method, params).await
    }

    /// The error for an unexpected response to `method`.
    pub(super) fn bad_answer(&self, method: &'static str, what: &str) -> ChainError {
        self.connection.bad_answer(method, what)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// Converts bitcoind's BTC per 1000 virtual bytes to sat per 1000 weight units, rounded up.
///
/// 1 BTC/kvB = 10^8 sat per 4000 weight units. `None` unless the rate is a valid positive amount.
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
    async fn wrong_network_error_names_both_networks() {
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
    async fn waits_for_warm_up_and_ignores_initial_download_on_regtest() {
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
    async fn forbidden_and_missing_methods_are_reported_with_their_remedy() {
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
    async fn wait_for_bitcoind_ends_at_shutdown() {
        let server = TestServer::start(vec![Reply::error(-28, "Verifying blocks…")]);
        let stop = CancellationToken::new();
        stop.cancel();
        let error = server.bitcoind().wait_until_ready(&stop).await.unwrap_err();
        assert!(matches!(error, ChainError::Stopped), "{error}");
    }

    #[tokio::test]
    async fn refusal_prefers_bitcoinds_reject_details() {
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
    async fn fee_rates_are_rounded_up_and_missing_estimates_are_none() {
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
