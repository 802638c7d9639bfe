//! JSON-RPC over HTTP: credentials, timeouts, and the classification of errors.
//!
//! The client of lightning-block-sync is not used, because it treats HTTP status 500, with which bitcoind
//! reports every RPC error, as a broken connection: it sleeps 100 ms, reconnects and repeats the call.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::Ipv6Addr;
use std::sync::{Arc, RwLock};
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
use crate::sync::{read, write};

/// Timeout of one call. A full block takes well under a second; while bitcoind flushes its cache a call may
/// take longer, and is then retried by the caller.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long idle connections are kept; bitcoind closes them after 30 seconds (`rpcservertimeout`).
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);
const MAX_IDLE_CONNECTIONS: usize = 8;
/// Maximum response size; the longest response is a block of 4 MB in hex.
const MAX_RESPONSE_BYTES: usize = 8_100_000;

/// bitcoind's error code while it is starting (`RPC_IN_WARMUP`).
const CODE_WARMING_UP: i64 = -28;
/// bitcoind's error code for an unknown method (`RPC_METHOD_NOT_FOUND`).
const CODE_METHOD_NOT_FOUND: i64 = -32601;

/// The address of bitcoind's RPC (`bitcoind-rpc-address`).
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

/// The HTTP client and the cached credentials.
pub(super) struct Connection {
    address: RpcAddress,
    auth: RpcAuth,
    credentials: RwLock<Option<Arc<Zeroizing<String>>>>,
    http: Client<HttpConnector, Full<Bytes>>,
    limit: Duration,
}

/// The error if there is no complete HTTP response.
type Unanswered = Box<dyn Error + Send + Sync>;

/// An error in bitcoind's response.
#[derive(Deserialize)]
struct RpcError {
    code: i64,
    message: String,
}

impl Connection {
    pub(super) fn new(address: RpcAddress, auth: RpcAuth) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_CONNECTIONS)
            .build(connector);
        Self {
            address,
            auth,
            credentials: RwLock::default(),
            http,
            limit: CALL_TIMEOUT,
        }
    }

    /// Sets the timeout per call.
    pub(super) fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// `host:port` as configured, for messages.
    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Makes a call and deserializes its result. After HTTP 401 the cookie is read again and the call
    /// repeated once.
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

    /// Returns the cached credentials, or reads them if bitcoind has rejected the cached ones.
    fn credentials(&self) -> Result<Arc<Zeroizing<String>>, ChainError> {
        if let Some(known) = &*read(&self.credentials) {
            return Ok(known.clone());
        }
        let fresh = Arc::new(self.auth.basic()?);
        self.set_credentials(Some(fresh.clone()));
        Ok(fresh)
    }

    fn set_credentials(&self, credentials: Option<Arc<Zeroizing<String>>>) {
        *write(&self.credentials) = credentials;
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
            Ok(Ok((status, body))) => self.interpret_response(method, status, &body),
            Ok(Err(error)) => Err(self.unanswered(method, &*error)),
            Err(_) => Err(self.timed_out(method)),
        }
    }

    /// Sends a request, once more if the connection is lost: bitcoind may close an idle connection just when
    /// a request arrives. All our calls are safe to repeat.
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
        let body = Limited::new(body, MAX_RESPONSE_BYTES).collect().await?;
        Ok((head.status, body.to_bytes()))
    }

    /// Interprets a response. bitcoind's RPC errors have an HTTP status other than 200, but a JSON body.
    fn interpret_response(
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

    /// Classifies the error if there is no complete HTTP response.
    fn unanswered(&self, method: &'static str, error: &(dyn Error + 'static)) -> ChainError {
        if cause::<LengthLimitError>(error).is_some() {
            return self.bad_answer(method, "the response is too long");
        }
        if cause::<hyper::Error>(error).is_some_and(hyper::Error::is_parse) {
            return self.not_bitcoind("no HTTP response".to_owned());
        }
        let reason = match cause::<io::Error>(error) {
            Some(error) => match error.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                io::ErrorKind::TimedOut => "connection timed out".to_owned(),
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

    /// The error for an unexpected response to `method`.
    pub(super) fn bad_answer(&self, method: &'static str, what: &str) -> ChainError {
        ChainError::BadAnswer {
            address: self.address(),
            method,
            what: what.to_owned(),
        }
    }
}

/// Whether an established connection was lost before the response.
fn is_connection_lost(error: &(dyn Error + 'static)) -> bool {
    use hyper_util::client::legacy::Error as ClientError;
    if cause::<ClientError>(error).is_some_and(ClientError::is_connect) {
        return false;
    }
    let hyper = cause::<hyper::Error>(error);
    hyper.is_some_and(|e| e.is_incomplete_message() || e.is_canceled() || e.is_closed())
        || cause::<io::Error>(error).is_some()
}

/// Returns the first error of type `T` among the error and its causes.
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
mod tests;
