use std::cell::RefCell;
use std::collections::HashSet;

use proptest::prelude::*;

use super::super::test_gossip::{REGTEST, public};
use super::*;

const SECOND: Duration = Duration::from_secs(1);

impl KnownChannels for RefCell<HashSet<u64>> {
    fn lacks(&self, scid: u64) -> bool {
        !self.knows(scid)
    }

    fn knows(&self, scid: u64) -> bool {
        self.borrow().contains(&scid)
    }

    fn count(&self) -> usize {
        self.borrow().len()
    }
}

/// A syncer, the channels that its node knows, and a clock.
struct World {
    syncer: Syncer,
    known: RefCell<HashSet<u64>>,
    now: Instant,
}

impl World {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            syncer: Syncer::new(REGTEST, now),
            known: RefCell::default(),
            now,
        }
    }

    fn connect(&mut self, peers: &[u8]) {
        for peer in peers {
            self.syncer.connected(public(*peer), self.now);
        }
    }

    fn poll_after(&mut self, pause: Duration) -> Vec<(PublicKey, Query)> {
        self.now += pause;
        self.syncer.poll(&self.known, self.now)
    }

    fn reply(&mut self, peer: u8, reply: &ReplyChannelRange) -> Option<Query> {
        self.syncer
            .range_reply(&public(peer), reply, &self.known, self.now)
    }

    /// Lists these as all that it knows.
    fn list(&mut self, peer: u8, scids: impl IntoIterator<Item = u64>) -> Option<Query> {
        let short_channel_ids = scids.into_iter().collect();
        self.reply(peer, &range_reply(0, u32::MAX, true, short_channel_ids))
    }

    /// Sends what it was asked for, and all of it passes the checks.
    fn send(&mut self, peer: u8, query: &Query) {
        for scid in scids(query) {
            self.known.borrow_mut().insert(scid);
            self.syncer.heard(&public(peer), Some(scid), self.now);
        }
    }

    fn end(&mut self, peer: u8) -> Option<Query> {
        self.syncer.ids_end(&public(peer), &self.known, self.now)
    }
}

fn range_reply(
    first_blocknum: u32,
    number_of_blocks: u32,
    sync_complete: bool,
    short_channel_ids: Vec<u64>,
) -> ReplyChannelRange {
    ReplyChannelRange {
        chain_hash: REGTEST,
        first_blocknum,
        number_of_blocks,
        sync_complete,
        short_channel_ids,
    }
}

fn asked_for_lists(queries: &[(PublicKey, Query)]) -> HashSet<PublicKey> {
    let ranges = queries
        .iter()
        .filter(|(_, query)| matches!(query, Query::Range(_)));
    ranges.map(|(peer, _)| *peer).collect()
}

fn peers(numbers: &[u8]) -> HashSet<PublicKey> {
    numbers.iter().map(|number| public(*number)).collect()
}

fn scids(query: &Query) -> Vec<u64> {
    match query {
        Query::Ids(query) => query.short_channel_ids.clone(),
        Query::Range(_) => Vec::new(),
    }
}

fn len(query: Option<&Query>) -> Option<usize> {
    query.map(|query| scids(query).len())
}

#[test]
fn a_quiet_peer_is_asked_for_all_that_it_knows() {
    let mut world = World::new();
    world.connect(&[1]);
    assert_eq!(world.poll_after(2 * SECOND), []);
    let queries = world.poll_after(SECOND);
    let [(peer, Query::Range(query))] = &queries[..] else {
        panic!("{queries:?}");
    };
    assert_eq!(*peer, public(1));
    assert_eq!(
        (query.first_blocknum, query.number_of_blocks),
        (0, u32::MAX)
    );
    assert_eq!(world.poll_after(SECOND), [], "once");
}

#[test]
fn a_peer_that_sends_gossip_is_waited_for_but_not_for_ever() {
    let mut world = World::new();
    world.connect(&[1]);
    let mut waited = Duration::ZERO;
    while world.poll_after(SECOND).is_empty() {
        waited += SECOND;
        world.syncer.heard(&public(1), None, world.now);
    }
    assert_eq!(waited + SECOND, MOST_PATIENCE);
}

