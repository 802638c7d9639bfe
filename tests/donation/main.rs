//! The donation page of a real node: in a browser, and with hostile clients.
//!
//! Tests that need a browser are ignored if Chromium or its driver is not installed (`.ci/run`
//! installs them). Screenshots are saved in `target/tmp/donation/`.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a failed test may panic"
)]

mod browser;
mod hints;
mod http;
mod life;
mod links;
mod live;
mod refusals;
mod streams;

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use lnd_api::proto::lnrpc::Payment;
use lnd_api::proto::routerrpc::SendPaymentRequest;
use regtest::api::bolt11;
use regtest::binaries::Binaries;
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::ports::free_port;
use regtest::trials;
use serde_json::Value;

use self::http::Answer;

const CAPACITY_SAT: u64 = 5_000_000;
/// The custom record that carries a message to the receiver.
const MESSAGE_RECORD: u64 = 34_349_334;
/// Generous limit for events that normally take less than a second.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    trials::run([
        hints::trials(),
        life::trials(),
        links::trials(),
        live::trials(),
        refusals::trials(),
        streams::trials(),
    ])
}

fn binaries() -> Binaries {
    Binaries::at(env!("CARGO_BIN_EXE_ampd"))
}

/// Alice serves a donation page, and Bob has a channel to her.
struct Scene {
    network: Network,
}

impl Scene {
    async fn start(configure: impl FnOnce(&mut Node)) -> Result<Self> {
        Self::over(configure, |plan| plan).await
    }

    /// With another kind of channel.
    async fn over(
        configure: impl FnOnce(&mut Node),
        change: impl FnOnce(ChannelPlan<'static>) -> ChannelPlan<'static>,
    ) -> Result<Self> {
        let mut network = Network::start(binaries()).await?;
        let mut alice = network.prepare("alice")?;
        let bob = network.prepare("bob")?;
        alice.set("donations-listen", &format!("127.0.0.1:{}", free_port()?));
        alice.set("donations-title", "Tea for the night shift");
        configure(&mut alice);
        network.add(vec![alice, bob]).await?;
        let plan = ChannelPlan::new("bob", "alice", CAPACITY_SAT);
        network.open(&[change(plan)]).await?;
        Ok(Self { network })
    }

    /// Address of the page as IP:port.
    fn address(&self) -> Result<String> {
        self.network["alice"].donation_address()
    }

    async fn get(&self, path: &str) -> Result<Answer> {
        http::get(&self.address()?, path).await
    }

    /// The invoice at its stable URL.
    async fn invoice(&self) -> Result<String> {
        let answer = self.get("/invoice.txt").await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(answer.text()?.trim().to_owned())
    }

    /// Bob pays this invoice; an amount of 0 uses the invoice's amount.
    async fn pay(&self, invoice: &str, sat: u64, message: &[u8]) -> Result<Payment> {
        let request = request(invoice, sat, message)?;
        self.network.pay("bob", &request).await
    }
}

fn request(invoice: &str, sat: u64, message: &[u8]) -> Result<SendPaymentRequest> {
    let mut request = SendPaymentRequest {
        amt: i64::try_from(sat)?,
        ..bolt11(invoice)
    };
    if !message.is_empty() {
        request
            .dest_custom_records
            .insert(MESSAGE_RECORD, message.to_vec());
    }
    Ok(request)
}

/// Runs ampcli with Alice's node and returns its JSON output.
fn ampcli(network: &Network, args: &[&str]) -> Result<Value> {
    let alice = &network["alice"];
    let output = Command::new(&network.binaries().ampcli)
        .args(["--network=regtest", "--rpcserver", alice.rpc_address()?])
        .arg("--datadir")
        .arg(alice.dir())
        .args(args)
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ampcli {args:?}: {error}");
    Ok(serde_json::from_slice(&output.stdout)?)
}
