//! The donation page's state: its invoice, its totals, and live updates for open pages.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bitcoin::Address;
use hyper::body::Bytes;
use lightning_types::routing::RouteHint;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::DonationError;
use super::feed::{self, Feed, Sum};
use super::invoice_rotation::InvoiceRotation;
use super::rendered::{Material, RenderedInvoice};
use super::totals::{Total, Totals};
use crate::config;
use crate::invoices::{InvoiceEvent, InvoiceView, Registry, Subscription};
use crate::model::invoice::InvoiceRecord;
use crate::storage::{StorageError, Store};
use crate::sync::lock;

/// How often to check whether the invoice needs renewal or its route hints have changed.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// Payments within this window are sent to open pages as one update. This bounds the cost of many open
/// pages, and the delay is too short to notice.
const BATCH_WINDOW: Duration = Duration::from_millis(250);
/// Interval of keepalive comments on event streams.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// Delay before another attempt after the database could not be read.
const RETRY_DELAY: Duration = Duration::from_secs(5);

/// Dependencies of the page on other modules.
pub struct Sources {
    pub store: Arc<Store>,
    pub registry: Arc<Registry>,
    /// Route hints for the invoice; none if the node has a public channel.
    pub hints: Arc<dyn Fn() -> Vec<RouteHint> + Send + Sync>,
    /// The page's on-chain address: an unused wallet address that is reserved for the page.
    pub address: Arc<dyn Fn() -> Result<Address, DonationError> + Send + Sync>,
}

/// The donation page's state.
pub struct Donations {
    pub(super) config: config::Donations,
    rotation: InvoiceRotation,
    sources: Sources,
    /// Serializes changes of the invoice.
    change_lock: tokio::sync::Mutex<()>,
    rendered: watch::Sender<Arc<RenderedInvoice>>,
    totals: Mutex<Totals>,
    feed: Feed,
}

impl Donations {
    /// Loads or creates the page's invoice and reads its totals. The returned subscription must be
    /// passed to [`Donations::run`].
    ///
    /// # Errors
    /// If the database cannot be read or written, or the invoice does not fit into a QR code.
    pub async fn open(
        config: config::Donations,
        sources: Sources,
    ) -> Result<(Arc<Self>, Subscription), DonationError> {
        // Subscribe before reading the totals: then no payment is missed, and one in both counts once.
        let payments = sources.registry.subscribe(0, 0)?;
        let rotation = InvoiceRotation {
            store: sources.store.clone(),
            registry: sources.registry.clone(),
            memo: config.title.clone(),
            validity: config.expiry,
        };
        let invoice = match rotation.current()? {
            Some(invoice) => invoice,
            None => rotation.make().await?,
        };
        let totals = Totals::read(&sources.store, config.show_messages)?;
        let material = material(&config, &sources, invoice);
        let rendered = RenderedInvoice::new(
            &sources.registry,
            material,
            &config.title,
            &config.amounts_sat,
        )?;
        let donations = Self {
            config,
            rotation,
            sources,
            change_lock: tokio::sync::Mutex::default(),
            rendered: watch::Sender::new(Arc::new(rendered)),
            totals: Mutex::new(totals),
            feed: Feed::default(),
        };
        Ok((Arc::new(donations), payments))
    }

