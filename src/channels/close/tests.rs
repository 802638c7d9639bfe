use super::*;
use crate::channels::closed::{CloseInitiator, CloseType};
use crate::channels::pending::pending;
use crate::channels::test_node::two_nodes;

const COOPERATIVE: CloseRequest = CloseRequest::Cooperative {
    feerate_per_kw: None,
    delivery: None,
};

#[tokio::test]
async fn cooperative_close_is_told_step_by_step() {
    let (alice, bob, chain, point) = two_nodes(400_000, 0).await;
    let mut closing = alice.closer.close(point, COOPERATIVE).await.unwrap();
    let CloseUpdate::Pending(txid) = closing.next().await.unwrap() else {
        panic!("nothing is mined yet");
    };
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    alice
        .until("alice has recorded it", || {
            !alice.store.closed.lock().unwrap().is_empty()
        })
        .await;
    let height = chain.mine(&[&alice, &bob]);
    assert_eq!(closing.confirmed().await.unwrap(), (txid, height));
    for (node, initiator) in [
        (&alice, CloseInitiator::Local),
        (&bob, CloseInitiator::Remote),
    ] {
        let record = node.store.closed.lock().unwrap()[0].clone();
        assert_eq!(record.close_type, CloseType::Cooperative);
        assert_eq!(record.close_initiator, initiator);
        assert_eq!(record.channel_point, point);
        assert!(record.scid.is_some(), "known when the channel became ready");
        let told = node
            .store
            .closing
            .lock()
            .unwrap()
            .last()
            .copied()
            .unwrap()
            .1;
        assert_eq!(
            told,
            ClosingTransaction {
                txid,
                height: Some(height)
            }
        );
    }
}

#[tokio::test]
async fn force_close_shows_what_is_still_locked() {
    let (alice, bob, chain, point) = two_nodes(400_000, 100_000).await;
    let mut closing = alice
        .closer
        .close(point, CloseRequest::Force)
        .await
        .unwrap();
    let CloseUpdate::Pending(txid) = closing.next().await.unwrap() else {
        panic!("nothing is mined yet");
    };
    let look = || {
        let closed = alice.store.closed.lock().unwrap().clone();
        pending(&alice.manager, &alice.monitors, &alice.spends, &closed, &[])
    };
    let before = look();
    assert_eq!(
        (before.waiting_close.len(), before.force_closing.len()),
        (1, 0)
    );
    assert_eq!(before.waiting_close[0].closing.unwrap().txid, txid);
    let height = chain.mine(&[&alice, &bob]);
    assert_eq!(closing.confirmed().await.unwrap(), (txid, height));
    let after = look();
    assert_eq!(
        (after.waiting_close.len(), after.force_closing.len()),
        (0, 1)
    );
    let forced = &after.force_closing[0];
    // 300,000 sat are ours, less 660 of anchors and the fee: 1124 weight units at 2.5 sat.
    assert_eq!(forced.limbo_sat, 300_000 - 660 - 2_810);
    assert_eq!(after.total_limbo_sat(), forced.limbo_sat);
    assert_eq!(forced.maturity_height, Some(height + 143));
    alice
        .until("alice has recorded it", || {
            !alice.store.closed.lock().unwrap().is_empty()
        })
        .await;
    let record = alice.store.closed.lock().unwrap()[0].clone();
    assert_eq!(record.close_type, CloseType::LocalForce);
    assert_eq!(record.local_balance_msat, 300_000_000);
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    assert_eq!(
        bob.store.closed.lock().unwrap()[0].close_type,
        CloseType::RemoteForce
    );
}

#[tokio::test]
async fn close_needs_the_channel_and_for_cooperation_the_peer() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
    let other = OutPoint::new(point.txid, 7);
    let unknown = alice.closer.close(other, COOPERATIVE).await.unwrap_err();
    assert_eq!(unknown.to_string(), format!("channel {other} not found"));
    alice.peers.disconnect_by_node_id(bob.id);
    let offline = alice.closer.close(point, COOPERATIVE).await.unwrap_err();
    assert!(matches!(offline, CloseError::PeerOffline), "{offline}");
}

#[tokio::test]
async fn delivery_address_gets_the_money() {
    let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
    let script = ScriptBuf::new_p2wpkh(&bitcoin::WPubkeyHash::from_raw_hash(
        bitcoin::hashes::Hash::from_byte_array([5; 20]),
    ));
    let request = CloseRequest::Cooperative {
        feerate_per_kw: None,
        delivery: Some(script.clone()),
    };
    let mut closing = alice.closer.close(point, request).await.unwrap();
    closing.next().await.unwrap();
    bob.until("bob has recorded it", || {
        !bob.store.closed.lock().unwrap().is_empty()
    })
    .await;
    let paid = alice.broadcast_scripts();
    assert!(paid.contains(&script), "{paid:?}");
}
