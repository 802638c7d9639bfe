//! Adjusted levels for LDK's log records.
//!
//! LDK logs at `error` and `warn` what requires no action: cooperative closes, invalid messages of peers, and
//! channels abandoned by their opener. Such lines are logged at lower levels, so that operators can rely on
//! errors in the log.

use lightning::util::logger::Level;

/// Matches records by module and text, and sets their level.
struct Rule {
    module: &'static str,
    begins: &'static str,
    /// Must also occur in the text; empty if `begins` is sufficient.
    contains: &'static str,
    shown: Level,
}

/// The start of LDK's line about a message that it refuses, and of no other line. It does not name the peer.
const REFUSED: &str = "Got non-closing error: ";

const MANAGER: &str = "lightning::ln::channelmanager";
const PEERS: &str = "lightning::ln::peer_handler";
const ONIONS: &str = "lightning::onion_message::messenger";
const SCORING: &str = "lightning::routing::scoring";

const fn rule(
    module: &'static str,
    begins: &'static str,
    contains: &'static str,
    shown: Level,
) -> Rule {
    Rule {
        module,
        begins,
        contains,
        shown,
    }
}

/// The first matching rule applies.
const RULES: [Rule; 22] = [
    // Every cooperative close.
    rule(MANAGER, "Closed channel ", ": Coop Closed", Level::Debug),
    rule(MANAGER, "Closing channel: Coop Closed", "", Level::Debug),
    // The operator force-closes a channel, or we refuse one: ampd logs both itself.
    rule(
        MANAGER,
        "Closed channel ",
        ": closed by the operator of the node",
        Level::Debug,
    ),
    rule(
        MANAGER,
        "Closing channel: closed by the operator of the node",
        "",
        Level::Debug,
    ),
    rule(MANAGER, "Force-closing channel ", "", Level::Info),
    rule(
        MANAGER,
        "Force-closing inbound channel request ",
        "",
        Level::Debug,
    ),
    // The peer force-closes: ampd logs this itself.
    rule(
        MANAGER,
        "Closing channel: Channel closed because counterparty force-closed",
        "",
        Level::Info,
    ),
    // A channel that was never opened: its opener disconnected or gave up.
    rule(
        MANAGER,
        "Force-closing pending channel with ID ",
        "for not establishing in a timely manner",
        Level::Debug,
    ),
    rule(
        MANAGER,
        "Force-closing unaccepted inbound channel ",
        "",
        Level::Debug,
    ),
    rule(
        MANAGER,
        "Immediately closing unfunded channel ",
        "as peer asked",
        Level::Debug,
    ),
    // Every announced channel, if the peer sees a block before us.
    rule(
        MANAGER,
        "Got non-closing error: Got announcement_signatures prior to the required six",
        "",
        Level::Debug,
    ),
    rule(
        MANAGER,
        "Got non-closing error: Got an announcement_signatures before we were ready",
        "",
        Level::Debug,
    ),
    // Every connection of a peer that asks us to store a backup before it has a channel, or one too large.
    rule(
        MANAGER,
        "Got non-closing error: Ignoring peer_storage message",
        "",
        Level::Debug,
    ),
    rule(
        MANAGER,
        "Got non-closing error: Supports only data up to ",
        "peer storage",
        Level::Debug,
    ),
    rule(
        PEERS,
        "Handling SendWarningMessage",
        "Ignoring peer_storage message",
        Level::Debug,
    ),
    rule(
        PEERS,
        "Handling SendWarningMessage",
        "bytes in peer storage",
        Level::Debug,
    ),
    // Every splice attempt of a peer; we do not support splicing.
    rule(
        MANAGER,
        "Got non-closing error: Inbound channel splices are currently not allowed",
        "",
        Level::Debug,
    ),
    rule(
        PEERS,
        "Handling SendWarningMessage",
        "splices are currently not allowed",
        Level::Debug,
    ),
    // All other invalid messages, which were answered with a warning or ignored. No channel was closed.
    rule(MANAGER, REFUSED, "", Level::Warn),
    // Anyone can send onion messages, and this one is not for us.
    rule(ONIONS, "Failed to process onion message", "", Level::Debug),
    rule(ONIONS, "Failed to create onion message", "", Level::Debug),
    // A peer that restarts. The failed payment is logged separately.
    rule(
        SCORING,
        "Payment failed at the first hop ",
        "",
        Level::Debug,
    ),
];

