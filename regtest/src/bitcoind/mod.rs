//! A private bitcoind: regtest by default, with its own directory and a funded wallet.

mod json_rpc;
mod login;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::bitcoind_exe::BitcoindExe;
use crate::find_bitcoind;
use crate::ports::free_port;
use crate::process::Process;
use crate::wait::{Hopeless, wait_for};
use json_rpc::JsonRpc;
use login::Login;

/// bitcoind responds within a second or two; a loaded machine may take longer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Coinbase outputs can be spent after 100 more blocks.
const MATURITY: u32 = 100;
/// Number of blocks that pay the wallet 50 BTC each.
const COIN_BLOCKS: u32 = 5;
const WALLET: &str = "regtest";
/// Number of attempts when another process took the chosen port.
const PORT_ATTEMPTS: usize = 5;

/// Bitcoin Knots rejects transactions with lock time 21 by default, and Core Lightning chooses one of the
/// last hundred blocks at random. In a file, because Bitcoin Core ignores unknown options only there.
const CONFIG: &str = "rejectparasites=0\n";

/// A running bitcoind, killed when dropped; its directory belongs to the caller.
#[derive(Debug)]
pub struct Bitcoind {
    exe: BitcoindExe,
    dir: PathBuf,
    chain: String,
    extra: Vec<String>,
    login: Login,
    rpc: JsonRpc,
    /// ZeroMQ addresses, if it was started with [`Bitcoind::start_with_zmq`].
    zmq: Option<Zmq>,
    process: Option<Process>,
}

/// Addresses of bitcoind's ZeroMQ publishers.
#[derive(Clone, Debug)]
pub struct Zmq {
    pub block: String,
    pub transaction: String,
}

impl Bitcoind {
    /// Starts regtest in `dir` at height 105, with a wallet that holds 250 BTC.
    pub async fn start(dir: &Path) -> Result<Self> {
        let mut bitcoind = Self::bare(dir, "regtest", &[]).await?;
        bitcoind.make_wallet().await?;
        bitcoind.mine_coins().await?;
        Ok(bitcoind)
    }

    /// Like [`Bitcoind::start`], with a transaction index and ZeroMQ notifications for blocks and
    /// transactions, which Eclair requires.
    pub async fn start_with_zmq(dir: &Path) -> Result<Self> {
        let zmq = Zmq {
            block: format!("tcp://127.0.0.1:{}", free_port()?),
            transaction: format!("tcp://127.0.0.1:{}", free_port()?),
        };
        let block = format!("-zmqpubhashblock={}", zmq.block);
        let transaction = format!("-zmqpubrawtx={}", zmq.transaction);
        // Eclair refuses to start with a wallet that has non-segwit outputs.
        let segwit = ["-addresstype=bech32", "-changetype=bech32"];
        let extra = [&["-txindex=1", &block, &transaction][..], &segwit].concat();
        let mut bitcoind = Self::bare(dir, "regtest", &extra).await?;
        bitcoind.zmq = Some(zmq);
        bitcoind.make_wallet().await?;
        bitcoind.mine_coins().await?;
        Ok(bitcoind)
    }

