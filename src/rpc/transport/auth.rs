//! Middleware of all services: checks the macaroon that a method requires and logs the call.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bitcoin::hex::{DisplayHex, FromHex};
use chrono::Utc;
use http::{Extensions, HeaderMap, Request, Response};
use tonic::Status;
use tonic::codegen::{BoxFuture, Service};
use tower_layer::Layer;

use crate::rpc::bakery::Bakery;
use crate::rpc::transport::connections::Caller;
use crate::rpc::transport::methods::{METHODS, Method};
use lnd_api::layout::MACAROON_HEADER;
use lnd_macaroon::caveat;

/// Third-party services that need no macaroon.
const OPEN_SERVICES: [&str; 2] = ["/grpc.health.", "/grpc.reflection."];

/// Wraps a service in a [`Guard`].
#[derive(Clone)]
pub(in crate::rpc) struct AuthLayer(pub(in crate::rpc) Arc<Bakery>);

impl<S> Layer<S> for AuthLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            inner,
            bakery: Arc::clone(&self.0),
        }
    }
}

/// A service that requires macaroons.
#[derive(Clone)]
pub(in crate::rpc) struct Guard<S> {
    inner: S,
    bakery: Arc<Bakery>,
}

impl<S, B, R> Service<Request<B>> for Guard<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
    B: Send + 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<Response<R>, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // Call the instance that is ready; the clone may not be.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let call = Call::of(&request);
        let admitted = self.admit(
            request.uri().path(),
            request.headers(),
            request.extensions(),
        );
        Box::pin(async move {
            let macaroon = match admitted {
                Ok(macaroon) => macaroon,
                Err(status) => {
                    call.log("refused", &status);
                    return Ok(status.into_http());
                }
            };
            let response = inner.call(request).await?;
            // Only an error before the first message has its status in the headers. Other responses carry
            // it in the trailers and count as OK here.
            let status = Status::from_header_map(response.headers());
            call.log(&macaroon, &status.unwrap_or_else(|| Status::ok("")));
            Ok(response)
        })
    }
}

impl<S> Guard<S> {
    /// Authorizes a call. Returns the macaroon's name for the log, or "none" if the method needs none.
    ///
    /// # Errors
    /// The status to return to the client.
    pub(in crate::rpc) fn admit(
        &self,
        path: &str,
        headers: &HeaderMap,
        extensions: &Extensions,
    ) -> Result<String, Status> {
        let Some(method) = METHODS.get(path) else {
            let is_open = OPEN_SERVICES.iter().any(|open| path.starts_with(open));
            return if is_open {
                Ok("none".to_owned())
            } else {
                Err(unknown(path))
            };
        };
        if method.allow.is_empty() {
            return Ok("none".to_owned());
        }
        self.check(&macaroon(headers)?, method, extensions)
    }

    fn check(
        &self,
        macaroon: &[u8],
        method: &Method,
        extensions: &Extensions,
    ) -> Result<String, Status> {
        let call = caveat_call(extensions);
        let checked = self
            .bakery
            .check(macaroon, &method.required(), &method.path, &call);
        // lnd uses `Unknown` here as well.
        let id = checked.map_err(|refusal| Status::unknown(refusal.to_string()))?;
        if let Some(caller) = extensions.get::<Caller>() {
            caller.mark_authenticated();
        }
        // Not secret: a macaroon cannot be derived from it without the root key.
        Ok(format!("{}:{}", id.root_key_id, id.nonce[..4].as_hex()))
    }
}

/// Returns the properties of a call that caveats can restrict.
pub(in crate::rpc) fn caveat_call(extensions: &Extensions) -> caveat::Call {
    let caller = extensions.get::<Caller>();
    caveat::Call {
        time: Utc::now(),
        from: caller.map(|caller| caller.address),
    }
}

/// Returns the call's macaroon.
///
/// # Errors
/// If there is not exactly one, or it is not hex.
fn macaroon(headers: &HeaderMap) -> Result<Vec<u8>, Status> {
    let given: Vec<_> = headers.get_all(MACAROON_HEADER).iter().collect();
    match given[..] {
        [hex] => {
            let bytes = hex.to_str().ok().and_then(|hex| Vec::from_hex(hex).ok());
            // lnd names the first invalid character instead; no client depends on that.
            bytes.ok_or_else(|| Status::unknown("the macaroon is not hex"))
        }
        _ => {
            let count = given.len();
            Err(Status::unknown(format!("expected 1 macaroon, got {count}")))
        }
    }
}

