//! A bitcoind of our own: regtest by default, its own directory, its own wallet with coins.

mod json_rpc;
mod login;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use crate::ports::free_port;
use crate::process::Process;
use crate::provide::BitcoindExe;
use crate::wait::{Hopeless, wait_for};
use json_rpc::JsonRpc;
use login::Login;

/// bitcoind answers within a second or two; a loaded machine may need longer.
const START_LIMIT: Duration = Duration::from_secs(60);
/// A coinbase output can be spent after 100 further blocks.
const MATURITY: u32 = 100;
/// Each pays 50 coins.
const COIN_BLOCKS: u32 = 5;
const WALLET: &str = "regtest";
/// How often to start anew when somebody else took the chosen port.
const PORT_ATTEMPTS: usize = 5;

/// A running bitcoind. Dropping it kills it; its directory belongs to the caller.
#[derive(Debug)]
pub struct Bitcoind {
    exe: BitcoindExe,
    dir: PathBuf,
    chain: String,
    extra: Vec<String>,
    login: Login,
    rpc: JsonRpc,
    /// Where it tells of blocks and of transactions, if it was started with [`Bitcoind::start_telling`].
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
    /// Starts regtest in `dir`, with a wallet that has 250 coins, at height 105.
    pub async fn start(dir: &Path) -> Result<Self> {
        let mut bitcoind = Self::bare(dir, "regtest", &[]).await?;
        bitcoind.make_wallet().await?;
        bitcoind.mine_coins().await?;
        Ok(bitcoind)
    }

    /// As [`Bitcoind::start`], with an index of all transactions, and telling of blocks and
    /// transactions over ZeroMQ: what Eclair needs.
    pub async fn start_telling(dir: &Path) -> Result<Self> {
        let zmq = Zmq {
            block: format!("tcp://127.0.0.1:{}", free_port()?),
            transaction: format!("tcp://127.0.0.1:{}", free_port()?),
        };
        let block = format!("-zmqpubhashblock={}", zmq.block);
        let transaction = format!("-zmqpubrawtx={}", zmq.transaction);
        // Eclair refuses to start with a wallet that has an output without segwit.
        let segwit = ["-addresstype=bech32", "-changetype=bech32"];
        let extra = [&["-txindex=1", &block, &transaction][..], &segwit].concat();
        let mut bitcoind = Self::bare(dir, "regtest", &extra).await?;
        bitcoind.zmq = Some(zmq);
        bitcoind.make_wallet().await?;
        bitcoind.mine_coins().await?;
        Ok(bitcoind)
    }

    /// Starts `chain` (regtest, signet, ...) in `dir` with more arguments, without a wallet or
    /// blocks and without peers.
    pub async fn bare(dir: &Path, chain: &str, extra: &[&str]) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let login = Login::random();
        let rpc = JsonRpc {
            port: free_port()?,
            user: login.user.clone(),
            password: login.password.clone(),
            path: "/".to_owned(),
        };
        let mut bitcoind = Self {
            exe: tokio::task::spawn_blocking(BitcoindExe::find).await??,
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

    /// Starts the process, with another port if this one is taken.
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
        wait_for("bitcoind to answer", START_LIMIT, async || {
            if let Some(status) = process.ended()? {
                return Err(Hopeless(format!("it ended: {status}; {}", process.log_tail())).into());
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
            // bitcoind's default of 64 waiting requests is soon full when many nodes ask.
            "-rpcworkqueue=256".to_owned(),
            "-listen=0".to_owned(),
            "-connect=0".to_owned(),
            "-fallbackfee=0.0001".to_owned(),
            // The wallet's thousands of keys and careful writes only cost time here.
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

    /// Makes one more wallet, for a node that has none of its own, and loads it at each start.
    pub async fn add_wallet(&self, name: &str) -> Result<()> {
        let load_on_start = json!([name, false, false, "", false, true, true]);
        self.call("createwallet", load_on_start).await.map(drop)
    }

    /// Calls any method of bitcoind's RPC.
    ///
    /// # Errors
    /// bitcoind's own, or that it cannot be reached.
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.rpc.call(method, parameters).await
    }

    /// Mines blocks that pay the wallet, then enough others to make these coins spendable.
    async fn mine_coins(&self) -> Result<()> {
        let address = self.call("getnewaddress", json!([])).await?;
        self.call("generatetoaddress", json!([COIN_BLOCKS, address]))
            .await?;
        self.mine(MATURITY).await?;
        Ok(())
    }

    /// Mines `count` blocks with what is in the mempool. Returns their hashes.
    pub async fn mine(&self, count: u32) -> Result<Vec<String>> {
        let hashes = self
            .call("generatetodescriptor", json!([count, nobody()]))
            .await?;
        Ok(serde_json::from_value(hashes)?)
    }

    /// Mines `count` blocks and leaves what is in the mempool there.
    pub async fn mine_empty(&self, count: u32) -> Result<()> {
        for _ in 0..count {
            self.call("generateblock", json!([nobody(), []])).await?;
        }
        Ok(())
    }

    /// Sends coins to each address in one transaction and returns its id. Mines nothing.
    pub async fn fund(&self, outputs: &[(String, u64)]) -> Result<String> {
        let amounts = outputs
            .iter()
            .map(|(address, sat)| (address.clone(), json!(btc(*sat))));
        let amounts = Value::Object(amounts.collect());
        text(self.call("sendmany", json!(["", amounts])).await?)
    }

    /// The height of the best block.
    pub async fn height(&self) -> Result<u32> {
        let height = self.call("getblockcount", json!([])).await?;
        let height = height
            .as_u64()
            .and_then(|height| u32::try_from(height).ok());
        height.context("bitcoind's height is not a number")
    }

    /// The ids of the transactions in the mempool.
    pub async fn mempool(&self) -> Result<Vec<String>> {
        Ok(serde_json::from_value(
            self.call("getrawmempool", json!([])).await?,
        )?)
    }

    /// Takes the last `depth` blocks off the chain, as the first half of a reorganization: mine
    /// more than `depth` blocks afterwards. Returns the hash of the lowest one.
    pub async fn invalidate(&self, depth: u32) -> Result<String> {
        let height = self.height().await?;
        let lowest = height
            .checked_sub(depth)
            .context("more blocks than the chain has")?
            + 1;
        let hash = text(self.call("getblockhash", json!([lowest])).await?)?;
        self.call("invalidateblock", json!([hash])).await?;
        Ok(hash)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        self.process
            .take()
            .map_or(Ok(()), |mut process| process.kill())
    }

    /// Starts it again on the same directory and port after [`Bitcoind::kill`] or
    /// [`Bitcoind::stop`].
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("bitcoind still runs");
        }
        self.run_once().await
    }

    /// From the next start on: these arguments beside the usual ones.
    pub fn set_arguments(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(|&argument| argument.to_owned()).collect();
    }

    /// All blocks after the first one, in hex: what its peers could give it again.
    pub async fn blocks(&self) -> Result<Vec<String>> {
        let mut blocks = Vec::new();
        for height in 1..=self.height().await? {
            let hash = self.call("getblockhash", json!([height])).await?;
            blocks.push(text(self.call("getblock", json!([hash, 0])).await?)?);
        }
        Ok(blocks)
    }

    /// Gives it blocks as a peer would. Those that it has already are no harm.
    pub async fn give(&self, blocks: &[String]) -> Result<()> {
        for block in blocks {
            self.call("submitblock", json!([block])).await?;
        }
        Ok(())
    }

    /// Starts a second bitcoind in `dir` that knows the same chain. The two never speak with each
    /// other.
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

    /// Stops both, and starts each on the other one's directory: at the address of this one there is
    /// now a bitcoind that knows what the other one knew.
    pub async fn swap_data(&mut self, other: &mut Self) -> Result<()> {
        self.stop().await?;
        other.stop().await?;
        std::mem::swap(&mut self.dir, &mut other.dir);
        self.restart().await?;
        other.restart().await
    }

    /// The id of its process.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process()?.id())
    }

