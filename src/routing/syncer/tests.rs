//! Tests of the syncer with peers that reply as in BOLT 7, slowly, wrongly or never.

mod misbehaving_peers;

use std::cell::RefCell;
use std::collections::HashSet;

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

/// A syncer, the channels its node knows, and a clock.
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

    /// The peer lists these as all the channels it knows.
    fn list(&mut self, peer: u8, scids: impl IntoIterator<Item = u64>) -> Option<Query> {
        let short_channel_ids = scids.into_iter().collect();
        self.reply(peer, &range_reply(0, u32::MAX, true, short_channel_ids))
    }

    /// The peer sends the queried channels, and all of them pass their checks.
    fn send(&mut self, peer: u8, query: &Query) {
        for scid in scids(query) {
            self.known.borrow_mut().insert(scid);
            self.syncer
                .gossip_received(&public(peer), Some(scid), self.now);
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

fn queried_for_ranges(queries: &[(PublicKey, Query)]) -> HashSet<PublicKey> {
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
fn quiet_peer_is_queried_for_its_whole_range() {
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
    assert_eq!(world.poll_after(SECOND), [], "queried only once");
}

#[test]
fn wait_for_a_peer_that_sends_gossip_is_limited() {
    let mut world = World::new();
    world.connect(&[1]);
    let mut waited = Duration::ZERO;
    while world.poll_after(SECOND).is_empty() {
        waited += SECOND;
        world.syncer.gossip_received(&public(1), None, world.now);
    }
    assert_eq!(waited + SECOND, MAX_QUIET_WAIT);
}

#[test]
fn missing_channels_are_queried_in_batches() {
    let mut world = World::new();
    world.known.borrow_mut().extend([3, 5]);
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    let mut query = world.list(1, (0..1_202).rev());
    for expected in [500, 500, 200] {
        let asked = query.unwrap();
        assert_eq!(scids(&asked).len(), expected);
        assert!(scids(&asked).is_sorted(), "lnd requires ascending order");
        assert_eq!(world.poll_after(SECOND), [], "one query at a time");
        world.send(1, &asked);
        query = world.end(1);
    }
    assert_eq!(query, None);
    assert_eq!(world.syncer.completed(), 1);
    assert_eq!(world.known.borrow().len(), 1_202);
}

#[test]
fn three_peers_are_queried_and_share_the_channels() {
    let mut world = World::new();
    world.connect(&[1, 2, 3, 4]);
    let first = world.poll_after(QUIET_TIME);
    assert_eq!(queried_for_ranges(&first), peers(&[1, 2, 3]));
    let queries: Vec<_> = [1, 2, 3].map(|peer| world.list(peer, 0..1_100)).into();
    let asked: Vec<u64> = queries.iter().flatten().flat_map(scids).collect();
    assert_eq!(asked.len(), 1_100);
    assert_eq!(asked.iter().collect::<HashSet<_>>().len(), 1_100);
    // The second peer disconnects without an answer, so its channels are queried elsewhere.
    let first_query = queries[0].clone().unwrap();
    world.send(1, &first_query);
    assert_eq!(world.end(1), None, "the rest is queried elsewhere");
    world.syncer.disconnected(&public(2));
    let again = world.poll_after(SECOND);
    assert_eq!(queried_for_ranges(&again), peers(&[4]));
    let again: Vec<u64> = again.iter().flat_map(|(_, query)| scids(query)).collect();
    assert_eq!(again, (500..1_000).collect::<Vec<_>>());
}

#[test]
fn unresponsive_peers_are_replaced() {
    let mut world = World::new();
    world.connect(&[1, 2, 3, 4, 5]);
    world.poll_after(QUIET_TIME);
    // One peer lists channels but sends none; two do not even list.
    assert!(world.list(1, 0..10).is_some());
    assert_eq!(world.poll_after(IDLE_TIMEOUT - SECOND), []);
    let replacements = world.poll_after(SECOND);
    assert_eq!(queried_for_ranges(&replacements), peers(&[4, 5]));
    let later = world.poll_after(RETRY_DELAY);
    assert_eq!(
        queried_for_ranges(&later).len(),
        3,
        "failed peers are retried"
    );
}

#[test]
fn listed_channels_are_queried_even_if_the_list_never_ends() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    let part = range_reply(0, 100, true, vec![1, 2, 3]);
    assert_eq!(world.reply(1, &part), None, "not the whole range");
    let queries = world.poll_after(IDLE_TIMEOUT);
    let asked = world.poll_after(SECOND);
    let all = [&queries[..], &asked[..]].concat();
    let asked: Vec<u64> = all.iter().flat_map(|(_, query)| scids(query)).collect();
    assert_eq!(asked, [1, 2, 3]);
}

#[test]
fn accepts_partial_replies_of_all_implementations() {
    for parts in [
        // BOLT 7, old versions of lnd, old versions of Core Lightning.
        [(0, 500, false), (500, u32::MAX - 500, true)],
        [(0, u32::MAX, false), (0, u32::MAX, true)],
        [(0, 500, true), (500, u32::MAX - 500, true)],
    ] {
        let mut world = World::new();
        world.connect(&[1]);
        world.poll_after(QUIET_TIME);
        let [first, last] = parts;
        let reply = range_reply(first.0, first.1, first.2, vec![1]);
        assert_eq!(world.reply(1, &reply), None, "{parts:?}");
        let reply = range_reply(last.0, last.1, last.2, vec![2]);
        let query = world.reply(1, &reply).unwrap();
        assert_eq!(scids(&query), [1, 2], "{parts:?}");
    }
}

#[test]
fn endless_lists_fail_the_peer() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    for part in 0.. {
        let scids = (part * 8_000..(part + 1) * 8_000).collect();
        world.reply(1, &range_reply(0, 1, false, scids));
        if matches!(world.syncer.peers[&public(1)].state, State::Failed { .. }) {
            assert_eq!(part, MAX_WANTED as u64 / 8_000);
            break;
        }
    }
    assert_eq!(world.list(1, [1]), None);

    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    for _ in 0..=MAX_LISTED / 8_000 {
        world.reply(1, &range_reply(0, 1, false, vec![7; 8_000]));
    }
    let state = &world.syncer.peers[&public(1)].state;
    assert!(matches!(state, State::Failed { .. }));
}

#[test]
fn slow_lists_time_out() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    let asked = world.now;
    while matches!(world.syncer.peers[&public(1)].state, State::Listing(_)) {
        world.reply(1, &range_reply(0, 1, false, vec![]));
        world.poll_after(10 * SECOND);
    }
    assert_eq!(world.now - asked, ANSWER_TIMEOUT);
}