#[test]
fn unknown_channels_are_asked_for_in_parts() {
    let mut world = World::new();
    world.known.borrow_mut().extend([3, 5]);
    world.connect(&[1]);
    world.poll_after(QUIET);
    let mut query = world.list(1, (0..1_202).rev());
    for expected in [500, 500, 200] {
        let asked = query.unwrap();
        assert_eq!(scids(&asked).len(), expected);
        assert!(scids(&asked).is_sorted(), "lnd takes no other order");
        assert_eq!(world.poll_after(SECOND), [], "one query at a time");
        world.send(1, &asked);
        query = world.end(1);
    }
    assert_eq!(query, None);
    assert_eq!(world.syncer.completed(), 1);
    assert_eq!(world.known.borrow().len(), 1_202);
}

#[test]
fn three_peers_are_asked_and_share_the_work() {
    let mut world = World::new();
    world.connect(&[1, 2, 3, 4]);
    let first = world.poll_after(QUIET);
    assert_eq!(asked_for_lists(&first), peers(&[1, 2, 3]));
    let queries: Vec<_> = [1, 2, 3].map(|peer| world.list(peer, 0..1_100)).into();
    let asked: Vec<u64> = queries.iter().flatten().flat_map(scids).collect();
    assert_eq!(asked.len(), 1_100);
    assert_eq!(asked.iter().collect::<HashSet<_>>().len(), 1_100);
    // The second one gets no answer: what it was asked for is asked of another.
    let first_query = queries[0].clone().unwrap();
    world.send(1, &first_query);
    assert_eq!(world.end(1), None, "the rest is asked for elsewhere");
    world.syncer.disconnected(&public(2));
    let again = world.poll_after(SECOND);
    assert_eq!(asked_for_lists(&again), peers(&[4]));
    let again: Vec<u64> = again.iter().flat_map(|(_, query)| scids(query)).collect();
    assert_eq!(again, (500..1_000).collect::<Vec<_>>());
}

#[test]
fn a_peer_that_does_not_answer_is_replaced() {
    let mut world = World::new();
    world.connect(&[1, 2, 3, 4, 5]);
    world.poll_after(QUIET);
    // One lists and then does not send, two do not even list.
    assert!(world.list(1, 0..10).is_some());
    assert_eq!(world.poll_after(IDLE_LIMIT - SECOND), []);
    let replacements = world.poll_after(SECOND);
    assert_eq!(asked_for_lists(&replacements), peers(&[4, 5]));
    let later = world.poll_after(RETRY);
    assert_eq!(asked_for_lists(&later).len(), 3, "they get another chance");
}

#[test]
fn what_was_listed_is_asked_for_though_the_list_never_ends() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    let part = range_reply(0, 100, true, vec![1, 2, 3]);
    assert_eq!(world.reply(1, &part), None, "not the whole range");
    let queries = world.poll_after(IDLE_LIMIT);
    let asked = world.poll_after(SECOND);
    let all = [&queries[..], &asked[..]].concat();
    let asked: Vec<u64> = all.iter().flat_map(|(_, query)| scids(query)).collect();
    assert_eq!(asked, [1, 2, 3]);
}

#[test]
fn a_list_comes_in_parts_of_either_kind() {
    for parts in [
        // As BOLT 7 has it, as old versions of lnd, as old versions of Core Lightning.
        [(0, 500, false), (500, u32::MAX - 500, true)],
        [(0, u32::MAX, false), (0, u32::MAX, true)],
        [(0, 500, true), (500, u32::MAX - 500, true)],
    ] {
        let mut world = World::new();
        world.connect(&[1]);
        world.poll_after(QUIET);
        let [first, last] = parts;
        let reply = range_reply(first.0, first.1, first.2, vec![1]);
        assert_eq!(world.reply(1, &reply), None, "{parts:?}");
        let reply = range_reply(last.0, last.1, last.2, vec![2]);
        let query = world.reply(1, &reply).unwrap();
        assert_eq!(scids(&query), [1, 2], "{parts:?}");
    }
}

#[test]
fn an_endless_list_is_cut_off() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    for part in 0.. {
        let scids = (part * 8_000..(part + 1) * 8_000).collect();
        world.reply(1, &range_reply(0, 1, false, scids));
        if matches!(world.syncer.peers[&public(1)].state, State::Failed { .. }) {
            assert_eq!(part, MOST_WANTED as u64 / 8_000);
            break;
        }
    }
    assert_eq!(world.list(1, [1]), None);

    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    for _ in 0..=MOST_LISTED / 8_000 {
        world.reply(1, &range_reply(0, 1, false, vec![7; 8_000]));
    }
    let state = &world.syncer.peers[&public(1)].state;
    assert!(matches!(state, State::Failed { .. }));
}