    /// SIGSTOP: it accepts connections and never answers.
    pub fn freeze(&self) -> Result<()> {
        self.process()?.freeze()
    }

    /// SIGCONT.
    pub fn thaw(&self) -> Result<()> {
        self.process()?.thaw()
    }

    fn process(&self) -> Result<&Process> {
        self.process.as_ref().context("bitcoind does not run")
    }

    /// Stops it in order, so that it writes all it knows.
    pub async fn stop(&mut self) -> Result<()> {
        let Some(process) = &mut self.process else {
            return Ok(());
        };
        let status = process.terminate(START_LIMIT).await?;
        self.process = None;
        status
            .success()
            .then_some(())
            .ok_or_else(|| anyhow!("bitcoind ended with {status}"))
    }

    /// Where it tells of blocks and transactions.
    ///
    /// # Errors
    /// If it was started without.
    pub fn zmq(&self) -> Result<&Zmq> {
        self.zmq
            .as_ref()
            .context("bitcoind tells nothing over ZeroMQ")
    }

    /// The start of a command line of its bitcoin-cli.
    pub fn cli(&self) -> Result<Vec<std::ffi::OsString>> {
        self.exe.cli()
    }

    /// The port of its RPC on 127.0.0.1.
    pub fn rpc_port(&self) -> u16 {
        self.rpc.port
    }

    /// `host:port` of its RPC.
    pub fn rpc_address(&self) -> String {
        format!("127.0.0.1:{}", self.rpc.port)
    }

    /// The name that its RPC knows us by.
    pub fn rpc_user(&self) -> &str {
        &self.login.user
    }

    /// The password that belongs to [`Bitcoind::rpc_user`].
    pub fn rpc_password(&self) -> &str {
        &self.login.password
    }

    /// Its cookie file, another way to log in while it runs.
    pub fn cookie_file(&self) -> PathBuf {
        self.dir.join(&self.chain).join(".cookie")
    }
}

/// Where new coins go. To nobody: a wallet that gets a coin in each block makes mining ten times
/// slower. To a random nobody: else a block mined again in a reorganization could be the very same.
fn nobody() -> String {
    format!("raw(08{:016x})", fastrand::u64(..))
}

/// Copies a directory with all that is in it.
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

/// Satoshis as bitcoind wants amounts: whole coins with eight digits, never a float.
fn btc(sat: u64) -> String {
    format!("{}.{:08}", sat / 100_000_000, sat % 100_000_000)
}

fn text(value: Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("{value} is not a text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_keep_every_satoshi() {
        assert_eq!(btc(1), "0.00000001");
        assert_eq!(btc(2_100_000_000_000_001), "21000000.00000001");
    }
}
