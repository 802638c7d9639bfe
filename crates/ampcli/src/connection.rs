//! The connection to the node: its address, its TLS certificate and the macaroon to send.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitcoin::Network;
use bitcoin::hex::DisplayHex;
use chrono::{SecondsFormat, Utc};
use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::error::{CliError, error};
use super::values::duration;
use ampd_files::expand_home;
use lnd_api::layout::{ADMIN_FILE, CERTIFICATE_FILE, MACAROON_HEADER, macaroon_directory};
use lnd_api::layout::{HostPort, NETWORK_NAMES, network_by_name};
use lnd_api::proto::ampdrpc::static_invoices_client::StaticInvoicesClient;
use lnd_api::proto::invoicesrpc::invoices_client::InvoicesClient;
use lnd_api::proto::lnrpc::lightning_client::LightningClient;
use lnd_api::proto::lnrpc::state_client::StateClient;
use lnd_api::proto::routerrpc::router_client::RouterClient;
use lnd_api::proto::verrpc::versioner_client::VersionerClient;
use lnd_api::proto::walletrpc::wallet_kit_client::WalletKitClient;
use lnd_macaroon::Macaroon;

const DEFAULT_PORT: u16 = 10009;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum size of a response, in bytes, as in lncli; lists can be long.
const MAX_RESPONSE_BYTES: usize = 200 * 1024 * 1024;

/// Address and credentials of the node, with lncli's flag names.
#[derive(Debug, Args)]
#[command(next_help_heading = "Connection options")]
pub(crate) struct Target {
    /// The node's gRPC address (host:port)
    #[arg(
        long,
        global = true,
        env = "AMPCLI_RPCSERVER",
        default_value = "localhost:10009"
    )]
    pub rpcserver: String,
    /// The node's data directory, with its TLS certificate and macaroons
    #[arg(long, global = true, env = "AMPCLI_DATADIR", default_value = "~/.ampd")]
    datadir: String,
    /// The node's network: mainnet, testnet, testnet4, signet or regtest
    #[arg(
        long,
        short,
        global = true,
        env = "AMPCLI_NETWORK",
        default_value = "mainnet"
    )]
    #[arg(value_parser = network)]
    network: Network,
    /// Path to the node's TLS certificate [default: tls.cert in the data directory]
    #[arg(long, global = true, env = "AMPCLI_TLSCERTPATH")]
    tlscertpath: Option<String>,
    /// Path to the macaroon [default: the network's admin.macaroon in the data directory]
    #[arg(long, global = true, env = "AMPCLI_MACAROONPATH")]
    macaroonpath: Option<String>,
    /// Lifetime (seconds) of the macaroon sent to the node; 0 adds no limit to the one in the file
    #[arg(
        long,
        global = true,
        env = "AMPCLI_MACAROONTIMEOUT",
        default_value = "60"
    )]
    macaroontimeout: u32,
    /// Client IP address to which the macaroon sent to the node is restricted
    #[arg(long, global = true, env = "AMPCLI_MACAROONIP")]
    macaroonip: Option<std::net::IpAddr>,
    /// Timeout for each response of the node, e.g. 30s [default: none]
    #[arg(long, global = true, env = "AMPCLI_RPCTIMEOUT", value_parser = duration)]
    rpctimeout: Option<Duration>,
}

fn network(name: &str) -> Result<Network, String> {
    network_by_name(name).ok_or_else(|| format!("expected {NETWORK_NAMES}"))
}

impl Target {
    /// Returns the path of the node's TLS certificate.
    pub(crate) fn certificate_path(&self) -> Result<PathBuf, CliError> {
        match &self.tlscertpath {
            Some(path) => expanded(path),
            None => Ok(expanded(&self.datadir)?.join(CERTIFICATE_FILE)),
        }
    }

