//! The page's routes. All other methods and paths are refused.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::StreamExt;
use hyper::body::Bytes;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::donations::Donations;
use super::feed::{Delays, stream_of};
use super::files::Files;
use super::html::{Notice, Page};
use super::rendered::{Offer, RenderedInvoice};

const HTML: &str = "text/html; charset=utf-8";
const SVG: &str = "image/svg+xml";
/// Cache policy of codes at their stable URLs; an outdated code stays payable.
const MINUTE: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=60");
const FOREVER: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=31536000, immutable");
/// `Retry-After` in seconds when all event streams are taken.
const RETRY_AFTER: &str = "60";

/// Maximum directory depth for links from a notice to the page; bounds the response to a long path.
const MAX_DEPTH: usize = 16;

/// State shared by the handlers.
pub(super) struct Site {
    pub(super) donations: Arc<Donations>,
    files: Files,
    /// Slots for open event streams.
    streams: Arc<Semaphore>,
    delays: Delays,
    stop: CancellationToken,
}

impl Site {
    pub(super) fn new(donations: Arc<Donations>, streams: usize, stop: CancellationToken) -> Self {
        Self {
            donations,
            files: Files::new(),
            streams: Arc::new(Semaphore::new(streams)),
            delays: Delays::default(),
            stop,
        }
    }

    /// Returns the router with all routes.
    pub(super) fn router(self) -> Router {
        let site = Arc::new(self);
        let mut router = Router::new()
            .route("/", get(page))
            .route("/qr.svg", get(qr_svg))
            .route("/qr.png", get(qr_png))
            .route("/invoice.txt", get(invoice))
            .route("/events", get(events));
        if site.donations.config.on_chain {
            router = router.route("/bitcoin.svg", get(bitcoin_svg));
        }
        for file in site.files.each() {
            let file = file.clone();
            let path = format!("/{}", file.name);
            router = router.route(
                &path,
                get(async move || cacheable(file.content_type, file.content.into(), FOREVER)),
            );
        }
        router
            .fallback(unknown)
            .layer(middleware::from_fn(refuse_bodies))
            .with_state(site)
    }

    /// Returns an error page. The path under which a proxy serves the page is unknown, so links are
    /// relative, with one `../` per directory level.
    fn notice(&self, uri: &Uri, status: StatusCode, title: &str, text: &str) -> Response {
        let folders = uri.path().matches('/').count().saturating_sub(1);
        let notice = Notice {
            files: &self.files,
            root: &"../".repeat(folders.min(MAX_DEPTH)),
            title,
            text,
        };
        (status, html(&notice)).into_response()
    }

    /// Answers with the offer that the query selects, or with an error page if there is none.
    fn with_offer(
        &self,
        uri: &Uri,
        answer: impl FnOnce(&RenderedInvoice, &Offer) -> Response,
    ) -> Response {
        let shown = self.donations.rendered();
        let offer = requested_amount(uri).map(|amount| shown.offer(amount));
        match offer {
            Ok(Some(offer)) => answer(&shown, offer),
            Ok(None) | Err(InvalidAmount) => self.notice(
                uri,
                StatusCode::BAD_REQUEST,
                "No such amount",
                "This page has no invoice for that amount. Choose one of the page's amounts, or \
                 enter another one in your wallet.",
            ),
        }
    }

    /// Like [`Site::with_offer`], but refuses while the invoice is disabled.
    fn with_open_offer(&self, uri: &Uri, answer: impl FnOnce(&Offer) -> Response) -> Response {
        self.with_offer(uri, |shown, offer| match shown.is_open() {
            true => answer(offer),
            false => self.notice(
                uri,
                StatusCode::SERVICE_UNAVAILABLE,
                "Paused",
                "This page does not accept donations at the moment.",
            ),
        })
    }
}

/// Refuses requests with a body, which no handler reads, and adds the headers of all responses.
async fn refuse_bodies(request: Request, next: Next) -> Response {
    let mut response = if request.body().is_end_stream() {
        next.run(request).await
    } else {
        let refusal = (
            StatusCode::PAYLOAD_TOO_LARGE,
            "requests must not have a body\n",
        );
        ([(header::CONNECTION, "close")], refusal).into_response()
    };
    super::headers::add(response.headers_mut());
    response
}