/// Returns true if a rule may change the level of a record of this module. Allows to skip formatting the
/// record's text.
pub(super) fn may_change(level: Level, module: &str) -> bool {
    level >= Level::Warn && RULES.iter().any(|rule| rule.module == module)
}

/// Returns true if the record is about the peer message that the current thread handles.
pub(super) fn refuses_a_message(module: &str, text: &str) -> bool {
    module == MANAGER && text.starts_with(REFUSED)
}

/// Returns the level to log a record at, never higher than LDK's.
pub(super) fn level(ldk_level: Level, module: &str, text: &str) -> Level {
    let fits = |rule: &&Rule| {
        rule.module == module && text.starts_with(rule.begins) && text.contains(rule.contains)
    };
    let shown = RULES.iter().find(fits).map(|rule| rule.shown);
    shown.map_or(ldk_level, |shown| shown.min(ldk_level))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use lightning::ln::msgs::{ChannelMessageHandler, PeerStorage, SpliceInit};
    use lightning::ln::types::ChannelId;
    use lightning::sign::KeysManager;
    use tracing_subscriber::EnvFilter;

    use super::*;
    use crate::channel_messages::ChannelMessages;
    use crate::channels::close::{CloseRequest, ClosingFee};
    use crate::channels::open::OpenRequest;
    use crate::channels::test_node::{SAT_PER_KW, TestNode, open_with, two_nodes};
    use ldk_amp::{EnvelopeKey, Gateway};

    /// The log of a test's thread.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        /// Captures this thread's log until the guard is dropped.
        fn start() -> (Self, tracing::subscriber::DefaultGuard) {
            let written = Self::default();
            let copy = written.clone();
            let log = tracing_subscriber::fmt()
                .with_env_filter(EnvFilter::new("off,ldk=debug"))
                .with_ansi(false)
                .with_writer(move || copy.clone())
                .finish();
            (written, tracing::subscriber::set_default(log))
        }

        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
            text.lines().map(str::to_owned).collect()
        }

        /// Asserts that LDK still logs this text, and that it is shown only at this level.
        #[track_caller]
        fn assert_shown(&self, level: &str, text: &str) {
            let lines = self.lines();
            let mut found = lines.iter().filter(|line| line.contains(text)).peekable();
            assert!(found.peek().is_some(), "LDK does not log {text:?}");
            for line in found {
                assert!(line.contains(&format!("{level} ldk")), "{line}");
            }
        }
    }

    async fn closed(node: &TestNode) {
        node.until("the close is recorded", || {
            !node.store.closed.lock().unwrap().is_empty()
        })
        .await;
    }

    #[tokio::test]
    async fn cooperative_close_logs_no_error() {
        let (log, _guard) = Written::start();
        let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
        let request = CloseRequest::Cooperative {
            fee: ClosingFee::Estimate(SAT_PER_KW),
            delivery: None,
        };
        let closing = alice.closer.close(point, request).await.unwrap();
        closed(&alice).await;
        closed(&bob).await;
        drop(closing);
        log.assert_shown("DEBUG", "due to close-required error: Coop Closed");
        log.assert_shown("DEBUG", "Closing channel: Coop Closed");
        assert_eq!(errors_and_warnings(&log), [""; 0]);
    }

    #[tokio::test]
    async fn own_force_close_is_logged_at_info() {
        let (log, _guard) = Written::start();
        let (alice, bob, _chain, point) = two_nodes(400_000, 0).await;
        let closing = alice
            .closer
            .close(point, CloseRequest::Force)
            .await
            .unwrap();
        closed(&bob).await;
        drop(closing);
        log.assert_shown("INFO", "Force-closing channel ");
    }

    #[tokio::test]
    async fn backups_and_splices_of_peers_log_no_errors() {
        let (log, _guard) = Written::start();
        let (alice, bob, _chain, _point) = two_nodes(400_000, 0).await;
        let carol = TestNode::start(3).await;
        carol.connect(&bob).await;
        let blob = |bytes| PeerStorage {
            data: vec![0; bytes],
        };
        bob.manager.handle_peer_storage(carol.id, blob(10));
        bob.manager.handle_peer_storage(alice.id, blob(2_000));
        let splice = SpliceInit {
            channel_id: bob.manager.list_channels()[0].channel_id,
            funding_contribution_satoshis: 100_000,
            funding_feerate_per_kw: SAT_PER_KW,
            locktime: 0,
            funding_pubkey: alice.id,
            require_confirmed_inputs: None,
        };
        bob.manager.handle_splice_init(alice.id, &splice);
        for text in [
            "Got non-closing error: Ignoring peer_storage message",
            "Got non-closing error: Supports only data up to 1024 bytes in peer storage",
            "Got non-closing error: Inbound channel splices are currently not allowed",
        ] {
            log.assert_shown("DEBUG", text);
        }
        assert_eq!(errors_and_warnings(&log), [""; 0]);
    }

    #[tokio::test]
    async fn peer_that_sees_blocks_before_us_logs_no_error() {
        let (log, _guard) = Written::start();
        let alice = TestNode::start(1).await;
        let bob = TestNode::start(2).await;
        let public = OpenRequest {
            private: false,
            ..alice.request(&bob, 400_000, 0)
        };
        let (chain, _point) = open_with(&alice, &bob, &public).await;
        for _ in 0..6 {
            chain.mine(&[&alice]);
        }
        let early = "Got announcement_signatures prior to the required six";
        bob.until("the signatures arrive", || {
            log.lines().iter().any(|line| line.contains(early))
        })
        .await;
        log.assert_shown("DEBUG", early);
        assert_eq!(errors_and_warnings(&log), [""; 0]);
    }

    #[tokio::test]
    async fn invalid_messages_are_warnings_if_no_channel_is_closed() {
        let (log, _guard) = Written::start();
        let (alice, bob, _chain, _point) = two_nodes(400_000, 0).await;
        let splice = SpliceInit {
            channel_id: ChannelId([7; 32]),
            funding_contribution_satoshis: 100_000,
            funding_feerate_per_kw: SAT_PER_KW,
            locktime: 0,
            funding_pubkey: alice.id,
            require_confirmed_inputs: None,
        };
        let key = EnvelopeKey::from_seed(&[1; 32]);
        let signer = Arc::new(KeysManager::new(&[1; 32], 0, 0, true));
        let gateway = Arc::new(Gateway::new(bob.manager.clone(), signer, key));
        ChannelMessages::new(gateway).handle_splice_init(alice.id, &splice);
        log.assert_shown("WARN", "Got non-closing error: Got a message for a channel");
        let named = format!("peer={}", alice.id);
        let refused = |line: &String| line.contains("non-closing") && line.contains(&named);
        assert!(
            log.lines().iter().any(refused),
            "no refused line names the peer"
        );
        bob.manager.handle_splice_init(alice.id, &splice);
        let unnamed = |line: &String| line.contains("non-closing") && !line.contains("peer=");
        assert!(
            log.lines().iter().any(unnamed),
            "the peer is named after its message was handled"
        );
    }

    fn errors_and_warnings(log: &Written) -> Vec<String> {
        let is_match = |line: &String| line.contains("ERROR") || line.contains("WARN");
        log.lines().into_iter().filter(is_match).collect()
    }

    #[test]
    fn other_lines_keep_ldks_level() {
        let closed = "Closed channel 07 due to close-required error: the peer cheats";
        assert_eq!(level(Level::Error, MANAGER, closed), Level::Error);
        let elsewhere = "lightning::chain::channelmonitor";
        assert!(!may_change(Level::Error, elsewhere));
        assert!(!may_change(Level::Info, MANAGER));
    }
}