#[test]
fn a_list_that_drips_is_not_waited_for_longer_than_the_limit() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    let asked = world.now;
    while matches!(world.syncer.peers[&public(1)].state, State::Listing(_)) {
        world.reply(1, &range_reply(0, 1, false, vec![]));
        world.poll_after(10 * SECOND);
    }
    assert_eq!(world.now - asked, ANSWER_LIMIT);
}

#[test]
fn a_peer_that_never_has_what_it_lists_is_given_up() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    assert!(world.list(1, 0..10_000).is_some());
    assert!(world.end(1).is_some());
    assert!(world.end(1).is_some());
    assert_eq!(world.end(1), None);
    let state = &world.syncer.peers[&public(1)].state;
    assert!(matches!(state, State::Failed { .. }));
}

#[test]
fn what_came_and_failed_its_check_is_asked_for_again_an_hour_later() {
    let mut world = World::new();
    world.connect(&[1, 2]);
    world.poll_after(QUIET);
    let asked = world.list(1, [7]);
    assert_eq!(len(asked.as_ref()), Some(1));
    world.syncer.heard(&public(1), Some(7), world.now);
    assert_eq!(world.end(1), None);
    assert_eq!(world.list(2, [7]), None, "the other one has it as well");
    assert_eq!(world.poll_after(SECOND), []);
    let due = asked_for_lists(&world.poll_after(ROUND));
    assert_eq!(due, peers(&[1]));
    assert_eq!(len(world.list(1, [7]).as_ref()), Some(1));
}

#[test]
fn another_peer_is_compared_with_each_hour() {
    let mut world = World::new();
    let numbers = [1, 2, 3, 4, 5];
    world.known.borrow_mut().extend([7]);
    world.connect(&numbers);
    world.poll_after(QUIET);
    for peer in numbers {
        assert_eq!(world.list(peer, [7]), None);
    }
    assert_eq!(world.syncer.completed(), 3);
    assert_eq!(world.poll_after(SECOND), [], "three are enough");
    let mut order = Vec::new();
    for _ in 0..6 {
        let due = asked_for_lists(&world.poll_after(ROUND));
        let due: Vec<_> = due.into_iter().collect();
        assert_eq!(due.len(), 1);
        let number = numbers.into_iter().find(|number| public(*number) == due[0]);
        order.push(number.unwrap());
        world.list(order[order.len() - 1], [7]);
    }
    assert_eq!(order, [4, 5, 1, 2, 3, 4]);
}

#[test]
fn peers_that_list_nothing_or_little_do_not_keep_the_others_from_being_asked() {
    let mut world = World::new();
    world.known.borrow_mut().extend(0..100);
    world.connect(&[1, 2, 3, 4, 5]);
    world.poll_after(QUIET);
    assert_eq!(world.list(1, []), None);
    assert_eq!(world.list(2, 0..49), None);
    // Made up.
    assert!(world.list(3, 1_000..1_400).is_some());
    assert_eq!(world.end(3), None);
    assert_eq!(world.syncer.completed(), 0);
    let next = world.poll_after(SECOND);
    assert_eq!(
        asked_for_lists(&next),
        peers(&[4, 5]),
        "as soon as possible"
    );
    assert_eq!(world.list(4, 50..100), None, "half of what we know");
    assert_eq!(len(world.list(5, 0..150).as_ref()), Some(50));
    world.send(5, &Query::Ids(query_of(100..150)));
    assert_eq!(world.end(5), None);
    assert_eq!(world.syncer.completed(), 2);
    // The others get another chance later, for the third place and in the hourly round those of use first.
    assert_eq!(world.poll_after(SECOND), []);
    assert_eq!(asked_for_lists(&world.poll_after(RETRY)), peers(&[1]));
    assert_eq!(world.list(1, 0..150), None);
    assert_eq!(asked_for_lists(&world.poll_after(ROUND)), peers(&[4]));
}

fn query_of(scids: std::ops::Range<u64>) -> QueryShortChannelIds {
    QueryShortChannelIds {
        chain_hash: REGTEST,
        short_channel_ids: scids.collect(),
    }
}

/// As an Eclair in a small network, which is asked though others have listed more.
#[test]
fn a_peer_that_knows_few_channels_is_of_use_if_we_know_no_more() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    let query = world.list(1, [7, 8]).unwrap();
    // They are being checked.
    for scid in scids(&query) {
        world.syncer.heard(&public(1), Some(scid), world.now);
    }
    assert_eq!(world.end(1), None);
    assert_eq!(world.syncer.completed(), 1);
}