async fn page(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.with_offer(&uri, |shown, offer| {
        html(&Page::new(&site.donations, shown, offer, &site.files))
    })
}

async fn qr_svg(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.with_open_offer(&uri, |offer| image(SVG, offer.svg.clone()))
}

async fn qr_png(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.with_open_offer(&uri, |offer| image("image/png", offer.png.clone()))
}

async fn bitcoin_svg(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.with_open_offer(&uri, |offer| match &offer.on_chain {
        Some(on_chain) => image(SVG, on_chain.svg.clone()),
        None => not_found(&site, &uri),
    })
}

async fn invoice(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    site.with_open_offer(&uri, |offer| {
        let text = format!("{}\n", offer.invoice);
        cacheable("text/plain; charset=utf-8", text.into(), MINUTE)
    })
}

async fn events(State(site): State<Arc<Site>>) -> Response {
    let Ok(slot) = site.streams.clone().try_acquire_owned() else {
        let refusal = (
            StatusCode::SERVICE_UNAVAILABLE,
            "too many open pages; reload the page to see new donations\n",
        );
        return ([(header::RETRY_AFTER, RETRY_AFTER)], refusal).into_response();
    };
    let (first, live) = site.donations.subscribe();
    let donations = site.donations.clone();
    let stream = stream_of(first, live, site.delays.next(), move || donations.state());
    let stop = site.stop.clone();
    let stream = stream
        .take_until(async move { stop.cancelled().await })
        .map(move |event| {
            // The slot is released when the stream is dropped.
            let _slot = &slot;
            Ok::<Bytes, std::convert::Infallible>(event)
        });
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        // Disables nginx's response buffering, which would delay events.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, Body::from_stream(stream)).into_response()
}

async fn unknown(State(site): State<Arc<Site>>, uri: Uri) -> Response {
    not_found(&site, &uri)
}

fn not_found(site: &Site, uri: &Uri) -> Response {
    site.notice(
        uri,
        StatusCode::NOT_FOUND,
        "Not found",
        "This address does not exist.",
    )
}

fn html(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => ([(header::CONTENT_TYPE, HTML)], text).into_response(),
        Err(error) => {
            tracing::error!("cannot render the donation page: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn cacheable(
    content_type: &'static str,
    content: Bytes,
    time: (HeaderName, &'static str),
) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), time];
    (headers, content).into_response()
}

/// An image that other sites may embed.
fn image(content_type: &'static str, content: Bytes) -> Response {
    let mut response = cacheable(content_type, content, MINUTE);
    response.headers_mut().insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("cross-origin"),
    );
    response
}

/// The `amount` parameter is not a whole number or is given more than once.
struct InvalidAmount;

/// Returns the query's `amount` in satoshi. Other parameters are ignored.
fn requested_amount(uri: &Uri) -> Result<Option<u64>, InvalidAmount> {
    let query = uri.query().unwrap_or_default();
    let mut amounts = form_urlencoded::parse(query.as_bytes())
        .filter_map(|(name, value)| (name == "amount").then_some(value));
    match (amounts.next(), amounts.next()) {
        (None, _) => Ok(None),
        (Some(amount), None) if amount.bytes().all(|byte| byte.is_ascii_digit()) => {
            amount.parse().map(Some).map_err(|_| InvalidAmount)
        }
        _ => Err(InvalidAmount),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_a_single_whole_number_as_amount() {
        let amount = |query: &str| requested_amount(&format!("/?{query}").parse().unwrap()).ok();
        assert_eq!(amount(""), Some(None));
        assert_eq!(amount("v=1&x"), Some(None));
        assert_eq!(amount("amount=1000&v=2"), Some(Some(1_000)));
        for wrong in [
            "amount=",
            "amount=-1",
            "amount=+1",
            "amount=1e3",
            "amount=1.5",
            "amount=99999999999999999999",
            "amount=1&amount=1",
            "amount=%3Cscript%3E",
        ] {
            assert_eq!(amount(wrong), None, "{wrong}");
        }
    }
}
