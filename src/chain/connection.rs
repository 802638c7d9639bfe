//! JSON-RPC over HTTP: credentials, time limits, and what a failed call means.
//!
//! lightning-block-sync has a client, too, but it takes bitcoind's HTTP status 500, which each refusal of
//! a call has, for a broken connection: it sleeps 100 ms, connects anew and asks again.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::auth::RpcAuth;
use super::error::ChainError;

/// Limit for one call. A full block takes well under a second; a bitcoind that flushes its cache
/// may take longer, and then the caller tries again.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// bitcoind closes a connection that was idle for 30 seconds (`rpcservertimeout`).
const IDLE_LIMIT: Duration = Duration::from_secs(15);
const MAX_IDLE_CONNECTIONS: usize = 8;
/// The longest answer is a block of 4 MB in hex.
const MAX_ANSWER_BYTES: usize = 8_100_000;

/// bitcoind's error code for "I am still starting" (`RPC_IN_WARMUP`).
const CODE_WARMING_UP: i64 = -28;
/// bitcoind's error code for a method that it does not have (`RPC_METHOD_NOT_FOUND`).
const CODE_METHOD_NOT_FOUND: i64 = -32601;

/// Where bitcoind listens (`bitcoind-rpc-address`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RpcAddress {
    /// Host name or IP address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl RpcAddress {
    fn url(&self) -> String {
        match self.host.parse::<Ipv6Addr>() {
            Ok(ip) => format!("http://[{ip}]:{}/", self.port),
            Err(_) => format!("http://{self}/"),
        }
    }
}

impl fmt::Display for RpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The client, and the credentials as they were read last.
pub(super) struct Connection {
    address: RpcAddress,
    auth: RpcAuth,
    credentials: RwLock<Option<Arc<Zeroizing<String>>>>,
    http: Client<HttpConnector, Full<Bytes>>,
    limit: Duration,
}

/// Why there is no complete HTTP answer.
type Unanswered = Box<dyn Error + Send + Sync>;

/// An error in bitcoind's answer.
#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

