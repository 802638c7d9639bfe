//! The connection to the node: where it is, and the token that opens it.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use super::error::{CliError, error};
use crate::config::HostPort;
use crate::rpc::proto::ampdrpc::static_invoices_client::StaticInvoicesClient;
use crate::rpc::proto::invoicesrpc::invoices_client::InvoicesClient;
use crate::rpc::proto::lnrpc::lightning_client::LightningClient;
use crate::rpc::proto::lnrpc::state_client::StateClient;
use crate::rpc::proto::routerrpc::router_client::RouterClient;
use crate::rpc::proto::verrpc::versioner_client::VersionerClient;
use crate::rpc::{TOKEN_FILE, TOKEN_HEADER};

const DEFAULT_PORT: u16 = 10009;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// lncli's limit for one message of the node, in bytes: long lists are long.
const MAX_ANSWER_BYTES: usize = 200 * 1024 * 1024;

type Service = InterceptedService<Channel, Token>;

/// The services of a running node.
#[derive(Debug)]
pub struct Node {
    pub lightning: LightningClient<Service>,
    pub invoices: InvoicesClient<Service>,
    pub router: RouterClient<Service>,
    pub static_invoices: StaticInvoicesClient<Service>,
    pub state: StateClient<Service>,
    pub versioner: VersionerClient<Service>,
}

impl Node {
    /// Connects to the node at `rpcserver` with the token in `network_dir`.
    pub async fn connect(rpcserver: &str, network_dir: &Path) -> Result<Node, CliError> {
        let address = loopback(rpcserver)?;
        let token = Token::read(&network_dir.join(TOKEN_FILE))?;
        let channel = dial(&address).await?;
        let service = InterceptedService::new(channel, token);
        Ok(Node {
            lightning: LightningClient::new(service.clone())
                .max_decoding_message_size(MAX_ANSWER_BYTES),
            invoices: InvoicesClient::new(service.clone())
                .max_decoding_message_size(MAX_ANSWER_BYTES),
            router: RouterClient::new(service.clone()).max_decoding_message_size(MAX_ANSWER_BYTES),
            state: StateClient::new(service.clone()),
            versioner: VersionerClient::new(service.clone()),
            static_invoices: StaticInvoicesClient::new(service)
                .max_decoding_message_size(MAX_ANSWER_BYTES),
        })
    }
}

/// The token goes over the wire in the clear, so it must not leave the machine.
fn loopback(rpcserver: &str) -> Result<HostPort, CliError> {
    let Some(address) = HostPort::parse(rpcserver, DEFAULT_PORT) else {
        return error(format!(
            "--rpcserver {rpcserver:?} is not of the form host:port"
        ));
    };
    let ip = address.host.parse::<IpAddr>();
    if address.host != "localhost" && !ip.is_ok_and(|ip| ip.is_loopback()) {
        return error(format!(
            "--rpcserver {rpcserver} is not on this machine; ampd's RPC has no TLS yet, so only \
             a loopback address such as localhost:10009 is allowed"
        ));
    }
    Ok(address)
}

async fn dial(address: &HostPort) -> Result<Channel, CliError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .map_err(|error| CliError::Text(format!("--rpcserver {address}: {error}")))?
        .connect_timeout(CONNECT_TIMEOUT);
    endpoint.connect().await.map_err(|error| {
        CliError::Text(format!(
            "cannot reach ampd at {address}: {}; is it running, and is --rpcserver right?",
            root_cause(&error)
        ))
    })
}

/// tonic's own text is only "transport error".
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// Adds the token to each call.
#[derive(Clone, Debug)]
pub struct Token(MetadataValue<Ascii>);

impl Token {
    fn read(path: &Path) -> Result<Token, CliError> {
        let text = std::fs::read_to_string(path)
            .map(Zeroizing::new)
            .map_err(|error| {
                CliError::Text(format!(
                    "cannot read the token {}: {error}; is ampd running, and are --datadir and \
                 --network those of the node?",
                    path.display()
                ))
            })?;
        match MetadataValue::try_from(text.trim()) {
            Ok(mut value) if !text.trim().is_empty() => {
                value.set_sensitive(true);
                Ok(Token(value))
            }
            _ => error(format!(
                "{} holds no token; restart ampd to renew it",
                path.display()
            )),
        }
    }
}

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert(TOKEN_HEADER, self.0.clone());
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_gets_the_token() {
        assert_eq!(
            loopback("localhost").unwrap().to_string(),
            "localhost:10009"
        );
        assert_eq!(loopback("[::1]:1").unwrap().to_string(), "[::1]:1");
        assert_eq!(loopback("127.0.0.1:1").unwrap().to_string(), "127.0.0.1:1");
        for refused in ["10.0.0.1:10009", "example.com", "localhost.example.com:1"] {
            assert!(
                loopback(refused)
                    .unwrap_err()
                    .to_string()
                    .contains("is not on this machine")
            );
        }
    }

    #[test]
    fn a_missing_token_asks_for_the_running_node() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        let error = Token::read(&path).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(
            error.ends_with("are --datadir and --network those of the node?"),
            "{error}"
        );
        std::fs::write(&path, "\n").unwrap();
        assert!(
            Token::read(&path)
                .unwrap_err()
                .to_string()
                .contains("holds no token")
        );
    }

    #[test]
    fn the_token_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(TOKEN_FILE);
        std::fs::write(&path, "abcdef\n").unwrap();
        let mut token = Token::read(&path).unwrap();
        assert!(!format!("{token:?}").contains("abcdef"));
        let request = token.call(Request::new(())).unwrap();
        assert_eq!(request.metadata().get(TOKEN_HEADER).unwrap(), "abcdef");
    }
}
