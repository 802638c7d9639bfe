//! The donation page's state: its invoice, its totals, and live updates for open pages.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bitcoin::Address;
use hyper::body::Bytes;
use lightning_types::routing::RouteHint;
use tokio::sync::{broadcast, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::DonationError;
use super::feed::{self, Feed, Sum};
use super::keeper::Keeper;
use super::shown::{Material, Shown};
use super::till::{Till, Total};
use crate::config;
use crate::invoices::{InvoiceEvent, InvoiceView, Registry, Subscription};
use crate::storage::invoices::InvoiceRecord;
use crate::storage::{StorageError, Store};

/// How often we look whether the invoice is to be renewed or its hints have changed.
const LOOK: Duration = Duration::from_secs(5);
/// Payments of so long a time go to the open pages together: however many pages there are, they cost
/// little, and a person does not notice it.
const TOGETHER: Duration = Duration::from_millis(250);
const KEEPALIVE: Duration = Duration::from_secs(15);
/// How long to wait if the database cannot be read.
const RETRY: Duration = Duration::from_secs(5);

/// Dependencies of the page on other modules.
pub struct Sources {
    pub store: Arc<Store>,
    pub registry: Arc<Registry>,
    /// Route hints for the invoice; none if the node has a public channel.
    pub hints: Arc<dyn Fn() -> Vec<RouteHint> + Send + Sync>,
    /// The page's on-chain address: one of ours that has got nothing yet, and that nobody else is given.
    pub address: Arc<dyn Fn() -> Result<Address, DonationError> + Send + Sync>,
}

/// The donation page's state.
pub struct Donations {
    pub(super) config: config::Donations,
    keeper: Keeper,
    sources: Sources,
    /// One change of the invoice at a time.
    changing: tokio::sync::Mutex<()>,
    shown: watch::Sender<Arc<Shown>>,
    till: Mutex<Till>,
    feed: Feed,
}

impl Donations {
    /// Finds the page's invoice or makes it, and reads the books. The payments are for
    /// [`Donations::run`].
    ///
    /// # Errors
    /// If the database cannot be read or written, or the invoice does not fit into a QR code.
    pub async fn open(
        config: config::Donations,
        sources: Sources,
    ) -> Result<(Arc<Self>, Subscription), DonationError> {
        // First the events, then the books: what is in both is counted once, and nothing is in neither.
        let payments = sources.registry.subscribe(0, 0)?;
        let keeper = Keeper {
            store: sources.store.clone(),
            registry: sources.registry.clone(),
            memo: config.title.clone(),
            validity: config.expiry,
        };
        let invoice = match keeper.current()? {
            Some(invoice) => invoice,
            None => keeper.make().await?,
        };
        let till = Till::read(&sources.store, config.show_messages)?;
        let material = material(&config, &sources, invoice);
        let shown = Shown::new(
            &sources.registry,
            material,
            &config.title,
            &config.amounts_sat,
        )?;
        let donations = Self {
            config,
            keeper,
            sources,
            changing: tokio::sync::Mutex::default(),
            shown: watch::Sender::new(Arc::new(shown)),
            till: Mutex::new(till),
            feed: Feed::default(),
        };
        Ok((Arc::new(donations), payments))
    }

    /// Counts payments, tells open pages and keeps the invoice fresh, until the node stops.
    pub async fn run(&self, mut payments: Subscription, stop: CancellationToken) {
        let [mut look, mut keepalive] = [LOOK, KEEPALIVE].map(|period| {
            let mut ticks = interval(period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        });
        let mut waiting = Waiting::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                event = payments.next() => match event {
                    Ok(Some(InvoiceEvent::Settled(view))) => waiting.add(view),
                    Ok(Some(_)) => {}
                    Ok(None) => return,
                    Err(error) => database_fails(error).await,
                },
                () = waiting.due() => self.count(waiting.take()),
                _ = look.tick() => self.look().await,
                _ = keepalive.tick() => self.feed.tell(feed::KEEPALIVE),
            }
        }
    }

    /// Makes a new invoice for the page. Those before stay payable until they expire, and count.
    ///
    /// # Errors
    /// If it cannot be made; the page keeps the one that it has.
    pub async fn rotate(&self) -> Result<Arc<Shown>, DonationError> {
        let _one = self.changing.lock().await;
        let invoice = self.keeper.make().await?;
        self.show(invoice)?;
        Ok(self.shown())
    }

    /// Returns the content currently shown to visitors.
    pub fn shown(&self) -> Arc<Shown> {
        self.shown.borrow().clone()
    }

    /// Returns the total received by all invoices of the page.
    pub fn total(&self) -> Total {
        self.till().total
    }

    /// The invoices that the page ever had, the current one last.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn invoices(&self) -> Result<Vec<InvoiceRecord>, StorageError> {
        self.sources.store.donation_invoices()
    }

    /// HTML that shows the code on another site and leads here; `None` as long as the page does not
    /// know its own address.
    pub fn snippet(&self) -> Option<String> {
        let base = self.config.base_url.as_ref()?;
        Some(format!(
            "<a href=\"{base}\"><img src=\"{base}qr.svg\" width=\"240\" height=\"240\" \
             alt=\"Donate with Lightning\"></a>"
        ))
    }

    pub(super) fn till(&self) -> MutexGuard<'_, Till> {
        self.till.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, and all that is told after it.
    pub(super) fn follow(&self) -> (Bytes, broadcast::Receiver<Bytes>) {
        // Under the lock nothing is told.
        let till = self.till();
        (self.state_of(&till), self.feed.listen())
    }

    /// The state as an event.
    pub(super) fn state(&self) -> Bytes {
        self.state_of(&self.till())
    }

    fn state_of(&self, till: &Till) -> Bytes {
        let version = &self.shown.borrow().version;
        feed::state(till, self.config.goal_sat, version).into()
    }

    fn count(&self, views: Vec<InvoiceView>) {
        let mut till = self.till();
        let mut events = String::new();
        for view in &views {
            if let Some(donation) = till.count(view).cloned() {
                let sum = Sum::of(&till, self.config.goal_sat);
                events += &feed::payment(&donation, sum);
            }
        }
        if !events.is_empty() {
            self.feed.tell(events.into());
        }
    }

    /// Whatever fails is tried again at the next look.
    async fn look(&self) {
        let _one = self.changing.lock().await;
        if let Err(error) = self.refresh().await {
            tracing::warn!("cannot refresh the donation page: {error}");
        }
    }

    async fn refresh(&self) -> Result<(), DonationError> {
        let invoice = match self.keeper.current()? {
            Some(invoice) => invoice,
            None => self.keeper.make().await?,
        };
        self.show(invoice)
    }

    /// Shows the invoice, with what it says now. It may be one that a caller has ordered and not waited for.
    fn show(&self, invoice: InvoiceRecord) -> Result<(), DonationError> {
        self.till().add_invoice(invoice.add_index);
        let material = material(&self.config, &self.sources, invoice);
        if self.shown.borrow().material == material {
            return Ok(());
        }
        let shown = Shown::new(
            &self.sources.registry,
            material,
            &self.config.title,
            &self.config.amounts_sat,
        )?;
        self.shown.send_replace(Arc::new(shown));
        let till = self.till();
        self.feed.tell(self.state_of(&till));
        Ok(())
    }
}

fn material(config: &config::Donations, sources: &Sources, invoice: InvoiceRecord) -> Material {
    let address = config.on_chain.then(|| (sources.address)());
    let address = address.transpose().unwrap_or_else(|error| {
        tracing::warn!("{error}; the page shows none");
        None
    });
    Material {
        // What it was paid does not change what it says.
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
    sleep(RETRY).await;
}

/// Payments that are not yet counted.
#[derive(Default)]
struct Waiting {
    views: Vec<InvoiceView>,
    due: Option<Instant>,
}

impl Waiting {
    fn add(&mut self, view: InvoiceView) {
        self.due.get_or_insert_with(|| Instant::now() + TOGETHER);
        self.views.push(view);
    }

    fn take(&mut self) -> Vec<InvoiceView> {
        self.due = None;
        std::mem::take(&mut self.views)
    }

    /// Never, if there is none.
    async fn due(&self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
    }
}
