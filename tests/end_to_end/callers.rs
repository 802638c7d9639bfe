//! Callers who are wrong, slow or too many: each gets a clear answer or a closed connection, and nobody else
//! notices.

use std::time::{Duration, Instant};

use ampd::macaroons::Macaroon;
use ampd::rpc::proto::lnrpc::payment::PaymentStatus;
use ampd::rpc::proto::lnrpc::{
    BakeMacaroonRequest, CheckMacPermRequest, DeleteMacaroonIdRequest, ListMacaroonIDsRequest,
    MacaroonPermission,
};
use anyhow::{Context, Result, ensure};
use bitcoin::hex::{DisplayHex, FromHex};
use regtest::api::{Api, Server, amp_to};
use regtest::network::{ChannelPlan, Network};
use regtest::node::Node;
use regtest::node::Software::Ampd;
use regtest::rest::Rest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::binaries;

/// More connections than the node has places for.
const FLOOD: usize = 400;
/// A handshake that is not finished loses its place after 10 s.
const LIMIT: Duration = Duration::from_secs(40);

#[tokio::test]
async fn a_flood_of_silent_connections_stops_neither_payments_nor_callers() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd), ("bob", Ampd)]).await?;
    let plan = ChannelPlan::new("alice", "bob", 1_000_000).push(500_000);
    network.open(&[plan]).await?;
    let node = &network["alice"];
    let mut silent = Vec::new();
    for address in [node.rpc_address()?.to_owned(), node.rest_address()?] {
        for _ in 0..FLOOD {
            silent.push(TcpStream::connect(&address).await?);
        }
    }
    // The connection that stands pays.
    let paid = node
        .api()?
        .pay(amp_to(network["bob"].key(), 5_000)?)
        .await?;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    // A new one waits for a place, which the silent ones lose.
    let began = Instant::now();
    let rest = Rest::of(node, "admin.macaroon")?;
    let info = timeout(LIMIT, rest.get("/v1/getinfo")).await;
    info.context("no place became free")??.json()?;
    let waited = began.elapsed();
    ensure!(
        waited > Duration::from_secs(1),
        "the flood was none: {waited:?}"
    );
    let mut closed = [0];
    let read = timeout(LIMIT, silent[0].read(&mut closed)).await?;
    ensure!(read.is_err() || read? == 0, "a silent connection is closed");
    network.finish();
    Ok(())
}

#[tokio::test]
async fn wrong_requests_are_told_what_is_wrong() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let rest = Rest::of(node, "admin.macaroon")?;
    let add = "POST /v1/invoices";
    for (call, body, status, why) in [
        (add, "{", 400, "proto: syntax error"),
        (add, "[1]", 400, "invalid type: sequence"),
        (add, "{\"value\": {}}", 400, "invalid type: map"),
        (add, "{\"x\": 1}", 400, "unknown field \\\"x\\\""),
        (add, "{\"value\": \"-5\"}", 500, "amount cannot be negative"),
        (
            "GET /v1/channels?active_only=yes",
            "",
            400,
            "is not true or false",
        ),
        (
            "GET /v1/invoice/00",
            "",
            500,
            "invalid hash length of 1, want 32",
        ),
        ("GET /v1/nothing", "", 404, "Not Found"),
        ("DELETE /v1/getinfo", "", 501, "Method Not Allowed"),
        ("GET /v1/channels/backup", "", 404, "Not Found"),
    ] {
        let (verb, path) = call.split_once(' ').context("a verb and a path")?;
        let answer = rest.send(verb, path, body, "application/json").await?;
        assert_eq!(answer.status, status, "{call} {body}: {answer:?}");
        let is_told = answer.text.contains(why) && answer.text.starts_with("{\"code\":");
        ensure!(is_told, "{call} {body}: {answer:?}");
    }
    let long = "a".repeat(2 << 20);
    let answer = rest.post("/v1/invoices", &json!({"memo": long})).await;
    // The node may hang up before all of it was sent.
    if let Ok(answer) = answer {
        ensure!(
            answer.status == 400 && answer.text.contains("1048576"),
            "{answer:?}"
        );
    }
    plain_text_is_hung_up_on(node).await?;
    rest.get("/v1/getinfo").await?.json()?;
    network.finish();
    Ok(())
}