impl Connection {
    pub(super) fn new(address: RpcAddress, auth: RpcAuth) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_LIMIT));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_LIMIT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        Self {
            address,
            auth,
            credentials: RwLock::default(),
            http,
            limit: CALL_LIMIT,
        }
    }

    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// `host:port` as configured, for messages.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
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
        let credentials = self.credentials()?;
        let error = match self.attempt(&credentials, method, params).await {
            Err(error @ ChainError::WrongCookie { .. }) => error,
            done => return done,
        };
        let fresh = self.credentials()?;
        if fresh == credentials {
            return Err(error);
        }
        self.attempt(&fresh, method, params).await
    }

    /// The credentials as they were read last, or as they are now if bitcoind refused those.
    fn credentials(&self) -> Result<Arc<Zeroizing<String>>, ChainError> {
        let known = self.credentials.read();
        if let Some(known) = &*known.unwrap_or_else(PoisonError::into_inner) {
            return Ok(known.clone());
        }
        let read = Arc::new(self.auth.basic()?);
        self.set_credentials(Some(read.clone()));
        Ok(read)
    }

    fn set_credentials(&self, credentials: Option<Arc<Zeroizing<String>>>) {
        let known = self.credentials.write();
        *known.unwrap_or_else(PoisonError::into_inner) = credentials;
    }

    async fn attempt(
        &self,
        credentials: &str,
        method: &'static str,
        params: &[Value],
    ) -> Result<Value, ChainError> {
        let call = json!({ "method": method, "params": params, "id": 0 });
        let call = Bytes::from(call.to_string());
        match timeout(self.limit, self.exchange(credentials, call)).await {
            Ok(Ok((status, body))) => self.read_answer(method, status, &body),
            Ok(Err(error)) => Err(self.unanswered(method, &*error)),
            Err(_) => Err(self.timed_out(method)),
        }
    }

    /// bitcoind may close an idle connection just when it gets a call. Each of our calls may be made twice.
    async fn exchange(
        &self,
        credentials: &str,
        call: Bytes,
    ) -> Result<(StatusCode, Bytes), Unanswered> {
        match self.exchange_once(credentials, call.clone()).await {
            Err(error) if is_connection_lost(&*error) => {
                self.exchange_once(credentials, call).await
            }
            done => done,
        }
    }

    async fn exchange_once(
        &self,
        credentials: &str,
        call: Bytes,
    ) -> Result<(StatusCode, Bytes), Unanswered> {
        let mut basic = HeaderValue::from_str(&format!("Basic {credentials}"))?;
        basic.set_sensitive(true);
        let request = Request::post(self.address.url())
            .header(AUTHORIZATION, basic)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(call))?;
        let (head, body) = self.http.request(request).await?.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await?;
        Ok((head.status, body.to_bytes()))
    }

    /// bitcoind's refusals have an HTTP status beside 200, but a JSON answer all the same.
    fn read_answer(
        &self,
        method: &'static str,
        status: StatusCode,
        body: &[u8],
    ) -> Result<Value, ChainError> {
        match status {
            StatusCode::UNAUTHORIZED => return Err(self.unauthorized()),
            StatusCode::FORBIDDEN => {
                let address = self.address();
                return Err(ChainError::Forbidden { address, method });
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                let address = self.address();
                return Err(ChainError::Busy { address });
            }
            _ => {}
        }
        let not_json = |error: serde_json::Error| match status {
            StatusCode::OK | StatusCode::INTERNAL_SERVER_ERROR => {
                self.bad_answer(method, &error.to_string())
            }
            _ => self.not_bitcoind(format!("HTTP status {}", status.as_u16())),
        };
        let mut answer: Value = serde_json::from_slice(body).map_err(not_json)?;
        match answer.get("error") {
            None | Some(Value::Null) => {}
            Some(error) => {
                let error = RpcError::deserialize(error)
                    .map_err(|e| self.bad_answer(method, &e.to_string()))?;
                return Err(self.refused(method, error));
            }
        }
        match answer.get_mut("result") {
            Some(result) => Ok(result.take()),
            None => Err(self.bad_answer(method, "neither result nor error")),
        }
    }

    fn unauthorized(&self) -> ChainError {
        self.set_credentials(None);
        let address = self.address();
        match &self.auth {
            RpcAuth::UserPassword { .. } => ChainError::WrongPassword { address },
            RpcAuth::Cookie(path) => ChainError::WrongCookie {
                address,
                path: path.clone(),
            },
        }
    }

    fn refused(&self, method: &'static str, answer: RpcError) -> ChainError {
        let message = answer.message;
        match answer.code {
            CODE_WARMING_UP => ChainError::WarmingUp {
                address: self.address(),
                message,
            },
            CODE_METHOD_NOT_FOUND => ChainError::MissingMethod {
                address: self.address(),
                method,
            },
            code => ChainError::Rpc {
                method,
                code,
                message,
            },
        }
    }

    /// What it means that there is no complete HTTP answer.
    fn unanswered(&self, method: &'static str, error: &(dyn Error + 'static)) -> ChainError {
        if cause::<LengthLimitError>(error).is_some() {
            return self.bad_answer(method, "it is too long");
        }
        if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return self.not_bitcoind("no HTTP answer".to_owned());
        }
        let reason = match cause::<io::Error>(error) {
            Some(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                io::ErrorKind::TimedOut => "no answer".to_owned(),
                _ => error.to_string(),
            },
            None => root(error).to_string(),
        };
        ChainError::Unreachable {
            address: self.address(),
            reason,
        }
    }

    fn not_bitcoind(&self, reason: String) -> ChainError {
        ChainError::NotBitcoind {
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

/// Whether a connection that was made ended before the answer.
fn is_connection_lost(error: &(dyn Error + 'static)) -> bool {
    use hyper_util::client::legacy::Error as ClientError;
    if cause::<ClientError>(error).is_some_and(ClientError::is_connect) {
        return false;
    }
    let hyper = cause::<hyper::Error>(error);
    hyper.is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
        || cause::<io::Error>(error).is_some()
}

/// The first error of this type among the error and its causes.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    causes(error).find_map(|error| error.downcast_ref())
}

fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    causes(error).last().unwrap_or(error)
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (**error).source())
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("auth", &self.auth)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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
    async fn a_new_cookie_is_picked_up_without_a_failed_call() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".cookie");
        std::fs::write(&path, "__cookie__:old").unwrap();
        let server = TestServer::start(vec![
            Reply::empty("401 Unauthorized"),
            Reply::result(json!("00".repeat(32))),
        ]);
        let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path.clone()));
        bitcoind.connection().credentials().unwrap();
        std::fs::write(&path, "__cookie__:new").unwrap();
        bitcoind.block_hash(0).await.unwrap();
        let sent = server.credentials();
        assert_eq!(sent.len(), 2);
        assert_ne!(sent[0], sent[1]);
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
    async fn a_refusal_is_asked_for_once_and_at_once() {
        let server = TestServer::start(vec![Reply::error(-25, "bad-txns-inputs-missingorspent")]);
        let bitcoind = server.bitcoind();
        let started = std::time::Instant::now();
        for _ in 0..20 {
            assert!(bitcoind.block_hash(9).await.unwrap_err().is_refusal());
        }
        // With 100 ms for each it would be two seconds.
        assert!(started.elapsed() < Duration::from_secs(1));
        assert_eq!(server.methods().len(), 20);
    }

    #[tokio::test]
    async fn a_connection_that_ends_before_the_answer_is_made_again_once() {
        let server = TestServer::start(vec![
            Reply::Raw(Vec::new()),
            Reply::result(json!("00".repeat(32))),
        ]);
        server.bitcoind().block_hash(0).await.unwrap();
        let server = TestServer::start(vec![Reply::Raw(Vec::new())]);
        let error = server.bitcoind().block_hash(0).await.unwrap_err();
        assert!(matches!(error, ChainError::Unreachable { .. }), "{error}");
        assert_eq!(server.methods().len(), 2);
    }

    #[tokio::test]
    async fn an_answer_without_end_is_not_read() {
        let mut endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n".to_vec();
        endless.resize(MAX_ANSWER_BYTES + 1_000_000, b' ');
        let error = error_after(Reply::Raw(endless)).await;
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn an_ipv6_address_is_put_in_brackets() {
        let url = |host: &str| {
            let host = host.to_owned();
            RpcAddress { host, port: 8332 }.url()
        };
        assert_eq!(url("::1"), "http://[::1]:8332/");
        assert_eq!(url("localhost"), "http://localhost:8332/");
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let bitcoind = bitcoind_at(1, user_password());
        assert!(!format!("{bitcoind:?}").contains("password\""));
    }
}
