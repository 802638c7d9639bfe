//! Decisions of channel acceptors.

use super::*;
use crate::channels::inbound::tests::{request, unknown_peer};

/// Adds an acceptor that gives the same answer to every request.
fn always(acceptors: &ChannelAcceptors, decision: Decision) {
    let mut questions = acceptors.join();
    tokio::spawn(async move {
        while let Some(question) = questions.recv().await {
            question.answer(decision.clone());
        }
    });
}

fn depth(blocks: u32) -> Terms {
    Terms {
        min_depth_blocks: Some(blocks),
        ..Terms::default()
    }
}

#[tokio::test]
async fn accepts_a_channel_if_all_acceptors_accept() {
    let acceptors = ChannelAcceptors::default();
    let request = request(unknown_peer());
    assert!(acceptors.is_empty());
    always(&acceptors, Ok(depth(6)));
    let slow = Terms {
        remote_csv_delay: Some(300),
        ..Terms::default()
    };
    always(&acceptors, Ok(slow));
    assert!(!acceptors.is_empty());
    let both = Terms {
        remote_csv_delay: Some(300),
        ..depth(6)
    };
    assert_eq!(acceptors.decide(&request).await, Ok(both));
    always(&acceptors, Err("not now".to_owned()));
    assert_eq!(acceptors.decide(&request).await, Err("not now".to_owned()));
}

#[tokio::test]
async fn conflicting_terms_refuse_the_channel() {
    let acceptors = ChannelAcceptors::default();
    always(&acceptors, Ok(depth(6)));
    always(&acceptors, Ok(depth(7)));
    let decision = acceptors.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
}

#[tokio::test]
async fn acceptor_that_does_not_answer_refuses() {
    let acceptors = ChannelAcceptors {
        answer_timeout: Duration::from_millis(1),
        ..ChannelAcceptors::default()
    };
    let mut questions = acceptors.join();
    let decision = acceptors.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
    assert!(questions.recv().await.unwrap().is_over());
}

#[tokio::test]
async fn disconnected_acceptor_refuses_and_is_removed() {
    let acceptors = ChannelAcceptors::default();
    let mut questions = acceptors.join();
    let deciding = tokio::spawn({
        let acceptors = acceptors.clone();
        async move { acceptors.decide(&request(unknown_peer())).await }
    });
    // The acceptor disconnects without answering.
    drop(questions.recv().await);
    assert_eq!(deciding.await.unwrap(), Err(REJECTED.to_owned()));
    drop(questions);
    assert!(acceptors.is_empty());
    let decision = acceptors.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Ok(Terms::default()));
}
