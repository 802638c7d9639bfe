//! lnd's REST API: the gRPC calls as JSON over HTTP.
//!
//! No method is hard-coded. The paths come from the method options in the .proto files ([`paths`]). A request
//! is parsed into a message by its descriptor ([`request`]) and passed to the same services and macaroon
//! check as a gRPC call ([`call`]). The response is converted to JSON by its descriptor ([`answer`]).

mod answer;
mod call;
mod cors;
mod paths;
mod request;
mod server;
mod websocket;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::FromRequestParts;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use http::request::Parts;
use http::{Method as Verb, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use prost_reflect::DynamicMessage;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt, once};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::AsciiMetadataValue;

pub use cors::Origins;
pub(in crate::rpc) use server::serve;

use crate::rpc::transport::connections::Caller;
use crate::rpc::transport::methods::Method;
use answer::Answer;
use call::{Credentials, Services};
use paths::{Found, NotFound};

/// The maximum size of a request body in bytes.
const MAX_BODY: usize = 1024 * 1024;
/// How long to wait for a request body.
const BODY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// The macaroon's header: grpc-gateway's prefix for metadata and lnd's name.
const MACAROON: &str = "grpc-metadata-macaroon";
/// The header for a macaroon on a browser's WebSocket, which cannot set other headers.
const PROTOCOL: &str = "sec-websocket-protocol";

/// The shared state of the REST server.
#[derive(Clone)]
pub(in crate::rpc) struct Rest {
    pub(in crate::rpc) services: Services,
    pub(in crate::rpc) origins: Origins,
    pub(in crate::rpc) stop: CancellationToken,
}

impl Rest {
    /// Handles one request.
    async fn answer(self, request: Request<Body>, caller: Caller) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let origins = self.origins.clone();
        let headers = parts.headers.clone();
        let mut response = match parts.method {
            Verb::OPTIONS => Response::new(Body::empty()),
            _ => self.route(parts, body, caller).await,
        };
        origins.allow(&headers, response.headers_mut());
        response
    }

    async fn route(self, mut parts: Parts, body: Body, caller: Caller) -> Response<Body> {
        let socket = WebSocketUpgrade::from_request_parts(&mut parts, &())
            .await
            .ok();
        let query = query(parts.uri.query().unwrap_or_default());
        let verb = match &socket {
            Some(_) => websocket_verb(&query),
            None => parts.method.as_str().to_owned(),
        };
        let found = match paths::find(&verb, parts.uri.path()) {
            Ok(found) => found,
            Err(error) => return not_found(&error).into_response(),
        };
        let rest_call = RestCall {
            has_body: has_body(&verb),
            credentials: credentials(&parts, caller),
            found,
            query,
        };
        match socket {
            Some(socket) => self.converse(socket, rest_call, &parts),
            None => self.reply(rest_call, body).await.into_response(),
        }
    }

    async fn reply(self, rest_call: RestCall, body: Body) -> Answer {
        let body = match self.should_read_body(&rest_call) {
            true => read_body(body).await,
            false => Ok(Vec::new()),
        };
        match body.and_then(|body| rest_call.message(&body)) {
            Ok(message) => self.call(&rest_call, once(message)).await,
            Err(status) => Answer::from_error(&status),
        }
    }

    /// Returns whether to read the request body. Without authorization the method is called with an empty
    /// body, and the guard rejects it. Methods that need no macaroon need no body either.
    fn should_read_body(&self, rest_call: &RestCall) -> bool {
        let method = rest_call.found.method;
        rest_call.has_body
            && !method.allow.is_empty()
            && call::is_authorized(&self.services, method, rest_call.credentials.clone())
    }

    async fn call(
        self,
        rest_call: &RestCall,
        messages: impl Stream<Item = DynamicMessage> + Send + 'static,
    ) -> Answer {
        let method: &Method = rest_call.found.method;
        let credentials = rest_call.credentials.clone();
        let called = call::call(self.services, method, messages, credentials).await;
        match method.server_streaming {
            true => Answer::streaming(called).await,
            false => Answer::unary(called).await,
        }
    }

    fn converse(
        self,
        socket: WebSocketUpgrade,
        rest_call: RestCall,
        parts: &Parts,
    ) -> Response<Body> {
        let mut socket = socket
            .max_message_size(websocket::MAX_MESSAGE)
            .max_frame_size(websocket::MAX_MESSAGE);
        // A browser expects one of the protocols that it offered, even if it is a macaroon.
        if let Some(Ok(offered)) = parts.headers.get(PROTOCOL).map(|value| value.to_str()) {
            socket = socket.protocols([offered.to_owned()]);
        }
        let conversation = |mut socket: WebSocket| async move {
            if rest_call.found.method.client_streaming {
                return self.converse_bidirectionally(socket, rest_call).await;
            }
            let body = match self.should_read_body(&rest_call) {
                true => websocket::body(&mut socket).await,
                false => Some(Bytes::new()),
            };
            let Some(body) = body else { return };
            let stop = self.stop.clone();
            let answer = match rest_call.message(&body) {
                Ok(message) => self.call(&rest_call, once(message)).await,
                Err(status) => Answer::from_error(&status),
            };
            websocket::send(socket, answer.lines, stop, None).await;
        };
        socket.on_upgrade(conversation).into_response()
    }

    /// Handles a call with a request stream: each WebSocket message is one request message. An invalid one
    /// ends the request stream, as in lnd.
    async fn converse_bidirectionally(self, socket: WebSocket, rest_call: RestCall) {
        let (inbox, bodies) = mpsc::channel::<Bytes>(websocket::INBOX_LEN);
        let rest_call = Arc::new(rest_call);
        let reader = rest_call.clone();
        let messages = ReceiverStream::new(bodies).map_while(move |body| {
            let message = reader.message(&body);
            message
                .inspect_err(|error| tracing::info!(%error, "invalid WebSocket message"))
                .ok()
        });
        let stop = self.stop.clone();
        let answer = self.call(&rest_call, messages).await;
        websocket::send(socket, answer.lines, stop, Some(inbox)).await;
    }
}

