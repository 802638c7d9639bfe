//! Decisions of channel acceptors.

use super::*;
use crate::channels::accept::tests::{request, unknown_peer};

/// Adds an acceptor that gives the same answer to every request.
fn always(deciders: &Deciders, decision: Decision) {
    let mut questions = deciders.join();
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
    let deciders = Deciders::default();
    let request = request(unknown_peer());
    assert!(deciders.is_empty());
    always(&deciders, Ok(depth(6)));
    let slow = Terms {
        remote_csv_delay: Some(300),
        ..Terms::default()
    };
    always(&deciders, Ok(slow));
    assert!(!deciders.is_empty());
    let both = Terms {
        remote_csv_delay: Some(300),
        ..depth(6)
    };
    assert_eq!(deciders.decide(&request).await, Ok(both));
    always(&deciders, Err("not now".to_owned()));
    assert_eq!(deciders.decide(&request).await, Err("not now".to_owned()));
}

#[tokio::test]
async fn conflicting_terms_refuse_the_channel() {
    let deciders = Deciders::default();
    always(&deciders, Ok(depth(6)));
    always(&deciders, Ok(depth(7)));
    let decision = deciders.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
}

#[tokio::test]
async fn acceptor_that_does_not_answer_refuses() {
    let deciders = Deciders {
        answer_timeout: Duration::from_millis(1),
        ..Deciders::default()
    };
    let mut questions = deciders.join();
    let decision = deciders.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
    assert!(questions.recv().await.unwrap().is_over());
}

#[tokio::test]
async fn disconnected_acceptor_refuses_and_is_removed() {
    let deciders = Deciders::default();
    let mut questions = deciders.join();
    let deciding = tokio::spawn({
        let deciders = deciders.clone();
        async move { deciders.decide(&request(unknown_peer())).await }
    });
    // The acceptor disconnects without answering.
    drop(questions.recv().await);
    assert_eq!(deciding.await.unwrap(), Err(REJECTED.to_owned()));
    drop(questions);
    assert!(deciders.is_empty());
    let decision = deciders.decide(&request(unknown_peer())).await;
    assert_eq!(decision, Ok(Terms::default()));
}
