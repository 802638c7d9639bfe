use super::*;
use crate::channels::accept::tests::{request, stranger};

/// A caller that answers all that it is asked in the same way.
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
async fn a_channel_is_accepted_if_all_accept_it() {
    let deciders = Deciders::default();
    let request = request(stranger());
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
async fn contradictory_terms_are_a_refusal() {
    let deciders = Deciders::default();
    always(&deciders, Ok(depth(6)));
    always(&deciders, Ok(depth(7)));
    let decision = deciders.decide(&request(stranger())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
}

#[tokio::test]
async fn a_caller_that_does_not_answer_refuses() {
    let deciders = Deciders {
        patience: Duration::from_millis(1),
        ..Deciders::default()
    };
    let mut questions = deciders.join();
    let decision = deciders.decide(&request(stranger())).await;
    assert_eq!(decision, Err(REJECTED.to_owned()));
    assert!(questions.recv().await.unwrap().is_over());
}

#[tokio::test]
async fn a_caller_that_goes_away_refuses_and_is_asked_no_more() {
    let deciders = Deciders::default();
    let mut questions = deciders.join();
    let deciding = tokio::spawn({
        let deciders = deciders.clone();
        async move { deciders.decide(&request(stranger())).await }
    });
    // It leaves with the question.
    drop(questions.recv().await);
    assert_eq!(deciding.await.unwrap(), Err(REJECTED.to_owned()));
    drop(questions);
    assert!(deciders.is_empty());
    let decision = deciders.decide(&request(stranger())).await;
    assert_eq!(decision, Ok(Terms::default()));
}