    /// Returns the path of the macaroon.
    pub(crate) fn macaroon_path(&self) -> Result<PathBuf, CliError> {
        match &self.macaroonpath {
            Some(path) => expanded(path),
            None => {
                let directory = macaroon_directory(&expanded(&self.datadir)?, self.network);
                Ok(directory.join(ADMIN_FILE))
            }
        }
    }

    /// Returns the node's gRPC address.
    pub(crate) fn address(&self) -> Result<HostPort, CliError> {
        HostPort::parse(&self.rpcserver, DEFAULT_PORT).map_or_else(
            || {
                error(format!(
                    "--rpcserver {:?} is not of the form host:port",
                    self.rpcserver
                ))
            },
            Ok,
        )
    }

    /// Returns the macaroon to send. Like lncli, it adds caveats, so that a leaked copy soon becomes useless.
    fn macaroon(&self) -> Result<Macaroon, CliError> {
        let mut macaroon = read_macaroon(&self.macaroon_path()?)?;
        if self.macaroontimeout > 0 {
            let end = Utc::now() + Duration::from_secs(self.macaroontimeout.into());
            let end = end.to_rfc3339_opts(SecondsFormat::Nanos, true);
            macaroon = macaroon.with_caveat(&format!("time-before {end}"));
        }
        if let Some(address) = self.macaroonip {
            macaroon = macaroon.with_caveat(&format!("ipaddr {address}"));
        }
        Ok(macaroon)
    }
}

/// Expands a leading `~` in a path.
pub(crate) fn expanded(path: &str) -> Result<PathBuf, CliError> {
    let expanded = expand_home(path, std::env::var_os("HOME"));
    expanded.map_err(|error| CliError::Text(error.to_string()))
}

/// Reads a macaroon from a file.
pub(crate) fn read_macaroon(path: &Path) -> Result<Macaroon, CliError> {
    let bytes = Zeroizing::new(read("macaroon", "--macaroonpath", path)?);
    Macaroon::decode(&bytes).map_err(|error| {
        CliError::Text(format!(
            "{} is not a macaroon: {error}; check --macaroonpath",
            path.display()
        ))
    })
}

/// Reads the node's TLS certificate (PEM).
pub(crate) fn read_certificate(path: &Path) -> Result<Vec<u8>, CliError> {
    read("TLS certificate", "--tlscertpath", path)
}

fn read(what: &str, flag: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| {
        CliError::Text(format!(
            "cannot read the {what} {}: {error}; check that ampd has been started and that --datadir and \
             --network (or {flag}) are those of the node",
            path.display()
        ))
    })
}

type Service = InterceptedService<Channel, Credentials>;

/// gRPC clients for the services of a running node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub lightning: LightningClient<Service>,
    pub invoices: InvoicesClient<Service>,
    pub router: RouterClient<Service>,
    pub static_invoices: StaticInvoicesClient<Service>,
    pub wallet: WalletKitClient<Service>,
    pub state: StateClient<Service>,
    pub versioner: VersionerClient<Service>,
}

impl Node {
    /// Connects to the node.
    pub(crate) async fn connect(target: &Target) -> Result<Node, CliError> {
        let credentials = Credentials::new(&target.macaroon()?)?;
        let channel = dial(target).await?;
        let service = InterceptedService::new(channel, credentials);
        Ok(Node {
            lightning: LightningClient::new(service.clone())
                .max_decoding_message_size(MAX_RESPONSE_BYTES),
            invoices: InvoicesClient::new(service.clone())
                .max_decoding_message_size(MAX_RESPONSE_BYTES),
            router: RouterClient::new(service.clone())
                .max_decoding_message_size(MAX_RESPONSE_BYTES),
            wallet: WalletKitClient::new(service.clone())
                .max_decoding_message_size(MAX_RESPONSE_BYTES),
            state: StateClient::new(service.clone()),
            versioner: VersionerClient::new(service.clone()),
            static_invoices: StaticInvoicesClient::new(service)
                .max_decoding_message_size(MAX_RESPONSE_BYTES),
        })
    }
}