    /// Counts payments, updates open pages and renews the invoice until `stop` is cancelled.
    pub async fn run(&self, mut payments: Subscription, stop: CancellationToken) {
        let [mut refresh, mut keepalive] = [REFRESH_INTERVAL, KEEPALIVE_INTERVAL].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut batch = Batch::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = payments.next() => match event {
                    Ok(Some(InvoiceEvent::Settled(view))) => batch.add(view),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(error) => database_fails(error).await,
                },
                () = batch.due() => self.count(batch.take()),
                _ = refresh.tick() => self.refresh_or_warn().await,
                _ = keepalive.tick() => self.feed.send(feed::KEEPALIVE),
            }
        }
    }

    /// Creates a new invoice for the page. Earlier ones stay payable until they expire and still count.
    ///
    /// # Errors
    /// If the invoice cannot be created or rendered; the page then keeps showing the current one.
    pub async fn rotate(&self) -> Result<Arc<RenderedInvoice>, DonationError> {
        let _one = self.change_lock.lock().await;
        let invoice = self.rotation.make().await?;
        self.show(invoice)?;
        Ok(self.rendered())
    }

    /// Returns the content currently shown to visitors.
    pub fn rendered(&self) -> Arc<RenderedInvoice> {
        self.rendered.borrow().clone()
    }

    /// Returns the total received by all invoices of the page.
    pub fn total(&self) -> Total {
        self.totals().total
    }

    /// Returns all invoices that the page has had, the current one last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn invoices(&self) -> Result<Vec<InvoiceRecord>, StorageError> {
        self.sources.store.donation_invoices()
    }

    /// Returns HTML that embeds the QR code in another site with a link to this page; `None` if
    /// `base-url` is not set.
    pub fn snippet(&self) -> Option<String> {
        let base = self.config.base_url.as_ref()?;
        Some(format!(
            "<a href=\"{base}\"><img src=\"{base}qr.svg\" width=\"240\" height=\"240\" \
             alt=\"Donate with Lightning\"></a>"
        ))
    }

    pub(super) fn totals(&self) -> MutexGuard<'_, Totals> {
        lock(&self.totals)
    }

    /// Returns the current state and a receiver of every event after it.
    pub(super) fn subscribe(&self) -> (Bytes, broadcast::Receiver<Bytes>) {
        // No payment event is sent while this lock is held, so none falls between the two.
        let totals = self.totals();
        (self.state_of(&totals), self.feed.subscribe())
    }

    /// Returns the current state as an event.
    pub(super) fn state(&self) -> Bytes {
        self.state_of(&self.totals())
    }

    fn state_of(&self, totals: &Totals) -> Bytes {
        let version = &self.rendered.borrow().version;
        feed::state(totals, self.config.goal_sat, version).into()
    }

    fn count(&self, views: Vec<InvoiceView>) {
        let mut totals = self.totals();
        let mut events = String::new();
        for view in &views {
            if let Some(donation) = totals.count(view).cloned() {
                let sum = Sum::of(&totals, self.config.goal_sat);
                events += &feed::payment(&donation, sum);
            }
        }
        if !events.is_empty() {
            self.feed.send(events.into());
        }
    }

    /// Refreshes the invoice. A failure is logged and retried after [`REFRESH_INTERVAL`].
    async fn refresh_or_warn(&self) {
        let _one = self.change_lock.lock().await;
        if let Err(error) = self.refresh().await {
            tracing::warn!("cannot refresh the donation page: {error}");
        }
    }

    async fn refresh(&self) -> Result<(), DonationError> {
        let invoice = match self.rotation.current()? {
            Some(invoice) => invoice,
            None => self.rotation.make().await?,
        };
        self.show(invoice)
    }

    /// Shows the invoice with its current hints and address. It may come from a `rotate` call that was
    /// cancelled after it had created the invoice.
    fn show(&self, invoice: InvoiceRecord) -> Result<(), DonationError> {
        self.totals().add_invoice(invoice.add_index);
        let material = material(&self.config, &self.sources, invoice);
        if self.rendered.borrow().material == material {
            return Ok(());
        }
        let rendered = RenderedInvoice::new(
            &self.sources.registry,
            material,
            &self.config.title,
            &self.config.amounts_sat,
        )?;
        self.rendered.send_replace(Arc::new(rendered));
        let totals = self.totals();
        self.feed.send(self.state_of(&totals));
        Ok(())
    }
}

fn material(config: &config::Donations, sources: &Sources, invoice: InvoiceRecord) -> Material {
    let address = config.on_chain.then(|| (sources.address)());
    let address = address.transpose().unwrap_or_else(|error| {
        tracing::warn!("{error}; showing the donation page without an on-chain address");
        None
    });
    Material {
        // The paid amount is not part of what is rendered.
        invoice: InvoiceRecord {
            amt_paid_msat: 0,
            ..invoice
        },
        hints: (sources.hints)(),
        address,
    }
}

async fn database_fails(error: StorageError) {
    tracing::error!("the donation page cannot read payments: {error}");
    sleep(RETRY_DELAY).await;
}

/// Payments that are not counted yet, collected for [`BATCH_WINDOW`].
#[derive(Default)]
struct Batch {
    views: Vec<InvoiceView>,
    due: Option<Instant>,
}

impl Batch {
    fn add(&mut self, view: InvoiceView) {
        self.due
            .get_or_insert_with(|| Instant::now() + BATCH_WINDOW);
        self.views.push(view);
    }

    fn take(&mut self) -> Vec<InvoiceView> {
        self.due = None;
        std::mem::take(&mut self.views)
    }

    /// Completes when the batch is due; never if it is empty.
    async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
