//! Channels whose funding lacks confirmations wait for the next blocks.

use super::*;

#[tokio::test]
async fn channel_lacking_confirmations_is_looked_up_again_at_the_next_block() {
    let node = Node::with_outputs(|blocks| output(4 + blocks));
    node.announce(&public(7), &announcement(scid(1)));
    for lookups in 1..=2 {
        until("it is looked up", || node.lookups() == lookups).await;
        assert!(!node.knows(scid(1)));
        node.next_block();
    }
    until("the channel is accepted", || node.knows(scid(1))).await;
    let sent = node.gossip.get_and_clear_pending_msg_events();
    assert!(matches!(
        sent[..],
        [MessageSendEvent::BroadcastChannelAnnouncement { .. }]
    ));
    assert!(!node.check().is_banned(&public(7)));
}

#[tokio::test]
async fn look_up_waits_three_blocks_at_most_and_only_if_they_can_help() {
    let malformed = || json!("malformed answer");
    for (answer, lookups) in [(output(2), 1), (output(3), 2), (malformed(), 4)] {
        let node = Node::new(answer);
        node.announce(&public(7), &announcement(scid(1)));
        for number in 1..=lookups {
            until("it is looked up", || node.lookups() == number).await;
            node.next_block();
        }
        until("it is given up", || !is_pending(&node, scid(1))).await;
        assert!(!node.knows(scid(1)));
        assert_eq!(node.lookups(), lookups);
    }
}

/// Returns whether LDK is waiting for the check of this channel.
fn is_pending(node: &Node, scid: u64) -> bool {
    let mut update = update(0, start());
    update.contents.short_channel_id = scid;
    let refused = node.gossip.handle_channel_update(None, &update);
    refused.is_err_and(|error| error.err.starts_with("Awaiting"))
}

#[tokio::test]
async fn no_more_than_eight_channels_wait_for_a_block() {
    let node = Node::with_outputs(|blocks| output(5 + blocks));
    // Different outputs of the same transaction.
    let channels = || (0..20).map(|number| scid(1) + number);
    for channel in channels() {
        node.announce(&public(7), &announcement(channel));
    }
    let pending = || channels().filter(|channel| is_pending(&node, *channel));
    until("the others are given up", || pending().count() == 8).await;
    assert_eq!(node.lookups(), 20);
    node.next_block();
    let known = || channels().filter(|channel| node.knows(*channel));
    until("eight are accepted", || known().count() == 8).await;
    assert_eq!(node.lookups(), 28);
}