#[test]
fn peer_that_never_sends_listed_channels_fails() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    assert!(world.list(1, 0..10_000).is_some());
    assert!(world.end(1).is_some());
    assert!(world.end(1).is_some());
    assert_eq!(world.end(1), None);
    let state = &world.syncer.peers[&public(1)].state;
    assert!(matches!(state, State::Failed { .. }));
}

#[test]
fn channels_that_failed_their_check_are_queried_again_after_an_hour() {
    let mut world = World::new();
    world.connect(&[1, 2]);
    world.poll_after(QUIET_TIME);
    let asked = world.list(1, [7]);
    assert_eq!(len(asked.as_ref()), Some(1));
    world.syncer.gossip_received(&public(1), Some(7), world.now);
    assert_eq!(world.end(1), None);
    assert_eq!(
        world.list(2, [7]),
        None,
        "already received from the other peer"
    );
    assert_eq!(world.poll_after(SECOND), []);
    let due = queried_for_ranges(&world.poll_after(ROUND_INTERVAL));
    assert_eq!(due, peers(&[1]));
    assert_eq!(len(world.list(1, [7]).as_ref()), Some(1));
}

#[test]
fn another_peer_is_synced_every_hour() {
    let mut world = World::new();
    let numbers = [1, 2, 3, 4, 5];
    world.known.borrow_mut().extend([7]);
    world.connect(&numbers);
    world.poll_after(QUIET_TIME);
    for peer in numbers {
        assert_eq!(world.list(peer, [7]), None);
    }
    assert_eq!(world.syncer.completed(), 3);
    assert_eq!(world.poll_after(SECOND), [], "three are enough");
    let mut order = Vec::new();
    for _ in 0..6 {
        let due = queried_for_ranges(&world.poll_after(ROUND_INTERVAL));
        let due: Vec<_> = due.into_iter().collect();
        assert_eq!(due.len(), 1);
        let number = numbers.into_iter().find(|number| public(*number) == due[0]);
        order.push(number.unwrap());
        world.list(order[order.len() - 1], [7]);
    }
    assert_eq!(order, [4, 5, 1, 2, 3, 4]);
}

