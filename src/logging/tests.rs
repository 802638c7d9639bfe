//! Tests of the limits on log lines.

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::util::logger::{Level, Logger, Record};

use super::*;
use crate::logging::ldk::LdkLogger;

/// The default of `log-level`.
const DEFAULT_LEVEL: &str = "info,ldk=warn";
const MINUTE: Duration = Duration::from_secs(60);
/// Maximum bytes per window: half of what a minute may add to the log, because a minute can contain the end
/// of one window and the beginning of the next.
const MAX_BYTES_PER_WINDOW: usize = 1_000_000 / 2;

/// Runs `run` with a log at this level; returns the lines written within one window, and the lines that
/// report suppressed ones afterwards.
fn logged(level: &str, run: impl FnOnce(&Shared)) -> (Vec<String>, Vec<String>) {
    let shared = Shared::default();
    let lines = fmt::layer().with_ansi(false);
    let log = registry()
        .with(EnvFilter::new(level))
        .with(Limit(shared.clone()))
        .with(lines.with_writer(Lines(shared.clone())));
    tracing::subscriber::with_default(log, || {
        run(&shared);
        let during = written(&shared);
        for suppressed in shared
            .counts
            .take_suppressed(Instant::now() + MINUTE, false)
        {
            suppressed.report();
        }
        (during, written(&shared))
    })
}

