//! Catching up with the chain at start, in an order that loses no claim.
//!
//! While the manager processes blocks it fails back each HTLC whose claim deadline they pass. If a set
//! was settled moments before a crash, and the node is down past the deadline of one of its shards,
//! that shard would go back while the others are claimed: half paid. So the start goes like this:
//!
//! 1. The wallet, the sweeper and the monitors catch up: [`all_but_manager`]. The monitors join the
//!    `ChainMonitor` then, because a claim is an update of a monitor. They know the chain first, since
//!    a claim on a channel that was closed meanwhile is made on the chain.
//! 2. The rooms are built; from then on commits contain the manager, so that the claims of step 3 are
//!    part of a consistent cut like any other.
//! 3. `Registry::restore` claims again what was decided. LDK asks for no deadline there, only for the
//!    HTLC, and the manager still has it.
//! 4. The manager catches up: [`manager`]. What is being claimed it does not fail.
//!    It looks at every HTLC that is there: what we hold can be claimed as soon as events flow.
//!
//! LDK asks to call nothing on a manager that was read before it has caught up (see
//! `ChannelManagerReadArgs`). Step 3 does so nevertheless, and only if something was decided and not
//! carried out, which takes a crash. LDK 0.2.7 allows it:
//! * The first such call handles what LDK calls background events, which are updates of monitors: these
//!   are in their place. Blocks may come later; that is the manager's life once it runs.
//! * All peers are away, so a claim is put into the channel's holding cell and its monitor update has
//!   nothing but the preimage. A monitor takes that after its channel was closed, too, and LDK finds out
//!   about the closing with the blocks of step 4 and drops the cell.
//! * LDK notes the lowest fee rate of a day's blocks to close channels that pay less. Those of step 4 are
//!   counted with today's rate; for channels with anchors that is the relay minimum at all times.

use std::sync::Arc;
use std::time::Instant;

use lightning::chain::{BestBlock, Listen};

use super::StartError;
use super::books::Books;
use super::core::Core;
use crate::chain::StoredHeaders;
use crate::chain::sync::{self, CaughtUp};
use crate::channels::closed::ClosedChannel;
use crate::ldk::ChannelMonitor;
use crate::storage::StorageError;

/// Brings everything but the manager to bitcoind's tip, each from its own block. Returns the block at
/// which all of them are.
pub(super) async fn all_but_manager(core: &mut Core) -> Result<BestBlock, StartError> {
    let stored: Vec<_> = std::mem::take(&mut core.stored_monitors)
        .into_iter()
        .map(|monitor| {
            core.spends.watch_monitored(&monitor);
            let best = monitor.current_best_block();
            let listener = (
                monitor,
                core.ldk_broadcaster.clone(),
                core.fees.clone() as Arc<crate::ldk::FeeEstimator>,
                core.logger.clone(),
            );
            (best, listener)
        })
        .collect();
    for closed in core.store.closed_channels::<ClosedChannel>()? {
        if let Some(closing) = closed.closing {
            core.spends
                .restore_commitment(&closed.channel_point, closing);
        }
    }
    let mut listeners: Vec<(BestBlock, &sync::Listener)> = vec![
        (core.wallet.best_block(), &*core.wallet),
        (core.manager.current_best_block(), &*core.spends),
        (core.sweeper.current_best_block(), &*core.sweeper),
    ];
    listeners.extend(
        stored
            .iter()
            .map(|(best, l)| (*best, l as &(dyn Listen + Send + Sync))),
    );
    // What is on disk stands at these blocks until it is written again.
    let lowest = listeners.iter().map(|(best, _)| best.height).min();
    let headers = stored_headers(core)?;
    let caught_up = sync::catch_up(core.bitcoind.clone(), headers, listeners).await?;
    caught_up.forget_headers_below(lowest.unwrap_or(0).saturating_sub(sync::MAX_ROLLBACK));
    for (_, (monitor, ..)) in stored {
        load(core, monitor)?;
    }
    core.spends.watch_all(&core.manager, &core.monitors);
    let channels = core.manager.list_channels();
    core.strangers.restore(&channels, &core.monitors);
    for sought in core.strangers.to_look_for(Instant::now()) {
        // Those with money of ours stay.
        if core.strangers.is_unseen(&sought.point) {
            core.spends.forget_unspent(&sought.point);
        }
    }
    Ok(caught_up.best_block())
}

/// The headers of the blocks that the listeners followed in earlier runs.
fn stored_headers(core: &Core) -> Result<StoredHeaders, StartError> {
    let log = Arc::new(Books(core.store.clone()));
    Ok(StoredHeaders::new(core.store.headers()?, log))
}

fn load(core: &Core, monitor: ChannelMonitor) -> Result<(), StartError> {
    let (channel_id, update) = (monitor.channel_id(), monitor.get_latest_update_id());
    core.monitors
        .load_existing_monitor(channel_id, monitor)
        .map_err(|()| StorageError::Damaged(format!("two monitors of channel {channel_id}")))?;
    if update == 0 {
        // The manager on disk may wait for the first commit of this monitor, and LDK finds out by itself only
        // about updates: the channel would never become ready.
        let told = core.monitors.channel_monitor_updated(channel_id, update);
        told.map_err(|error| StorageError::Damaged(format!("channel {channel_id}: {error:?}")))?;
    }
    Ok(())
}

/// Brings the manager to bitcoind's tip, and everything else, which is at `others`, with it. Then LDK
/// looks at all HTLCs: the event of one shard may complete a set before LDK tells again of the others,
/// which must be there to be claimed.
pub(super) async fn manager(core: &Core, others: BestBlock) -> Result<CaughtUp, StartError> {
    let listeners: Vec<(BestBlock, &sync::Listener)> = vec![
        (others, &*core.wallet),
        (others, &*core.spends),
        (core.manager.current_best_block(), &*core.manager),
        (others, &*core.monitors),
        (others, &*core.sweeper),
    ];
    let headers = stored_headers(core)?;
    let caught_up = sync::catch_up(core.bitcoind.clone(), headers, listeners).await?;
    core.manager.process_pending_htlc_forwards();
    Ok(caught_up)
}
