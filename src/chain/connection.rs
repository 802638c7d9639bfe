//! One JSON-RPC connection: credentials, time limits, and what a failed call means.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lightning_block_sync::http::HttpEndpoint;
use lightning_block_sync::rpc::{RpcClient, RpcError};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::auth::RpcAuth;
use super::error::ChainError;
use super::http_status;

/// Limit for one call. A full block takes well under a second; a bitcoind that flushes its cache
/// may take longer, and then the caller tries again.
const CALL_LIMIT: Duration = Duration::from_secs(30);

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

impl fmt::Display for RpcAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// lightning-block-sync's client with what it lacks: time limits, a cookie that is read again, and
/// errors that say what to do.
pub(super) struct Connection {
    address: RpcAddress,
    auth: RpcAuth,
    session: RwLock<Option<Session>>,
    /// Whether the last call got through; if not, the next one first knocks, because
    /// lightning-block-sync connects with a blocking call.
    reachable: AtomicBool,
    limit: Duration,
}

/// A client with the credentials that it was made from.
#[derive(Clone)]
struct Session {
    basic: Arc<Zeroizing<String>>,
    client: Arc<RpcClient>,
}

impl Connection {
    pub(super) fn new(address: RpcAddress, auth: RpcAuth) -> Self {
        let reachable = AtomicBool::new(false);
        Self {
            address,
            auth,
            session: RwLock::default(),
            reachable,
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
        let session = self.session()?;
        let error = match self.attempt(&session, method, params).await {
            Err(error @ ChainError::WrongCookie { .. }) => error,
            done => return done,
        };
        let fresh = self.session()?;
        if fresh.basic == session.basic {
            return Err(error);
        }
        self.attempt(&fresh, method, params).await
    }

    /// The current session, or a new one with the credentials as they are now.
    fn session(&self) -> Result<Session, ChainError> {
        let open = self
            .session
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(session) = open {
            return Ok(session);
        }
        let basic = Arc::new(self.auth.basic()?);
        let endpoint =
            HttpEndpoint::for_host(self.address.host.clone()).with_port(self.address.port);
        let client = Arc::new(RpcClient::new(&basic, endpoint));
        let session = Session { basic, client };
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = Some(session.clone());
        Ok(session)
    }

    async fn attempt(
        &self,
        session: &Session,
        method: &'static str,
        params: &[Value],
    ) -> Result<Value, ChainError> {
        if !self.reachable.load(Ordering::Acquire) {
            let knocked = http_status::knock(&self.address.host, self.address.port).await;
            knocked.map_err(|e| self.unreachable(&e))?;
        }
        let answer = timeout(
            self.limit,
            session.client.call_method::<Value>(method, params),
        )
        .await;
        let error = match answer {
            Ok(Ok(value)) => {
                self.reachable.store(true, Ordering::Release);
                return Ok(value);
            }
            Ok(Err(error)) => error,
            Err(_) => {
                self.forget_session();
                return Err(self.timed_out(method));
            }
        };
        if let Some(answer) = error.get_ref().and_then(|e| e.downcast_ref::<RpcError>()) {
            self.reachable.store(true, Ordering::Release);
            return Err(self.refused(method, answer));
        }
        // The connection may hold half an answer that the next call would take for its own.
        self.forget_session();
        Err(self.diagnose(session, method, &error).await)
    }

    fn forget_session(&self) {
        self.reachable.store(false, Ordering::Release);
        *self.session.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn refused(&self, method: &'static str, answer: &RpcError) -> ChainError {
        let message = answer.message.clone();
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

    /// Finds out why a call got no JSON answer.
    async fn diagnose(
        &self,
        session: &Session,
        method: &'static str,
        error: &io::Error,
    ) -> ChainError {
        use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
        let is_http = matches!(
            error.kind(),
            InvalidData | InvalidInput | Other | UnexpectedEof
        );
        if !is_http {
            return self.unreachable(error);
        }
        let address = self.address();
        let (host, port) = (&self.address.host, self.address.port);
        match http_status::ask(host, port, &session.basic, method).await {
            Ok(401) => match &self.auth {
                RpcAuth::UserPassword { .. } => ChainError::WrongPassword { address },
                RpcAuth::Cookie(path) => ChainError::WrongCookie {
                    address,
                    path: path.clone(),
                },
            },
            Ok(403) => ChainError::Forbidden { address, method },
            Ok(503) => ChainError::Busy { address },
            // bitcoind answers 500 to a method that lacks its parameters.
            Ok(200 | 500) => self.bad_answer(method, &error.to_string()),
            Ok(status) => ChainError::NotBitcoind {
                address,
                reason: format!("HTTP status {status}"),
            },
            Err(e) if e.kind() == InvalidData => ChainError::NotBitcoind {
                address,
                reason: e.to_string(),
            },
            Err(e) => self.unreachable(&e),
        }
    }

    fn unreachable(&self, error: &io::Error) -> ChainError {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
            io::ErrorKind::TimedOut => "no answer".to_owned(),
            _ => error.to_string(),
        };
        ChainError::Unreachable {
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
        // The first call is refused thrice: lightning-block-sync's own retry, and our question.
        let refused = Reply::empty("401 Unauthorized");
        let replies = vec![
            refused.clone(),
            refused.clone(),
            refused,
            Reply::result(json!("00".repeat(32))),
        ];
        let server = TestServer::start(replies);
        let bitcoind = bitcoind_at(server.port(), RpcAuth::Cookie(path.clone()));
        bitcoind.connection().session().unwrap();
        std::fs::write(&path, "__cookie__:new").unwrap();
        bitcoind.block_hash(0).await.unwrap();
        let sent = server.credentials();
        assert_eq!(sent.len(), 4);
        assert!(sent[0] != sent[3] && sent[0] == sent[2], "{sent:?}");
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

    #[test]
    fn debug_output_shows_no_secret() {
        let bitcoind = bitcoind_at(1, user_password());
        assert!(!format!("{bitcoind:?}").contains("password\""));
    }
}