fn written(shared: &Shared) -> Vec<String> {
    let mut out = Vec::new();
    shared.queue.write_next(&mut out, Duration::ZERO);
    let text = String::from_utf8(out).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn bytes(lines: &[String]) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

fn peer(number: u32) -> PublicKey {
    let mut key = [1; 32];
    key[..4].copy_from_slice(&number.to_be_bytes());
    PublicKey::from_secret_key(&Secp256k1::new(), &SecretKey::from_slice(&key).unwrap())
}

/// Logs an error of LDK about a peer.
fn ldk(peer: Option<PublicKey>, line: u32, text: &str) {
    ldk_at(Level::Error, peer, line, text);
}

fn ldk_at(level: Level, peer: Option<PublicKey>, line: u32, text: &str) {
    let module = "lightning::ln::channel";
    LdkLogger.log(Record::new(
        level,
        peer,
        None,
        format_args!("{text}"),
        module,
        "channel.rs",
        line,
        None,
    ));
}

/// Otherwise a renamed module would silently get the lower limit.
#[test]
fn modules_with_limits_of_their_own_exist() {
    // A target that is not a module: `invoices` sets it on its lines about settled payments.
    const SETTLED: &str = "ampd::invoices::settled";
    let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let targets = limit::BUSY.iter().chain(&limit::UNLIMITED);
    let modules = targets.filter_map(|target| target.strip_prefix("ampd::"));
    for module in modules.filter(|module| SETTLED.strip_prefix("ampd::") != Some(*module)) {
        let path = source.join(module.replace("::", "/"));
        let exists = path.join("mod.rs").exists() || path.with_extension("rs").exists();
        assert!(exists, "no module {module}");
    }
}

#[test]
fn flood_of_one_peer_writes_ten_lines_and_a_count() {
    let mallory = peer(1);
    let (during, after) = logged(DEFAULT_LEVEL, |_| {
        for number in 0..100_000 {
            ldk(Some(mallory), 7, &format!("wrong message {number}"));
        }
    });
    assert_eq!(during.len(), 10, "{during:?}");
    assert!(
        during[0].contains(&format!("peer={mallory}")),
        "{}",
        during[0]
    );
    assert!(during[0].contains("line=7"), "{}", during[0]);
    let [count] = &after[..] else {
        panic!("{after:?}");
    };
    let words = format!("ERROR ampd::logging: 99990 more lines about peer {mallory} suppressed");
    assert!(count.contains(&words), "{count}");
    assert!(count.contains("such as: wrong message 0"), "{count}");
}

#[test]
fn a_hundred_peers_stay_within_the_byte_limit() {
    let peers: Vec<_> = (0..100).map(peer).collect();
    let long = "x".repeat(65_000);
    let (during, after) = logged(DEFAULT_LEVEL, |_| {
        for round in 0..20 {
            for peer in &peers {
                for line in 0..50 {
                    let text = if round == 0 && line < 2 {
                        &long
                    } else {
                        "short"
                    };
                    for level in [Level::Error, Level::Warn] {
                        ldk_at(level, Some(*peer), line, text);
                        // Some of LDK's lines name no peer.
                        ldk_at(level, None, 1_000 + line, text);
                    }
                }
                tracing::info!(target: "ampd::channels::inbound", %peer, "channel refused");
                tracing::info!(target: "ampd::channels::events", %peer, "channel closed");
            }
        }
    });
    let total = bytes(&during) + bytes(&after);
    assert!(
        total < MAX_BYTES_PER_WINDOW,
        "{total} bytes in {} lines",
        during.len()
    );
    let longest = during.iter().map(String::len).max();
    assert!(longest < Some(1_000), "a line of {longest:?} bytes");
}

#[test]
fn a_hundred_thousand_peers_use_bounded_memory() {
    logged(DEFAULT_LEVEL, |shared| {
        let accept = |peer: u32| {
            tracing::info!(target: "ampd::channels::inbound", peer, "channel accepted");
            tracing::info!(target: "ampd::channels::inbound", peer = %peer, "channel refused");
        };
        (0..100_000).for_each(accept);
        assert!(shared.counts.remembered() < 500);
    });
}

#[test]
fn other_faults_are_visible_during_a_flood() {
    let (during, _) = logged(DEFAULT_LEVEL, |_| {
        for number in 0..100 {
            for line in 0..50 {
                ldk(Some(peer(number)), line, "noise");
            }
            tracing::info!(target: "ampd::channels::inbound", peer = number, "channel refused");
        }
        ldk(Some(peer(1)), 4_711, "the commitment of a channel is wrong");
        tracing::error!(target: "ampd::storage::writer", "the database is not writable");
        tracing::warn!(target: "ampd::chain::sync", "degraded");
        tracing::error!(target: "ampd::wallet", peer = %peer(1), "no script for a channel");
    });
    for line in ["the commitment of", "not writable", "degraded", "no script"] {
        let shown = during.iter().any(|written| written.contains(line));
        assert!(shown, "not in the log: {line}");
    }
}

#[test]
fn ldk_errors_have_a_separate_limit() {
    let (during, _) = logged(DEFAULT_LEVEL, |_| {
        for number in 0..100 {
            for line in 0..50 {
                ldk_at(Level::Warn, Some(peer(number)), line, "noise");
            }
        }
        // From call sites that flood the log with warnings: LDK's macros log both levels on one source line.
        for line in 0..10 {
            for number in 0..10 {
                ldk(Some(peer(number)), line, "a channel was closed");
            }
        }
    });
    let errors = during.iter().filter(|line| line.contains("was closed"));
    assert_eq!(errors.count(), 100);
}

#[test]
fn windows_end_even_without_a_reader() {
    let (counts, start) = (limit::Counts::default(), Instant::now());
    // Nothing takes the suppressed lines, as if the writer thread were blocked.
    let written = [0, 1, 2].map(|minute| {
        let now = start + minute * MINUTE;
        (0..100).filter(|_| counts.admit_a_line(now)).count()
    });
    assert_eq!(written, [60, 60, 60]);
    let suppressed = counts.take_suppressed(start + 3 * MINUTE, false);
    let [suppressed] = &suppressed[..] else {
        panic!("{suppressed:?}");
    };
    assert_eq!((suppressed.lines, suppressed.windows), (120, 3));
    assert!(counts.take_suppressed(start + 9 * MINUTE, true).is_empty());
}

#[test]
fn panic_messages_are_never_suppressed() {
    let (during, after) = logged(DEFAULT_LEVEL, |_| {
        for _ in 0..1_000 {
            tracing::error!(target: "ampd::panics", "ampd panicked and ends");
        }
    });
    assert_eq!((during.len(), after.len()), (1_000, 0));
}

#[test]
fn debug_lines_are_not_limited() {
    let (during, after) = logged("debug", |_| {
        for number in 0..1_000 {
            tracing::debug!(target: "ampd::peers", peer = number, "connected");
        }
    });
    assert_eq!((during.len(), after.len()), (1_000, 0));
}

#[test]
fn every_payment_is_logged() {
    let (during, after) = logged(DEFAULT_LEVEL, |_| {
        for number in 0..500 {
            tracing::info!(target: "ampd::invoices::settled", number, "invoice settled");
            tracing::info!(target: "ampd::payments::advance", number, "payment ended");
        }
    });
    assert_eq!((during.len(), after.len()), (1_000, 0));
}

#[test]
fn counts_restart_with_a_new_window() {
    let refuse = || tracing::info!(target: "ampd::invoices::once", "payment refused");
    let (during, after) = logged(DEFAULT_LEVEL, |shared| {
        (0..100).for_each(|_| refuse());
        assert_eq!(written(shared).len(), 60);
        let early = shared.counts.take_suppressed(Instant::now(), false);
        assert!(early.is_empty(), "{early:?}");
        let suppressed = shared
            .counts
            .take_suppressed(Instant::now() + MINUTE, false);
        let found: Vec<_> = suppressed
            .iter()
            .map(|one| (one.lines, &one.peers))
            .collect();
        assert_eq!(found, [(40, &Peers::Unnamed)]);
        refuse();
    });
    assert_eq!((during.len(), after.len()), (1, 0));
}

#[test]
fn secrets_are_hidden_before_the_text_is_cut() {
    let text = format!("{} preimage {}", "x".repeat(470), "ab".repeat(32));
    let (during, _) = logged(DEFAULT_LEVEL, |_| ldk(None, 7, &text));
    assert!(!during[0].contains("abab"), "{}", during[0]);
}