#[test]
fn useless_peers_do_not_block_others() {
    let mut world = World::new();
    world.known.borrow_mut().extend(0..100);
    world.connect(&[1, 2, 3, 4, 5]);
    world.poll_after(QUIET_TIME);
    assert_eq!(world.list(1, []), None);
    assert_eq!(world.list(2, 0..49), None);
    // Channels that do not exist.
    assert!(world.list(3, 1_000..1_400).is_some());
    assert_eq!(world.end(3), None);
    assert_eq!(world.syncer.completed(), 0);
    let next = world.poll_after(SECOND);
    assert_eq!(
        queried_for_ranges(&next),
        peers(&[4, 5]),
        "as soon as possible"
    );
    assert_eq!(world.list(4, 50..100), None, "half of what we know");
    assert_eq!(len(world.list(5, 0..150).as_ref()), Some(50));
    world.send(5, &Query::Ids(query_of(100..150)));
    assert_eq!(world.end(5), None);
    assert_eq!(world.syncer.completed(), 2);
    // The others are retried later for the third slot. In the hourly round useful peers come first.
    assert_eq!(world.poll_after(SECOND), []);
    assert_eq!(
        queried_for_ranges(&world.poll_after(RETRY_DELAY)),
        peers(&[1])
    );
    assert_eq!(world.list(1, 0..150), None);
    assert_eq!(
        queried_for_ranges(&world.poll_after(ROUND_INTERVAL)),
        peers(&[4])
    );
}

fn query_of(scids: std::ops::Range<u64>) -> QueryShortChannelIds {
    QueryShortChannelIds {
        chain_hash: REGTEST,
        short_channel_ids: scids.collect(),
    }
}

/// For example an Eclair node in a small network.
#[test]
fn peer_with_few_channels_is_useful_if_we_know_no_more() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    let query = world.list(1, [7, 8]).unwrap();
    // The channels are still being checked.
    for scid in scids(&query) {
        world
            .syncer
            .gossip_received(&public(1), Some(scid), world.now);
    }
    assert_eq!(world.end(1), None);
    assert_eq!(world.syncer.completed(), 1);
}

#[test]
fn peers_are_queried_every_ten_minutes_in_an_empty_network() {
    let mut world = World::new();
    let numbers = [1, 2, 3, 4, 5];
    world.connect(&numbers);
    let mut asked = 0;
    for _ in 0..RETRY_DELAY.as_secs() {
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
fn memory_of_received_channels_is_limited() {
    let mut world = World::new();
    world.connect(&[1]);
    world.poll_after(QUIET_TIME);
    world.syncer.received = (1_000_000..).take(MAX_WANTED).collect();
    let query = world.list(1, [7]).unwrap();
    world
        .syncer
        .gossip_received(&public(1), Some(scids(&query)[0]), world.now);
    assert_eq!(world.syncer.received.len(), 1);
}

#[test]
fn unsolicited_replies_are_ignored() {
    let mut world = World::new();
    assert_eq!(world.list(1, 0..10), None);
    world.connect(&[1]);
    assert_eq!(world.list(1, 0..10), None);
    assert_eq!(world.end(1), None);
    world.poll_after(QUIET_TIME);
    assert_eq!(world.end(1), None);
    let mut other_chain = range_reply(0, u32::MAX, true, vec![1]);
    other_chain.chain_hash = ChainHash::BITCOIN;
    assert_eq!(world.reply(1, &other_chain), None);
    assert_eq!(world.list(1, 0..10), None);
}
