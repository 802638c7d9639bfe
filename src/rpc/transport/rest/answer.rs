//! Converts responses to HTTP as grpc-gateway does: a JSON body, or one line of JSON per streamed message.

use std::pin::Pin;
use std::time::Duration;

use axum::body::{Body, Bytes};
use futures_util::stream::{self, Stream, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use serde_json::json;
use tokio::time::timeout;
use tonic::{Code, Status, Streaming};

use super::call::Encoded;
use crate::rpc::transport::streams::blocking;
use lnd_api::json;

/// The size in bytes of a message, as protobuf, from which it is converted on a blocking thread. Such a
/// message takes about a millisecond; the graph of the public network takes seconds.
const LARGE: usize = 32 * 1024;

/// How long a stream waits for its first message before the HTTP header is sent. (lnd waits for the message
/// without limit, so the header of SubscribeInvoices arrives with the first invoice.)
const FIRST_MESSAGE_TIMEOUT: Duration = Duration::from_millis(250);

/// The chunks of a response body, each a complete JSON value with its terminator.
pub(super) type Lines = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// A response whose HTTP status is known.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) lines: Lines,
}

impl Answer {
    /// Converts an error to the response of a call that does not stream.
    pub(super) fn from_error(status: &Status) -> Self {
        Self {
            status: http_status(status.code()),
            lines: one(error(status).to_string()),
        }
    }

    /// Converts the result of a call that does not stream.
    pub(super) async fn unary(called: Result<Streaming<Encoded>, Status>) -> Self {
        match Self::only_message(called).await {
            Ok(json) => Self {
                status: StatusCode::OK,
                lines: one(json),
            },
            Err(status) => Self::from_error(&status),
        }
    }

    async fn only_message(called: Result<Streaming<Encoded>, Status>) -> Result<String, Status> {
        match called?.message().await? {
            Some(message) => text(message).await,
            None => Err(Status::internal("the call ended without a response")),
        }
    }

    /// Converts the result of a streaming call, one line per message.
    pub(super) async fn streaming(called: Result<Streaming<Encoded>, Status>) -> Self {
        let mut answers = match called {
            Ok(answers) => answers,
            Err(status) => return Self::stream_error(&status),
        };
        let first = match timeout(FIRST_MESSAGE_TIMEOUT, answers.next()).await {
            Ok(Some(Err(status))) => return Self::stream_error(&status),
            Ok(first) => first,
            Err(_) => None,
        };
        let answers = stream::iter(first).chain(answers);
        Self {
            status: StatusCode::OK,
            lines: Box::pin(answers.then(line)),
        }
    }

    /// Converts the error of a stream that failed before its first message.
    fn stream_error(status: &Status) -> Self {
        Self {
            status: http_status(status.code()),
            lines: one(error_line(status)),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let lines = self.lines.map(Ok::<_, std::convert::Infallible>);
        let mut response = Response::new(Body::from_stream(lines));
        *response.status_mut() = self.status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        response
    }
}

fn one(json: String) -> Lines {
    Box::pin(stream::iter([Bytes::from(json)]))
}

/// Converts a message to JSON, on a blocking thread if it is large.
async fn text(message: Encoded) -> Result<String, Status> {
    let convert = |message: Encoded| {
        let message = message.decode()?;
        Ok(json::text(&message, json::Bytes::Base64))
    };
    match message.len() {
        LARGE.. => blocking(move || convert(message)).await,
        _ => convert(message),
    }
}

/// Encodes one line of a stream. Clients look for the first characters and the newline.
async fn line(answer: Result<Encoded, Status>) -> Bytes {
    let json = match answer {
        Ok(message) => text(message).await,
        Err(status) => Err(status),
    };
    match json {
        Ok(json) => format!("{{\"result\":{json}}}\n"),
        Err(status) => error_line(&status),
    }
    .into()
}

fn error_line(status: &Status) -> String {
    format!("{}\n", json!({"error": error(status)}))
}

fn error(status: &Status) -> serde_json::Value {
    json!({"code": status.code() as i32, "message": status.message(), "details": []})
}

/// Returns grpc-gateway's HTTP status for a gRPC code.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        // 499, nginx's "client closed request".
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => {
            StatusCode::BAD_REQUEST
        }
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