async fn plain_text_is_hung_up_on(node: &Node) -> Result<()> {
    let mut plain = TcpStream::connect(node.rest_address()?).await?;
    plain
        .write_all(b"GET /v1/getinfo HTTP/1.1\r\nHost: x\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let end = timeout(LIMIT, plain.read_to_end(&mut answer)).await?;
    ensure!(end.is_err() || !answer.starts_with(b"HTTP"), "{answer:?}");
    Ok(())
}

#[tokio::test]
async fn a_macaroon_does_what_it_says_until_its_key_is_deleted() -> Result<()> {
    let network = Network::mixed(binaries(), &[("alice", Ampd)]).await?;
    let node = &network["alice"];
    let api = node.api()?;
    let request = BakeMacaroonRequest {
        permissions: vec![MacaroonPermission {
            entity: "info".into(),
            action: "read".into(),
        }],
        root_key_id: 7,
        allow_external_permissions: false,
    };
    let baked = api
        .lightning
        .clone()
        .bake_macaroon(request)
        .await?
        .into_inner()
        .macaroon;
    let narrowed = |caveat: &str| -> Result<String> {
        let macaroon = Macaroon::decode(&Vec::from_hex(&baked)?)?;
        Ok(macaroon.with_caveat(caveat).encode().to_lower_hex_string())
    };
    let certificate = node.certificate()?;
    let as_owner_of = |macaroon: &str| {
        let server = Server {
            address: node.rpc_address()?,
            host: "localhost",
            certificate: &certificate,
        };
        Api::new(&server, Some(macaroon))
    };
    as_owner_of(&baked)?.info().await?;
    as_owner_of(&narrowed("ipaddr 127.0.0.1")?)?.info().await?;
    for (caveat, why) in [
        ("ipaddr 10.0.0.1", "locked to different IP address"),
        ("time-before 2020-01-01T00:00:00Z", "macaroon has expired"),
        ("sometimes", "caveat not recognized"),
    ] {
        let refused = as_owner_of(&narrowed(caveat)?)?.info().await;
        let refused = refused.err().context(caveat)?;
        ensure!(refused.message().contains(why), "{refused}");
    }
    let weak = as_owner_of(&baked)?
        .channels()
        .await
        .err()
        .context("too weak")?;
    assert_eq!(weak.message(), "permission denied");
    let mut lightning = api.lightning.clone();
    let ids = lightning
        .list_macaroon_i_ds(ListMacaroonIDsRequest {})
        .await?;
    assert_eq!(ids.into_inner().root_key_ids, [0, 7]);
    let check = CheckMacPermRequest {
        macaroon: Vec::from_hex(&baked)?,
        full_method: "/lnrpc.Lightning/GetInfo".into(),
        check_default_perms_from_full_method: true,
        ..CheckMacPermRequest::default()
    };
    assert!(
        api.lightning
            .clone()
            .check_macaroon_permissions(check)
            .await?
            .get_ref()
            .valid
    );
    let delete = DeleteMacaroonIdRequest { root_key_id: 7 };
    assert!(
        api.lightning
            .clone()
            .delete_macaroon_id(delete)
            .await?
            .get_ref()
            .deleted
    );
    let refused = as_owner_of(&baked)?
        .info()
        .await
        .err()
        .context("its key is deleted")?;
    assert_eq!(
        refused.message(),
        "verification failed: macaroon not found in storage"
    );
    network.finish();
    Ok(())
}

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
    let answer = answers.into_inner().message().await?.context("no answer")?;
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
