//! Services that need no macaroon: health and reflection.

use anyhow::{Context, Result};
use regtest::network::Network;
use regtest::node::Software::Ampd;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::binaries;

#[tokio::test]
async fn health_and_reflection_need_no_macaroon() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(node.certificate()?))
        .domain_name("localhost");
    let endpoint = Endpoint::from_shared(format!("https://{}", node.rpc_address()?))?;
    let channel = endpoint.tls_config(tls)?.connect().await?;
    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest::default())
        .await?;
    assert_eq!(health.get_ref().status(), ServingStatus::Serving);
    let question = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..ServerReflectionRequest::default()
    };
    let questions = tokio_stream::once(question);
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(questions)
        .await?;
    let answer = answers
        .into_inner()
        .message()
        .await?
        .context("no response")?;
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else {
        anyhow::bail!("{answer:?}");
    };
    let names: Vec<_> = services
        .service
        .iter()
        .map(|service| &*service.name)
        .collect();
    for name in ["lnrpc.Lightning", "routerrpc.Router", "walletrpc.WalletKit"] {
        assert!(names.contains(&name), "{names:?}");
    }
    network.finish();
    Ok(())
}