    /// Starts `chain` (regtest, signet, ...) in `dir` with additional arguments, without a wallet,
    /// blocks or peers.
    pub async fn bare(dir: &Path, chain: &str, extra: &[&str]) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let login = Login::random();
        let rpc = JsonRpc {
            port: free_port()?,
            user: login.user.clone(),
            password: login.password.clone(),
            path: "/".to_owned(),
        };
        fs::write(dir.join("bitcoin.conf"), CONFIG)?;
        let mut bitcoind = Self {
            exe: tokio::task::spawn_blocking(find_bitcoind::find).await??,
            dir: dir.to_owned(),
            chain: chain.to_owned(),
            extra: extra.iter().map(|&argument| argument.to_owned()).collect(),
            login,
            rpc,
            zmq: None,
            process: None,
        };
        bitcoind.run().await?;
        Ok(bitcoind)
    }

    /// Starts the process, retrying with another port if this one is taken.
    async fn run(&mut self) -> Result<()> {
        for _ in 1..PORT_ATTEMPTS {
            match self.run_once().await {
                Err(error) if format!("{error:#}").contains("Unable to bind") => {
                    self.rpc.port = free_port()?;
                }
                other => return other,
            }
        }
        self.run_once().await
    }

    async fn run_once(&mut self) -> Result<()> {
        let mut command = self.exe.command();
        command.args(self.arguments()).args(&self.extra);
        let mut process = Process::start("bitcoind", command, &self.dir.join("bitcoind.log"))?;
        let rpc = self.rpc.clone();
        wait_for("bitcoind to respond", START_LIMIT, async || {
            if let Some(status) = process.ended()? {
                return Err(
                    Hopeless(format!("it exited: {status}; {}", process.log_tail())).into(),
                );
            }
            rpc.call("getblockchaininfo", json!([])).await
        })
        .await?;
        self.process = Some(process);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        vec![
            format!("-chain={}", self.chain),
            format!("-datadir={}", self.dir.display()),
            format!("-rpcport={}", self.rpc.port),
            format!("-rpcauth={}", self.login.rpcauth()),
            "-server=1".to_owned(),
            // The default of 64 queued requests is quickly exceeded when many nodes call.
            "-rpcworkqueue=256".to_owned(),
            "-listen=0".to_owned(),
            "-connect=0".to_owned(),
            "-fallbackfee=0.0001".to_owned(),
            // The wallet's large key pool and synchronous writes would only cost time here.
            "-keypool=5".to_owned(),
            "-unsafesqlitesync=1".to_owned(),
            "-debuglogfile=0".to_owned(),
            "-printtoconsole=1".to_owned(),
        ]
    }

    async fn make_wallet(&mut self) -> Result<()> {
        self.add_wallet(WALLET).await?;
        self.rpc.path = format!("/wallet/{WALLET}");
        Ok(())
    }

    /// Creates another wallet, for a node without its own, and loads it at each start.
    pub async fn add_wallet(&self, name: &str) -> Result<()> {
        let load_on_start = json!([name, false, false, "", false, true, true]);
        self.call("createwallet", load_on_start).await.map(drop)
    }

    /// Calls any method of bitcoind's RPC.
    ///
    /// # Errors
    /// If bitcoind cannot be reached, or bitcoind's own error message.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.rpc.call(method, parameters).await
    }

    /// Mines blocks that pay the wallet, then enough others for these outputs to mature.
    async fn mine_coins(&self) -> Result<()> {
        let address = self.call("getnewaddress", json!([])).await?;
        self.call("generatetoaddress", json!([COIN_BLOCKS, address]))
            .await?;
        self.mine(MATURITY).await?;
        Ok(())
    }

    /// Mines `count` blocks including the mempool and returns their hashes.
    pub async fn mine(&self, count: u32) -> Result<Vec<String>> {
        let hashes = self
            .call("generatetodescriptor", json!([count, unowned_address()]))
            .await?;
        Ok(serde_json::from_value(hashes)?)
    }

    /// Mines `count` empty blocks and leaves the mempool as it is.
    pub async fn mine_empty(&self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.call("generateblock", json!([unowned_address(), []]))
                .await?;
        }
        Ok(())
    }

    /// Pays all addresses in one transaction and returns its txid. Does not mine.
    ///
    /// # Errors
    /// If the transaction is not in the mempool: `sendmany` succeeds even if it was refused there.
    pub async fn fund(&self, outputs: &[(String, u64)]) -> Result<String> {
        let amounts = outputs
            .iter()
            .map(|(address, sat)| (address.clone(), json!(btc(*sat))));
        let amounts = Value::Object(amounts.collect());
        let txid = text(self.call("sendmany", json!(["", amounts])).await?)?;
        self.call("getmempoolentry", json!([txid])).await?;
        Ok(txid)
    }

    /// Returns the height of the best block.
    pub async fn height(&self) -> Result<u32> {
        let height = self.call("getblockcount", json!([])).await?;
        let height = height
            .as_u64()
            .and_then(|height| u32::try_from(height).ok());
        height.context("bitcoind's height is not a number")
    }

    /// Lists the txids in the mempool.
    pub async fn mempool(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(
            self.call("getrawmempool", json!([])).await?,
        )?)
    }

    /// Disconnects the last `depth` blocks, the first half of a reorganization: mine more than `depth`
    /// blocks afterwards. Returns the hash of the lowest disconnected block.
    pub async fn invalidate(&self, depth: u32) -> Result<String> {
        let height = self.height().await?;
        let lowest = height
            .checked_sub(depth)
            .context("the chain is too short")?
            + 1;
        let hash = text(self.call("getblockhash", json!([lowest])).await?)?;
        self.call("invalidateblock", json!([hash])).await?;
        Ok(hash)
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Restarts it on the same directory and port after [`Bitcoind::kill`] or [`Bitcoind::stop`].
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("bitcoind is still running");
        }
        self.run_once().await
    }

    /// Sets additional arguments, from the next start on.
    pub fn set_arguments(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// Returns all blocks after genesis in hex, as a peer could provide them.
    pub async fn blocks(&self) -> Result<Vec<String>> {
        let mut blocks = Vec::new();
        for height in 1..=self.height().await? {
            let hash = self.call("getblockhash", json!([height])).await?;
            blocks.push(text(self.call("getblock", json!([hash, 0])).await?)?);
        }
        Ok(blocks)
    }

    /// Submits blocks as a peer would. Known blocks are ignored.
    pub async fn give(&self, blocks: &[String]) -> Result<()> {
        for block in blocks {
            self.call("submitblock", json!([block])).await?;
        }
        Ok(())
    }

    /// Starts a second bitcoind in `dir` with the same chain. The two never connect to each other.
    pub async fn twin(&mut self, dir: &Path) -> Result<Self> {
        self.stop().await?;
        copy(&self.dir, dir)?;
        self.restart().await?;
        let chain = self.chain.clone();
        let extra: Vec<&str> = self.extra.iter().map(String::as_str).collect();
        let mut twin = Self::bare(dir, &chain, &extra).await?;
        twin.rpc.path.clone_from(&self.rpc.path);
        Ok(twin)
    }

    /// Stops both and starts each on the other's directory, so that the bitcoind at this address has the
    /// other's data.
    pub async fn swap_data(&mut self, other: &mut Self) -> Result<()> {
        self.stop().await?;
        other.stop().await?;
        std::mem::swap(&mut self.dir, &mut other.dir);
        self.restart().await?;
        other.restart().await
    }

    /// The process id.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process()?.id())
    }

    /// Sends SIGSTOP: bitcoind then accepts connections but never responds.
    pub fn freeze(&self) -> Result<()> {
        self.process()?.freeze()
    }

    /// Sends SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.process()?.thaw()
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("bitcoind is not running")
    }

    /// Shuts it down cleanly, so that it writes its state to disk.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let status = process.terminate(START_LIMIT).await?;
        self.process = None;
        status
            .success()
            .then_some(())
            .ok_or_else(|| anyhow!("bitcoind exited with {status}"))
    }

    /// The ZeroMQ addresses for blocks and transactions.
    ///
    /// # Errors
    /// If it was started without ZeroMQ.
    pub fn zmq(&self) -> Result<&Zmq> {
        self.zmq
            .as_ref()
            .context("bitcoind was started without ZeroMQ")
    }

    /// The beginning of the command line of its bitcoin-cli.
    pub fn cli(&self) -> Result<Vec<std::ffi::OsString>> {
        self.exe.cli()
    }

    /// The RPC port on 127.0.0.1.
    pub fn rpc_port(&self) -> u16 {
        self.rpc.port
    }

    /// The RPC address as `host:port`.
    pub fn rpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc.port)
    }

    /// The RPC user name.
    pub fn rpc_user(&self) -> &str {
        &self.login.user
    }

    /// The password of [`Bitcoind::rpc_user`].
    pub fn rpc_password(&self) -> &str {
        &self.login.password
    }

    /// The cookie file, the other way to authenticate while it is running.
    pub fn cookie_file(&self) -> PathBuf {
        self.dir.join(&self.chain).join(".cookie")
    }
}

/// A random address that nobody owns, for block rewards. Paying the wallet in each block makes mining
/// ten times slower, and a fixed address could make a re-mined block identical to the old one.
fn unowned_address() -> String {
    format!("raw(08{:016x})", fastrand::u64(..))
}

/// Copies a directory recursively.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Formats satoshis as bitcoind expects: BTC with eight decimals, never a float.
fn btc(sat: u64) -> String {
    format!("{}.{:08}", sat / 100_000_000, sat % 100_000_000)
}

fn text(value: Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{value} is not a string"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn btc_is_exact_to_the_satoshi() {
        assert_eq!(btc(1), "0.00000001");
        assert_eq!(btc(2_100_000_000_000_001), "21000000.00000001");
    }
}
