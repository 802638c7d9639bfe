//! SubscribeChannelEvents.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::hashes::Hash;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Network, OutPoint};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::open_channel::channel_point;
use super::{closed_channels, list_channels};
use crate::channels::channel_events::ChannelEvent;
use crate::channels::closed::ClosedChannel;
use crate::channels::list::{Channel, ChannelState};
use crate::peers::custom_messages::PeerEvent;
use crate::rpc::Context;
use crate::rpc::transport::events::next;
use crate::rpc::transport::streams::{Answers, stream};
use lnd_api::proto::lnrpc::channel_event_update::{Channel as What, UpdateType};
use lnd_api::proto::lnrpc::{ChannelEventUpdate, PendingUpdate};

/// How often to poll whether channels are usable: LDK has no event for it. Disconnected peers are reported
/// immediately, since they may be back before the next poll.
const ACTIVITY_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Streams the events of our channels from now on.
pub(super) fn follow(
    context: Arc<Context>,
    stop: CancellationToken,
) -> Answers<ChannelEventUpdate> {
    let mut events = context.channels.events();
    let mut peers = context.peers.events();
    let mut activity = Activity::of(&context.channels.list());
    stream(stop, move |writer| async move {
        let mut poll = interval(ACTIVITY_POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let updates = tokio::select! {
                // Queued events precede the polled state.
                biased;
                event = next(&mut events) => activity.after(event?, context.node.network),
                event = next(&mut peers) => activity.after_peer(event?),
                _ = poll.tick() => activity.changes(&context.channels.list()),
            };
            for update in updates {
                writer.send(update).await;
            }
        }
    })
}

/// The open channels by funding outpoint: their peer, and whether they were last reported as active.
struct Activity(HashMap<OutPoint, (PublicKey, bool)>);

impl Activity {
    fn of(channels: &[Channel]) -> Self {
        let open = channels.iter().filter(|c| c.state != ChannelState::Opening);
        let known = open.filter_map(|c| Some((c.channel_point?, (c.peer, c.active))));
        Self(known.collect())
    }

    /// Returns an update for each channel whose activity changed. A channel may be usable shortly before LDK
    /// reports it open; it is unknown here until then, so that the client gets the open event first.
    fn changes(&mut self, now: &[Channel]) -> Vec<ChannelEventUpdate> {
        let mut changes = Vec::new();
        for channel in now {
            let Some(point) = channel.channel_point else {
                continue;
            };
            let Some((_, known)) = self.0.get_mut(&point) else {
                continue;
            };
            if std::mem::replace(known, channel.active) != channel.active {
                changes.push(active(&point, channel.active));
            }
        }
        changes
    }

    /// Returns an inactive update for each active channel of a disconnected peer.
    fn after_peer(&mut self, event: PeerEvent) -> Vec<ChannelEventUpdate> {
        if event.online {
            return Vec::new();
        }
        let of_peer = self
            .0
            .iter_mut()
            .filter(|(_, (peer, _))| *peer == event.peer);
        let was_active = of_peer.filter(|(_, (_, known))| *known);
        let gone = was_active.map(|(point, (_, known))| {
            *known = false;
            active(point, false)
        });
        gone.collect()
    }

    fn after(&mut self, event: ChannelEvent, network: Network) -> Vec<ChannelEventUpdate> {
        match event {
            ChannelEvent::Pending(point) => vec![pending(&point)],
            ChannelEvent::Open(channel) => self.opened(&channel),
            ChannelEvent::Closed(record) => self.closed(&record, network),
            ChannelEvent::FundingTimeout(point) => {
                let timed_out = What::ChannelFundingTimeout(channel_point(&point));
                vec![update(UpdateType::ChannelFundingTimeout, timed_out)]
            }
        }
    }

