//! Any number of misbehaving peers cannot keep the node from an honest one.

use proptest::prelude::*;

use super::*;

/// The behaviour of a peer in the property test.
#[derive(Debug, Clone, Copy)]
enum Behaviour {
    /// Answers at once.
    Honest,
    /// Never answers.
    Mute,
    /// Lists channels that do not exist, and ends each answer without sending any.
    Liar,
    /// Knows nothing.
    Empty,
    /// Lists one channel that does not exist.
    Modest,
    /// Never ends its list.
    Endless,
    /// Reconnects again and again.
    Flapping,
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        Just(Behaviour::Honest),
        Just(Behaviour::Mute),
        Just(Behaviour::Liar),
        Just(Behaviour::Empty),
        Just(Behaviour::Modest),
        Just(Behaviour::Endless),
        Just(Behaviour::Flapping),
    ]
}

/// Answers a query and returns the next one.
fn answer(
    world: &mut World,
    peer: u8,
    behaviour: Behaviour,
    channels: u64,
    query: &Query,
) -> Option<Query> {
    match (behaviour, query) {
        (Behaviour::Honest, Query::Range(_)) => world.list(peer, 0..channels),
        (Behaviour::Honest, ids @ Query::Ids(_)) => {
            world.send(peer, ids);
            world.end(peer)
        }
        (Behaviour::Liar, Query::Range(_)) => world.list(peer, 1_000_000..1_002_000),
        (Behaviour::Empty, Query::Range(_)) => world.list(peer, []),
        (Behaviour::Modest, Query::Range(_)) => world.list(peer, [1_000_000]),
        (Behaviour::Liar | Behaviour::Empty | Behaviour::Modest, Query::Ids(_)) => world.end(peer),
        (Behaviour::Endless, _) => world.reply(peer, &range_reply(0, 1, false, vec![1; 100])),
        (Behaviour::Mute | Behaviour::Flapping, _) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With any other peers connected, one honest peer suffices to learn all channels, and never more than
    /// three peers are queried at once.
    #[test]
    fn one_honest_peer_is_enough(
        mut behaviours in prop::collection::vec(behaviour(), 0..8),
        place in any::<prop::sample::Index>(),
        channels in 1..1_300u64,
    ) {
        let place = place.index(behaviours.len() + 1);
        behaviours.insert(place, Behaviour::Honest);
        let mut world = World::new();
        for number in 0..behaviours.len() {
            world.connect(&[u8::try_from(number + 1).unwrap()]);
        }
        for _ in 0..3_600 {
            let mut due = world.poll_after(SECOND);
            while let Some((key, query)) = due.pop() {
                let asked = scids(&query);
                prop_assert!(asked.len() <= SCIDS_PER_QUERY);
                prop_assert!(asked.iter().all(|scid| !world.known.borrow().contains(scid)));
                let numbers = 1..=u8::try_from(behaviours.len()).unwrap();
                let peer = numbers.into_iter().find(|number| public(*number) == key).unwrap();
                let behaviour = behaviours[usize::from(peer) - 1];
                if let Some(next) = answer(&mut world, peer, behaviour, channels, &query) {
                    due.push((key, next));
                }
                if matches!(behaviour, Behaviour::Flapping) {
                    world.syncer.disconnected(&key);
                    world.connect(&[peer]);
                }
            }
            let states = world.syncer.peers.values().map(|peer| &peer.state);
            let busy = states.filter(|state| state.is_busy()).count();
            prop_assert!(busy <= PEERS_TO_SYNC);
            if world.known.borrow().len() as u64 == channels {
                return Ok(());
            }
        }
        prop_assert!(false, "{} of {channels} are known", world.known.borrow().len());
    }
}