async fn dial(target: &Target) -> Result<Channel, CliError> {
    let address = target.address()?;
    let certificate = read_certificate(&target.certificate_path()?)?;
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(certificate))
        .domain_name(address.host.clone());
    let endpoint = Endpoint::from_shared(format!("https://{address}"))
        .and_then(|endpoint| endpoint.tls_config(tls))
        .map_err(|error| CliError::Text(format!("--rpcserver {address}: {}", root_cause(&error))))?
        .connect_timeout(CONNECT_TIMEOUT);
    let endpoint = match target.rpctimeout {
        Some(limit) => endpoint.timeout(limit),
        None => endpoint,
    };
    endpoint.connect().await.map_err(|error| {
        CliError::Text(format!(
            "cannot reach ampd at {address}: {}; check that it is running and that --rpcserver is correct",
            root_cause(&error)
        ))
    })
}

/// Returns the text of the innermost error; tonic's own is only "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Adds the macaroon to each call.
#[derive(Clone, Debug)]
pub(crate) struct Credentials(MetadataValue<Ascii>);

impl Credentials {
    fn new(macaroon: &Macaroon) -> Result<Self, CliError> {
        let hex = Zeroizing::new(macaroon.encode().to_lower_hex_string());
        let value = MetadataValue::try_from(hex.as_str());
        let mut value = value.map_err(|error| CliError::Text(error.to_string()))?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request
            .metadata_mut()
            .insert(MACAROON_HEADER, self.0.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        target: Target,
    }

    fn target(flags: &[&str]) -> Target {
        let line = std::iter::once("ampcli").chain(flags.iter().copied());
        Line::parse_from(line).target
    }

    #[test]
    fn default_file_paths_are_those_of_lncli() {
        let target = self::target(&["--datadir=/n", "--network", "regtest"]);
        assert_eq!(target.certificate_path().unwrap(), Path::new("/n/tls.cert"));
        let macaroon = Path::new("/n/data/chain/bitcoin/regtest/admin.macaroon");
        assert_eq!(target.macaroon_path().unwrap(), macaroon);
        let target = self::target(&["--tlscertpath", "/a/b", "--macaroonpath=/c"]);
        assert_eq!(target.certificate_path().unwrap(), Path::new("/a/b"));
        assert_eq!(target.macaroon_path().unwrap(), Path::new("/c"));
    }

    #[test]
    fn unreadable_macaroon_error_names_file_and_flag() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.macaroon");
        let error = read_macaroon(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains("--macaroonpath"), "{error}");
        std::fs::write(&path, "nonsense").unwrap();
        let error = read_macaroon(&path).unwrap_err().to_string();
        assert!(error.contains("is not a macaroon"), "{error}");
    }

    #[test]
    fn sent_macaroon_is_restricted_and_hidden_in_debug_output() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m");
        let (macaroon, _) = crate::tests::macaroon();
        std::fs::write(&path, macaroon.encode()).unwrap();
        let path = path.to_str().unwrap();
        let sent = |flags: &[&str]| {
            let flags: Vec<_> = ["--macaroonpath", path]
                .iter()
                .chain(flags)
                .copied()
                .collect();
            let macaroon = target(&flags).macaroon().unwrap();
            let caveats = macaroon
                .caveats()
                .map(|text| String::from_utf8_lossy(text).into_owned());
            caveats.collect::<Vec<_>>()
        };
        let [time] = &sent(&[])[..] else { panic!() };
        assert!(time.starts_with("time-before 2"), "{time}");
        let caveats = sent(&["--macaroontimeout=0", "--macaroonip", "10.0.0.1"]);
        assert_eq!(caveats, ["ipaddr 10.0.0.1"]);
        let macaroon = target(&["--macaroonpath", path]).macaroon().unwrap();
        let shown = format!("{:?}", Credentials::new(&macaroon).unwrap());
        assert!(!shown.contains("0201036c6e64"), "{shown}");
    }
}