    fn opened(&mut self, channel: &Channel) -> Vec<ChannelEventUpdate> {
        let open = What::OpenChannel(list_channels::channel(channel));
        let mut updates = vec![update(UpdateType::OpenChannel, open)];
        if let Some(point) = channel.channel_point {
            self.0.insert(point, (channel.peer, channel.active));
            updates.extend(channel.active.then(|| active(&point, true)));
        }
        updates
    }

    fn closed(&mut self, record: &ClosedChannel, network: Network) -> Vec<ChannelEventUpdate> {
        let point = record.channel_point;
        let was_active = self.0.remove(&point).is_some_and(|(_, known)| known);
        let summary = What::ClosedChannel(closed_channels::summary(record, network));
        let inactive = was_active.then(|| active(&point, false));
        let closed = update(UpdateType::ClosedChannel, summary);
        inactive.into_iter().chain([closed]).collect()
    }
}

fn active(point: &OutPoint, active: bool) -> ChannelEventUpdate {
    let point = channel_point(point);
    if active {
        update(UpdateType::ActiveChannel, What::ActiveChannel(point))
    } else {
        update(UpdateType::InactiveChannel, What::InactiveChannel(point))
    }
}

fn pending(point: &OutPoint) -> ChannelEventUpdate {
    let pending = PendingUpdate {
        txid: point.txid.to_byte_array().to_vec(),
        output_index: point.vout,
        ..Default::default()
    };
    let what = What::PendingOpenChannel(pending);
    update(UpdateType::PendingOpenChannel, what)
}

fn update(kind: UpdateType, what: What) -> ChannelEventUpdate {
    ChannelEventUpdate {
        channel: Some(what),
        r#type: kind.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpc::services::lightning::test_data;

    fn kinds(updates: &[ChannelEventUpdate]) -> Vec<UpdateType> {
        updates.iter().map(ChannelEventUpdate::r#type).collect()
    }

    fn channel(active: bool) -> Channel {
        Channel {
            active,
            ..test_data::channel()
        }
    }

    #[test]
    fn channel_opens_before_it_becomes_active() {
        let mut activity = Activity::of(&[]);
        assert!(activity.changes(&[channel(true)]).is_empty());
        let opened = activity.opened(&channel(true));
        let expected = [UpdateType::OpenChannel, UpdateType::ActiveChannel];
        assert_eq!(kinds(&opened), expected);
        assert!(activity.changes(&[channel(true)]).is_empty());
    }

    #[test]
    fn each_change_is_reported_once() {
        let mut activity = Activity::of(&[channel(true)]);
        let gone = activity.changes(&[channel(false)]);
        assert_eq!(kinds(&gone), [UpdateType::InactiveChannel]);
        assert!(activity.changes(&[channel(false)]).is_empty());
        let back = activity.changes(&[channel(true)]);
        assert_eq!(kinds(&back), [UpdateType::ActiveChannel]);
    }

    #[test]
    fn brief_disconnect_is_reported() {
        let mut activity = Activity::of(&[channel(true)]);
        let peer = channel(true).peer;
        let offline = PeerEvent {
            peer,
            online: false,
        };
        let gone = activity.after_peer(offline);
        assert_eq!(kinds(&gone), [UpdateType::InactiveChannel]);
        assert!(activity.after_peer(offline).is_empty());
        let online = PeerEvent { peer, online: true };
        assert!(activity.after_peer(online).is_empty());
        let back = activity.changes(&[channel(true)]);
        assert_eq!(kinds(&back), [UpdateType::ActiveChannel]);
    }

    #[test]
    fn closed_channel_becomes_inactive() {
        let record = || test_data::closed();
        let mut activity = Activity::of(&[channel(true)]);
        let closed = activity.closed(&record(), Network::Regtest);
        let expected = [UpdateType::InactiveChannel, UpdateType::ClosedChannel];
        assert_eq!(kinds(&closed), expected);
        let mut activity = Activity::of(&[channel(false)]);
        let closed = activity.closed(&record(), Network::Regtest);
        assert_eq!(kinds(&closed), [UpdateType::ClosedChannel]);
    }
}