/// The error for an unknown method, with grpc-go's texts, which clients match on.
fn unknown(path: &str) -> Status {
    let (service, method) = path
        .trim_start_matches('/')
        .rsplit_once('/')
        .unwrap_or((path, ""));
    let is_served = METHODS
        .keys()
        .any(|known| known[1..].starts_with(&format!("{service}/")));
    Status::unimplemented(match is_served {
        true => format!("unknown method {method} for service {service}"),
        false => format!("unknown service {service}"),
    })
}

/// The data of a call for the log.
struct Call {
    method: String,
    caller: Option<Caller>,
    start: Instant,
}

impl Call {
    fn of<B>(request: &Request<B>) -> Self {
        Self {
            method: request.uri().path().to_owned(),
            caller: request.extensions().get::<Caller>().cloned(),
            start: Instant::now(),
        }
    }

    fn log(&self, macaroon: &str, status: &Status) {
        let method = &self.method;
        let from = self
            .caller
            .as_ref()
            .map(|caller| caller.address.to_string());
        let from = from.unwrap_or_default();
        let ms = self.start.elapsed().as_millis();
        let (code, error) = (status.code(), status.message());
        match code {
            tonic::Code::Ok => tracing::debug!(method, from, macaroon, ms, "call"),
            _ => tracing::info!(method, from, macaroon, ms, ?code, error, "call failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use tonic::Code;

    use super::*;
    use crate::storage::Store;

    const GET_INFO: &str = "/lnrpc.Lightning/GetInfo";

    /// Answers every call that passes the guard.
    #[derive(Clone)]
    struct Answers;

    impl Service<Request<()>> for Answers {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<String>, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, _: Request<()>) -> Self::Future {
            std::future::ready(Ok(Response::new("answered".to_owned())))
        }
    }

    async fn status_of(bakery: &Arc<Bakery>, path: &str, macaroons: &[&str]) -> Status {
        let mut request = Request::builder().uri(path);
        for macaroon in macaroons {
            request = request.header(MACAROON_HEADER, *macaroon);
        }
        let mut guarded = AuthLayer(Arc::clone(bakery)).layer(Answers);
        let response = guarded.call(request.body(()).unwrap()).await.unwrap();
        let status = Status::from_header_map(response.headers());
        assert_eq!(response.body().is_empty(), status.is_some());
        status.unwrap_or_else(|| Status::ok(""))
    }

    #[tokio::test]
    async fn call_needs_exactly_one_sufficient_macaroon() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let bakery = Arc::new(Bakery::open(store).unwrap());
        let baked = |pairs: [(&'static str, &'static str); 1]| {
            let baking = bakery.bake(pairs.into_iter().collect(), 0);
            async move { baking.await.unwrap().encode().to_lower_hex_string() }
        };
        let good = baked([("info", "read")]).await;
        let weak = baked([("peers", "read")]).await;
        let garbled = "cannot determine data format of binary-encoded macaroon";
        for (macaroons, expected) in [
            (&[good.as_str()][..], None),
            (&[], Some("expected 1 macaroon, got 0")),
            (&[&good, &good], Some("expected 1 macaroon, got 2")),
            (&["00ff"], Some(garbled)),
            (&["zz"], Some("the macaroon is not hex")),
            (&[&weak], Some("permission denied")),
        ] {
            let status = status_of(&bakery, GET_INFO, macaroons).await;
            let code = if expected.is_some() {
                Code::Unknown
            } else {
                Code::Ok
            };
            assert_eq!(
                (status.code(), status.message()),
                (code, expected.unwrap_or_default())
            );
        }
    }

    #[tokio::test]
    async fn unknown_methods_are_named_and_health_needs_no_macaroon() {
        let directory = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::open(directory.path()).unwrap());
        let bakery = Arc::new(Bakery::open(store).unwrap());
        for (path, expected) in [
            (
                "/lnrpc.Lightning/Fly",
                "unknown method Fly for service lnrpc.Lightning",
            ),
            ("/lnrpc.Submarine/Dive", "unknown service lnrpc.Submarine"),
            ("/", "unknown service /"),
        ] {
            let status = status_of(&bakery, path, &[]).await;
            assert_eq!(
                (status.code(), status.message()),
                (Code::Unimplemented, expected)
            );
        }
        let health = status_of(&bakery, "/grpc.health.v1.Health/Check", &[]).await;
        assert_eq!(health.code(), Code::Ok);
    }
}
