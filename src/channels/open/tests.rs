//! Opening channels: the request, its limits and its progress.

use std::sync::atomic::Ordering;

use super::*;
use crate::channels::acceptors::Terms;
use crate::channels::inbound::AcceptRules;
use crate::channels::list::{ChannelState, channels};
use crate::channels::test_node::{TestNode, open_settings, two_nodes};

#[tokio::test]
async fn opens_a_channel_funded_by_the_wallet() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 1_000).await;
    let funding = alice.wallet.funded.lock().unwrap()[0].clone();
    assert_eq!(point.txid, funding.compute_txid());
    for (node, initiator) in [(&alice, true), (&bob, false)] {
        let channel = channels(&node.manager).remove(0);
        assert_eq!(channel.state, ChannelState::Open);
        assert_eq!(channel.channel_point, Some(point));
        assert_eq!((channel.initiator, channel.private), (initiator, true));
    }
}

#[tokio::test]
async fn rejects_requests_that_cannot_succeed() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    let text = |request: OpenRequest| alice.opener.open(&request).unwrap_err().to_string();
    let offline = text(alice.request(&bob, 50_000, 0));
    assert_eq!(offline, format!("peer {} is not online", bob.id));
    let small = text(alice.request(&bob, 19_999, 0));
    assert_eq!(
        small,
        "channel is too small, the minimum channel size is: 20000 SAT"
    );
    assert!(matches!(
        alice.opener.open(&alice.request(&bob, 50_000, 50_000)),
        Err(OpenError::PushTooLarge)
    ));
    assert!(matches!(
        alice.opener.open(&alice.request(&alice, 50_000, 0)),
        Err(OpenError::ToSelf)
    ));
    let public_alias = OpenRequest {
        private: false,
        scid_alias: true,
        ..alice.request(&bob, 50_000, 0)
    };
    assert!(matches!(
        alice.opener.open(&public_alias),
        Err(OpenError::PublicAlias)
    ));
    let large = alice.request(&bob, MAX_CHANNEL_SAT + 1, 0);
    assert!(matches!(
        alice.opener.open(&large),
        Err(OpenError::TooLarge)
    ));
}

#[tokio::test]
async fn empty_wallet_ends_the_opening_on_both_sides() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    alice.wallet.empty.store(true, Ordering::Relaxed);
    let opening = alice.opener.open(&alice.request(&bob, 50_000, 0)).unwrap();
    let error = opening.funded().await.unwrap_err();
    assert_eq!(error.to_string(), "not enough witness outputs");
    assert!(alice.opener.waiting().is_empty());
    let none_left = |node: &TestNode| {
        node.manager
            .list_channels_with_counterparty(&bob.id)
            .is_empty()
    };
    alice
        .until("the channel is gone", || none_left(&alice))
        .await;
    bob.until("the channel is gone", || {
        bob.manager
            .list_channels_with_counterparty(&alice.id)
            .is_empty()
    })
    .await;
}

#[tokio::test]
async fn peer_refusal_is_reported_to_the_requester() {
    let (settings, rules) = open_settings();
    let picky = AcceptRules {
        min_channel_sat: 100_000,
        ..rules
    };
    let alice = TestNode::start(1).await;
    let bob = TestNode::start_with(2, (settings, picky)).await;
    alice.connect(&bob).await;
    let opening = alice.opener.open(&alice.request(&bob, 50_000, 0)).unwrap();
    let error = opening.funded().await.unwrap_err().to_string();
    assert!(
        error.contains("chan size of 50000 sat is below min chan size of 100000 sat"),
        "{error}"
    );
}

#[tokio::test]
async fn scid_alias_channel_has_the_scid_privacy_type() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    let request = OpenRequest {
        scid_alias: true,
        ..alice.request(&bob, 50_000, 0)
    };
    alice.opener.open(&request).unwrap().funded().await.unwrap();
    let channels = alice.manager.list_channels();
    let kind = channels[0].channel_type.clone().unwrap();
    assert!(kind.requires_scid_privacy() && kind.supports_anchors_zero_fee_htlc_tx());
}

/// After an error from the peer, LDK retries with a channel type that it considers simpler.
#[tokio::test]
async fn scid_alias_channel_is_not_funded_with_another_type() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    let mut questions = bob.acceptors.join();
    tokio::spawn(async move {
        let mut decisions = vec![Ok(Terms::default()), Err("not now".to_owned())];
        while let Some(question) = questions.recv().await {
            question.answer(decisions.pop().unwrap());
        }
    });
    let request = OpenRequest {
        scid_alias: true,
        ..alice.request(&bob, 50_000, 0)
    };
    let opened = alice.opener.open(&request).unwrap().funded().await;
    assert!(matches!(opened, Err(OpenError::NoAlias(_))), "{opened:?}");
    assert!(alice.wallet.funded.lock().unwrap().is_empty());
}

#[tokio::test]
async fn rejected_funding_transaction_ends_the_opening_and_releases_its_inputs() {
    let (alice, bob) = (TestNode::start(1).await, TestNode::start(2).await);
    alice.connect(&bob).await;
    *alice.wallet.refusal.lock().unwrap() = Some("min relay fee not met".to_owned());
    let opening = alice.opener.open(&alice.request(&bob, 50_000, 0)).unwrap();
    let error = opening.funded().await.unwrap_err();
    assert!(matches!(error, OpenError::NotAccepted(_)), "{error}");
    assert!(
        error.to_string().ends_with("min relay fee not met"),
        "{error}"
    );
    let funding = alice.wallet.funded.lock().unwrap()[0].compute_txid();
    assert_eq!(*alice.wallet.canceled.lock().unwrap(), [funding]);
    for node in [&alice, &bob] {
        node.until("the channel is gone", || {
            node.manager.list_channels().is_empty()
        })
        .await;
    }
}