/// A request with its method.
struct RestCall {
    found: Found,
    query: Vec<(String, String)>,
    has_body: bool,
    credentials: Credentials,
}

impl RestCall {
    fn message(&self, body: &[u8]) -> Result<DynamicMessage, Status> {
        message(&self.found, &self.query, self.has_body.then_some(body))
    }
}

/// Parses a REST request into its message without calling the method; `None` if there is no such path.
///
/// # Errors
/// The status that the client would get.
pub fn rest_message(
    verb: &str,
    target: &str,
    body: &[u8],
) -> Option<Result<DynamicMessage, Status>> {
    let (path, query_text) = target.split_once('?').unwrap_or((target, ""));
    let found = paths::find(verb, path).ok()?;
    Some(message(
        &found,
        &query(query_text),
        has_body(verb).then_some(body),
    ))
}

fn has_body(verb: &str) -> bool {
    verb == "POST" || verb == "PUT"
}

/// Builds the request message from the path and the body, or the query. With a body, the query is ignored,
/// as in lnd.
fn message(
    found: &Found,
    query: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<DynamicMessage, Status> {
    let mut message = request::from_body(&found.method.request, body.unwrap_or_default())?;
    for (name, text) in &found.fields {
        // An empty path segment does not set its field; the query may.
        if !text.is_empty() {
            request::set_field(&mut message, name, text)?;
        }
    }
    if body.is_none() {
        for (name, text) in query {
            request::set_field(&mut message, name, text)?;
        }
    }
    Ok(message)
}

fn query(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes())
        .into_owned()
        .collect()
}

/// Returns the verb of a WebSocket call. The upgrade request is always GET; `?method=` has the real verb.
fn websocket_verb(query: &[(String, String)]) -> String {
    let method = query.iter().find(|(name, _)| name == "method");
    method.map_or("GET".to_owned(), |(_, verb)| verb.to_uppercase())
}

fn credentials(parts: &Parts, caller: Caller) -> Credentials {
    let given = parts
        .headers
        .get_all(MACAROON)
        .iter()
        .map(|value| value.as_bytes());
    let protocols = parts.headers.get_all(PROTOCOL).iter();
    let offered = protocols.filter_map(|value| {
        let (name, macaroon) = value.to_str().ok()?.split_once('+')?;
        name.eq_ignore_ascii_case(MACAROON)
            .then(|| macaroon.trim().as_bytes())
    });
    let macaroons = given.chain(offered);
    Credentials {
        caller,
        macaroons: macaroons
            .filter_map(|bytes| AsciiMetadataValue::try_from(bytes).ok())
            .collect(),
    }
}

async fn read_body(body: Body) -> Result<Vec<u8>, Status> {
    match timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) => Err(Status::invalid_argument(format!(
            "cannot read the request body ({error}); the limit is {MAX_BODY} bytes"
        ))),
        Err(_) => Err(Status::invalid_argument(
            "timed out waiting for the request body",
        )),
    }
}

fn not_found(error: &NotFound) -> Answer {
    match error {
        NotFound::Path => Answer::from_error(&Status::not_found("Not Found")),
        NotFound::Verb => Answer {
            status: StatusCode::NOT_IMPLEMENTED,
            ..Answer::from_error(&Status::unimplemented("Method Not Allowed"))
        },
    }
}
