//! Chain catch-up at startup, in an order that loses no claim.
//!
//! While the manager processes blocks, it fails back each HTLC whose claim deadline has passed. If an AMP
//! set was settled just before a crash and the node is down past the deadline of one of its shards, that
//! shard would be failed back while the others are claimed. So startup proceeds as follows:
//!
//! 1. The wallet, the sweeper and the monitors catch up: [`all_but_manager`]. Then the monitors are added to
//!    the `ChainMonitor`, because a claim is a monitor update. They catch up before that, because a claim
//!    on a channel that was closed in the meantime is made on chain.
//! 2. The other components are built. From then on commits include the manager, so the claims of step 3 are
//!    part of a consistent snapshot.
//! 3. `Registry::restore` repeats decided claims. LDK checks only that the HTLC exists, not its deadline,
//!    and the manager still has the HTLC.
//! 4. The manager catches up: [`manager`]. It does not fail HTLCs that are being claimed. It then processes
//!    all pending HTLCs, so that held ones can be claimed as soon as events are handled.
//!
//! LDK's documentation (`ChannelManagerReadArgs`) forbids calls on a deserialized manager before it has
//! caught up. Step 3 makes such calls, but only if a crash left a decision unexecuted. With LDK 0.2.7 this
//! is safe:
//! * The first such call processes LDK's background events, which are monitor updates, and the monitors are
//!   loaded by then. Blocks may arrive later, as they do in normal operation.
//! * All peers are disconnected, so the claim goes to the channel's holding cell and its monitor update
//!   contains only the preimage. A monitor accepts a preimage after its channel has closed; LDK notices
//!   the close in the blocks of step 4 and drops the holding cell.
//! * LDK records the lowest fee rate of the last day of blocks and closes channels that pay less. The blocks
//!   of step 4 are recorded with today's rate; for anchor channels that is always the relay minimum.

use std::sync::Arc;
use std::time::Instant;

use lightning::chain::{BestBlock, Listen};

use super::StartError;
use super::core::Core;
use super::store_adapters::StoreAdapters;
use crate::chain::StoredHeaders;
use crate::chain::sync::{self, CaughtUp};
use crate::channels::closed::ClosedChannel;
use crate::ldk::ChannelMonitor;
use crate::storage::StorageError;

/// Brings everything but the manager from its own best block to bitcoind's tip. Returns that tip.
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
    restore_commitments(core)?;
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
    // The state on disk stays at these blocks until it is written again.
    let lowest = listeners.iter().map(|(best, _)| best.height).min();
    let headers = stored_headers(core)?;
    let caught_up = sync::catch_up(core.bitcoind.clone(), headers, listeners).await?;
    caught_up.forget_headers_below(lowest.unwrap_or(0).saturating_sub(sync::MAX_ROLLBACK));
    for (_, (monitor, ..)) in stored {
        load(core, monitor)?;
    }
    watch_channels(core);
    Ok(caught_up.best_block())
}

/// Restores what is known of the commitments that closed channels.
fn restore_commitments(core: &Core) -> Result<(), StorageError> {
    for closed in core.store.closed_channels::<ClosedChannel>()? {
        if let Some(closing) = closed.closing {
            core.spends
                .restore_commitment(&closed.channel_point, closing);
        }
    }
    Ok(())
}

/// Watches the funding outputs of all channels, except for unknown ones without a balance of ours.
fn watch_channels(core: &Core) {
    core.spends.watch_all(&core.manager, &core.monitors);
    let channels = core.manager.list_channels();
    core.unfunded.restore(&channels, &core.monitors);
    for sought in core.unfunded.to_look_for(Instant::now()) {
        if core.unfunded.is_unseen(&sought.point) {
            core.spends.forget_unspent(&sought.point);
        }
    }
}

/// The headers of blocks that were connected in earlier runs.
fn stored_headers(core: &Core) -> Result<StoredHeaders, StartError> {
    let log = Arc::new(StoreAdapters(core.store.clone()));
    Ok(StoredHeaders::new(core.store.headers()?, log))
}

fn load(core: &Core, monitor: ChannelMonitor) -> Result<(), StartError> {
    let (channel_id, update) = (monitor.channel_id(), monitor.get_latest_update_id());
    core.monitors
        .load_existing_monitor(channel_id, monitor)
        .map_err(|()| StorageError::Damaged(format!("two monitors of channel {channel_id}")))?;
    if update == 0 {
        // The stored manager may still wait for the first persist of this monitor. At startup LDK
        // completes only updates on its own, so the channel would never become ready.
        let completed = core.monitors.channel_monitor_updated(channel_id, update);
        completed
            .map_err(|error| StorageError::Damaged(format!("channel {channel_id}: {error:?}")))?;
    }
    Ok(())
}

/// Brings the manager to bitcoind's tip, together with everything else, which is at `others`. Then LDK
/// processes all pending HTLCs: the event of one shard may complete a set before LDK repeats the events of
/// the others, and these must be processed to be claimed.
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