#[test]
fn in_a_network_without_channels_each_peer_is_asked_every_ten_minutes() {
    let mut world = World::new();
    let numbers = [1, 2, 3, 4, 5];
    world.connect(&numbers);
    let mut asked = 0;
    for _ in 0..RETRY.as_secs() {
        for (key, _) in world.poll_after(SECOND) {
            let number = numbers.into_iter().find(|number| public(*number) == key);
            world.list(number.unwrap(), []);
            asked += 1;
        }
    }
    assert_eq!(asked, numbers.len());
    assert_eq!(world.syncer.completed(), 0);
}

#[test]
fn what_came_is_forgotten_when_it_is_too_much() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET);
    world.syncer.came = (1_000_000..).take(MOST_WANTED).collect();
    let query = world.list(1, [7]).unwrap();
    world
        .syncer
        .heard(&public(1), Some(scids(&query)[0]), world.now);
    assert_eq!(world.syncer.came.len(), 1);
}

#[test]
fn replies_that_nobody_asked_for_are_ignored() {
    let mut world = World::new();
    assert_eq!(world.list(1, 0..10), None);
    world.connect(&[1]);
    assert_eq!(world.list(1, 0..10), None);
    assert_eq!(world.end(1), None);
    world.poll_after(QUIET);
    assert_eq!(world.end(1), None);
    let mut other_chain = range_reply(0, u32::MAX, true, vec![1]);
    other_chain.chain_hash = ChainHash::BITCOIN;
    assert_eq!(world.reply(1, &other_chain), None);
    assert_eq!(world.list(1, 0..10), None);
}

/// What a peer of the property test is like.
#[derive(Debug, Clone, Copy)]
enum Nature {
    /// Answers at once.
    Honest,
    /// Answers nothing.
    Mute,
    /// Lists channels that nobody has, and ends each answer without sending any.
    Liar,
    /// Knows nothing.
    Empty,
    /// Lists one channel that nobody has.
    Modest,
    /// Lists for ever.
    Endless,
    /// Comes and goes.
    Flapping,
}

fn nature() -> impl Strategy<Value = Nature> {
    prop_oneof![
        Just(Nature::Honest),
        Just(Nature::Mute),
        Just(Nature::Liar),
        Just(Nature::Empty),
        Just(Nature::Modest),
        Just(Nature::Endless),
        Just(Nature::Flapping),
    ]
}

/// The answer to a query, and what is asked next.
fn answer(
    world: &mut World,
    peer: u8,
    nature: Nature,
    channels: u64,
    query: &Query,
) -> Option<Query> {
    match (nature, query) {
        (Nature::Honest, Query::Range(_)) => world.list(peer, 0..channels),
        (Nature::Honest, ids @ Query::Ids(_)) => {
            world.send(peer, ids);
            world.end(peer)
        }
        (Nature::Liar, Query::Range(_)) => world.list(peer, 1_000_000..1_002_000),
        (Nature::Empty, Query::Range(_)) => world.list(peer, []),
        (Nature::Modest, Query::Range(_)) => world.list(peer, [1_000_000]),
        (Nature::Liar | Nature::Empty | Nature::Modest, Query::Ids(_)) => world.end(peer),
        (Nature::Endless, _) => world.reply(peer, &range_reply(0, 1, false, vec![1; 100])),
        (Nature::Mute | Nature::Flapping, _) => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever else is connected: if one peer is honest, all that it knows is known in the end, and
    /// never are more than three peers asked.
    #[test]
    fn one_honest_peer_is_enough(
        mut natures in prop::collection::vec(nature(), 0..8),
        place in any::<prop::sample::Index>(),
        channels in 1..1_300u64,
    ) {
        let place = place.index(natures.len() + 1);
        natures.insert(place, Nature::Honest);
        let mut world = World::new();
        for number in 0..natures.len() {
            world.connect(&[u8::try_from(number + 1).unwrap()]);
        }
        for _ in 0..3_600 {
            let mut due = world.poll_after(SECOND);
            while let Some((key, query)) = due.pop() {
                let asked = scids(&query);
                prop_assert!(asked.len() <= SCIDS_PER_QUERY);
                prop_assert!(asked.iter().all(|scid| !world.known.borrow().contains(scid)));
                let numbers = 1..=u8::try_from(natures.len()).unwrap();
                let peer = numbers.into_iter().find(|number| public(*number) == key).unwrap();
                let nature = natures[usize::from(peer) - 1];
                if let Some(next) = answer(&mut world, peer, nature, channels, &query) {
                    due.push((key, next));
                }
                if matches!(nature, Nature::Flapping) {
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
