//! Measures all cells in rounds, and those that are compared one after the other, so that all of them see
//! the same conditions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::figures::{Figures, Line};
use super::kinds::{self, Kind};
use super::load::{self, Cell, Limit};
use super::options::Options;
use super::progress::Progress;
use super::table::{Skipped, Table};
use super::time::ms;
use super::{Bench, SETTLE_LIMIT};

/// LDK keeps completed payments in the channel manager for a while: without the pause, one cell would
/// slow down the next.
pub(super) const IDLE_TIME: Duration = Duration::from_secs(20);

/// A line of a table: kind and number of payments in flight.
type Key = (Kind, usize);

/// Nodes that take part in a comparison, and their results.
struct Contestant<'a> {
    bench: &'a Bench,
    cells: Vec<Key>,
    skipped: Vec<Skipped>,
    rounds: BTreeMap<Key, Vec<Figures>>,
    /// When its last payment ended.
    ended: Option<Instant>,
}

/// Measures every cell of each bench `--rounds` times, each cell on one bench after the other.
///
/// # Errors
/// If a payment fails for any reason but a full channel, or does not arrive in its kind's number of
/// shards.
pub(super) async fn measure<const N: usize>(
    benches: [&Bench; N],
    options: &Options,
) -> Result<[Table; N]> {
    let mut all = Vec::new();
    for bench in benches {
        all.push(Contestant::new(bench, options.cells_of(bench.pair)).await?);
    }
    let cells: usize = all.iter().map(|one| one.cells.len()).sum();
    let rounds = options.rounds();
    let expected = IDLE_TIME + Duration::from_secs(options.seconds);
    let mut progress = Progress::new(rounds * cells, expected);
    for round in 1..=rounds {
        for key @ (kind, at_a_time) in options.cells() {
            for one in all.iter_mut().filter(|one| one.cells.contains(&key)) {
                progress.next(&format!(
                    "round {round} of {rounds}, {}, {at_a_time} at once, {}",
                    kind.title(),
                    one.bench.title
                ));
                one.measure(key, options).await?;
            }
        }
    }
    let tables: Vec<_> = all.into_iter().map(|one| one.into_table(rounds)).collect();
    tables.try_into().ok().context("a table for each bench")
}

impl<'a> Contestant<'a> {
    async fn new(bench: &'a Bench, mut cells: Vec<Key>) -> Result<Self> {
        let mut skipped = Vec::new();
        let kinds: BTreeSet<Kind> = cells.iter().map(|(kind, _)| *kind).collect();
        for kind in kinds {
            if let Some(why) = kinds::not_supported(bench, kind).await? {
                cells.retain(|(of, _)| *of != kind);
                skipped.push(Skipped { kind, why });
            }
        }
        Ok(Self {
            bench,
            cells,
            skipped,
            rounds: BTreeMap::new(),
            ended: None,
        })
    }

    async fn measure(&mut self, key: Key, options: &Options) -> Result<()> {
        if let Some(ended) = self.ended {
            tokio::time::sleep_until((ended + IDLE_TIME).into()).await;
        }
        let figures = measure_once(self.bench, key, options).await?;
        eprintln!(
            "    {:.1} payments/s, p50 {:.1} ms",
            figures.payments_per_second, figures.p50_ms
        );
        self.rounds.entry(key).or_default().push(figures);
        self.ended = Some(Instant::now());
        Ok(())
    }

    fn into_table(self, rounds: usize) -> Table {
        let lines = self.rounds.into_iter();
        Table {
            title: self.bench.title.clone(),
            versions: self.bench.versions.clone(),
            disk_sync_p50_ms: ms(self.bench.sync_p50),
            rounds,
            lines: lines
                .map(|((kind, at_a_time), rounds)| Line::new(kind, at_a_time, rounds))
                .collect(),
            skipped: self.skipped,
        }
    }
}

async fn measure_once(bench: &Bench, (kind, at_a_time): Key, options: &Options) -> Result<Figures> {
    // Sequentially, a few hundred payments are as accurate as thousands.
    let most = options.payments.min(500 + 100 * at_a_time);
    let cell = Cell {
        at_a_time,
        requests: kinds::requests(bench, kind, most).await?,
        limit: Limit {
            payments: most,
            time: Duration::from_secs(options.seconds),
        },
    };
    let measured = load::measure(bench, cell).await?;
    let shards = measured.shards();
    let expected = kind.shards() * measured.payments();
    ensure!(
        shards == expected,
        "{kind:?}: {shards} shards instead of {expected}"
    );
    bench.network.wait_settled(SETTLE_LIMIT).await?;
    Ok(Figures::of(&measured))
}
