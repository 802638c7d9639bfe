//! lnd's REST interface: the same calls as gRPC, as JSON over HTTP.
//!
//! It knows no call by name. Paths come from the options in the .proto ([`paths`]), a request becomes a
//! message by its descriptor ([`request`]), goes through the same services and the same guard as from gRPC
//! ([`call`]), and its answer becomes JSON by its descriptor ([`answer`]).

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
pub(super) use server::serve;

use super::connections::Caller;
use super::methods::Method;
use answer::Answer;
use call::{Credentials, Services};
use paths::{Found, NotFound};

/// Bytes of a body.
const MAX_BODY: usize = 1024 * 1024;
/// For a body to arrive.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(30);
/// grpc-gateway's prefix for metadata, and the macaroon's name behind it.
const MACAROON: &str = "grpc-metadata-macaroon";
/// How a browser's WebSocket, which has no headers of its own, brings a macaroon.
const PROTOCOL: &str = "sec-websocket-protocol";

/// What serves a request.
#[derive(Clone)]
pub(super) struct Rest {
    pub(super) services: Services,
    pub(super) origins: Origins,
    pub(super) stop: CancellationToken,
}

impl Rest {
    /// Answers one request.
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
            Some(_) => socket_verb(&query),
            None => parts.method.as_str().to_owned(),
        };
        let found = match paths::find(&verb, parts.uri.path()) {
            Ok(found) => found,
            Err(error) => return not_found(&error).into_response(),
        };
        let asked = Asked {
            has_body: has_body(&verb),
            credentials: credentials(&parts, caller),
            found,
            query,
        };
        match socket {
            Some(socket) => self.converse(socket, asked, &parts),
            None => self.reply(asked, body).await.into_response(),
        }
    }

    async fn reply(self, asked: Asked, body: Body) -> Answer {
        let body = match self.reads_body(&asked) {
            true => collected(body).await,
            false => Ok(Vec::new()),
        };
        match body.and_then(|body| asked.message(&body)) {
            Ok(message) => self.call(&asked, once(message)).await,
            Err(status) => Answer::refusal(&status),
        }
    }

    /// Who is not let in is told so without its body: it is called with an empty one, for the guard to refuse.
    /// What strangers may call does without one, too.
    fn reads_body(&self, asked: &Asked) -> bool {
        let method = asked.found.method;
        asked.has_body
            && !method.allow.is_empty()
            && call::is_welcome(&self.services, method, asked.credentials.clone())
    }

    async fn call(
        self,
        asked: &Asked,
        messages: impl Stream<Item = DynamicMessage> + Send + 'static,
    ) -> Answer {
        let method: &Method = asked.found.method;
        let credentials = asked.credentials.clone();
        let called = call::call(self.services, method, messages, credentials).await;
        match method.server_streaming {
            true => Answer::of_many(called).await,
            false => Answer::of_one(called).await,
        }
    }

    fn converse(self, socket: WebSocketUpgrade, asked: Asked, parts: &Parts) -> Response<Body> {
        let mut socket = socket
            .max_message_size(websocket::MAX_MESSAGE)
            .max_frame_size(websocket::MAX_MESSAGE);
        // A browser wants one of the protocols that it offered, even if it is a macaroon.
        if let Some(Ok(offered)) = parts.headers.get(PROTOCOL).map(|value| value.to_str()) {
            socket = socket.protocols([offered.to_owned()]);
        }
        let conversation = |mut socket: WebSocket| async move {
            if asked.found.method.client_streaming {
                return self.converse_both_ways(socket, asked).await;
            }
            let body = match self.reads_body(&asked) {
                true => websocket::body(&mut socket).await,
                false => Some(Bytes::new()),
            };
            let Some(body) = body else { return };
            let stop = self.stop.clone();
            let answer = match asked.message(&body) {
                Ok(message) => self.call(&asked, once(message)).await,
                Err(status) => Answer::refusal(&status),
            };
            websocket::send(socket, answer.lines, stop, None).await;
        };
        socket.on_upgrade(conversation).into_response()
    }

    /// Each of the client's messages is one of the request. One that is none ends the request, as in lnd.
    async fn converse_both_ways(self, socket: WebSocket, asked: Asked) {
        let (inbox, bodies) = mpsc::channel::<Bytes>(websocket::BACKLOG);
        let asked = Arc::new(asked);
        let reader = asked.clone();
        let messages = ReceiverStream::new(bodies).map_while(move |body| {
            let message = reader.message(&body);
            message
                .inspect_err(|error| tracing::info!(%error, "a caller's message is wrong"))
                .ok()
        });
        let stop = self.stop.clone();
        let answer = self.call(&asked, messages).await;
        websocket::send(socket, answer.lines, stop, Some(inbox)).await;
    }
}

/// A request whose method is known.
struct Asked {
    found: Found,
    query: Vec<(String, String)>,
    has_body: bool,
    credentials: Credentials,
}

impl Asked {
    fn message(&self, body: &[u8]) -> Result<DynamicMessage, Status> {
        message(&self.found, &self.query, self.has_body.then_some(body))
    }
}

/// What a request means, without asking anybody: `None` if there is no such path.
///
/// # Errors
/// What its sender is told.
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

/// With a body the query counts for nothing, as in lnd.
fn message(
    found: &Found,
    query: &[(String, String)],
    body: Option<&[u8]>,
) -> Result<DynamicMessage, Status> {
    let mut message = request::from_body(&found.method.request, body.unwrap_or_default())?;
    for (name, text) in &found.fields {
        // An empty part of the path says nothing; the query may.
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

/// A WebSocket always begins with GET; the query says what is meant.
fn socket_verb(query: &[(String, String)]) -> String {
    let said = query.iter().find(|(name, _)| name == "method");
    said.map_or("GET".to_owned(), |(_, verb)| verb.to_uppercase())
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

async fn collected(body: Body) -> Result<Vec<u8>, Status> {
    match timeout(PATIENCE, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes().into()),
        Ok(Err(error)) => Err(Status::invalid_argument(format!(
            "the request's body cannot be read ({error}); it may have {MAX_BODY} bytes"
        ))),
        Err(_) => Err(Status::invalid_argument("the request's body took too long")),
    }
}

fn not_found(error: &NotFound) -> Answer {
    match error {
        NotFound::Path => Answer::refusal(&Status::not_found("Not Found")),
        NotFound::Verb => Answer {
            status: StatusCode::NOT_IMPLEMENTED,
            ..Answer::refusal(&Status::unimplemented("Method Not Allowed"))
        },
    }
}
