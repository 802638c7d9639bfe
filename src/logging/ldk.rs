//! Forwards LDK's log records to `tracing`.

mod levels;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::util::logger::{Level, Logger, Record};
use tracing::field::display;

use self::levels::{level, may_change, refuses_a_message};
use super::cut::{beginning, cut};

/// Target of LDK's records, for filters such as `info,ldk=warn`.
pub const TARGET: &str = "ldk";

/// Maximum length of a text at `info` or above, in bytes. LDK quotes text from peers, up to 65,000 bytes.
const MAX_TEXT: usize = 500;

/// Lines that dump a whole event or message with its secrets: preimages, shares, revoked keys. Only its name
/// is logged.
const DUMPS: [&str; 8] = [
    "Handling event ",
    "Enqueueing message UpdateFulfillHTLC",
    "Received message UpdateFulfillHTLC",
    "Enqueueing message RevokeAndACK",
    "Received message RevokeAndACK",
    "Enqueueing message ChannelReestablish",
    "Received message ChannelReestablish",
    "Tracking monitor update completion action",
];
/// Texts that precede a 32-byte secret in hex.
const SECRET_LABELS: [&str; 5] = [
    "preimage ",
    "preimage: ",
    "per_commitment_secret ",
    "session priv ",
    "PaymentPreimage(",
];
/// Length of such a secret in hex digits.
const SECRET_DIGITS: usize = 64;
const HIDDEN: &str = "(not logged)";

/// Forwards LDK's records to `tracing` under the target `ldk`, with secrets removed and levels adjusted
/// (`levels`).
///
/// The fields `module` and `line` are LDK's, and `peer` is set where LDK names one; [`crate::logging`] uses
/// them for its limits. `Gossip`, LDK's most verbose level, is dropped: on mainnet it means a line for each
/// of some 100,000 gossip messages.
#[derive(Debug, Default)]
pub struct LdkLogger;

thread_local! {
    /// The sender of the message that this thread handles.
    static SENDER: Cell<Option<PublicKey>> = const { Cell::new(None) };
}

/// A guard: while it exists, the thread handles a message of a peer.
pub struct MessageOfPeer {
    previous: Option<PublicKey>,
}

/// Until the guard is dropped, adds `peer` to the lines in which LDK refuses a message without naming its
/// sender.
#[must_use]
pub fn message_of(peer: PublicKey) -> MessageOfPeer {
    MessageOfPeer {
        previous: SENDER.replace(Some(peer)),
    }
}

impl Drop for MessageOfPeer {
    fn drop(&mut self) {
        SENDER.set(self.previous);
    }
}

/// Forwards a record. It is formatted only if its level is enabled.
macro_rules! forward {
    ($level:ident, $record:expr, $peer:expr, $max_bytes:expr) => {
        if tracing::enabled!(target: TARGET, tracing::Level::$level) {
            let (module, line) = ($record.module_path, $record.line);
            let peer = $peer.map(display);
            let text = text($record.args, $max_bytes);
            tracing::event!(target: TARGET, tracing::Level::$level, peer, module, line, "{text}");
        }
    };
}

impl Logger for LdkLogger {
    fn log(&self, record: Record) {
        let (mut shown, mut peer) = (record.level, record.peer_id);
        if may_change(record.level, record.module_path) {
            let (text, _) = beginning(record.args, MAX_TEXT);
            shown = level(record.level, record.module_path, &text);
            if refuses_a_message(record.module_path, &text) {
                peer = peer.or(SENDER.get());
            }
        }
        match shown {
            Level::Gossip => {}
            Level::Trace => forward!(TRACE, record, peer, usize::MAX),
            Level::Debug => forward!(DEBUG, record, peer, usize::MAX),
            Level::Info => forward!(INFO, record, peer, MAX_TEXT),
            Level::Warn => forward!(WARN, record, peer, MAX_TEXT),
            Level::Error => forward!(ERROR, record, peer, MAX_TEXT),
        }
    }
}

/// Returns the text to log, at most `max_bytes`. Twice as much is searched for secrets, because one may
/// extend beyond the cut.
fn text(record: fmt::Arguments<'_>, max_bytes: usize) -> String {
    let (text, whole) = beginning(record, max_bytes.saturating_mul(2));
    let text = without_secrets(&text, whole);
    if whole {
        return cut(&text, max_bytes).into_owned();
    }
    let (text, _) = beginning(format_args!("{text}"), max_bytes);
    text + "... (cut)"
}

/// Removes secrets. `whole` is false if the end of the line is missing.
fn without_secrets(line: &str, whole: bool) -> Cow<'_, str> {
    if let Some(name) = DUMPS.iter().find(|name| line.starts_with(**name)) {
        let ends = |c: char| ['{', '(', ':'].contains(&c);
        let rest = &line[name.len()..];
        let end = name.len() + rest.find(ends).unwrap_or(rest.len());
        return Cow::Owned(format!("{} {HIDDEN}", line[..end].trim_end()));
    }
    SECRET_LABELS
        .iter()
        .fold(Cow::Borrowed(line), |line, label| {
            hide_after(&line, label, whole).map_or(line, Cow::Owned)
        })
}

/// Removes the secrets after a label; returns `None` if there are none.
fn hide_after(line: &str, label: &str, whole: bool) -> Option<String> {
    let mut parts = line.split(label);
    let mut shown = parts.next()?.to_owned();
    let mut found = false;
    for part in parts {
        shown.push_str(label);
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_cut = !whole && digits > 0 && digits == part.len();
        let hides = digits >= SECRET_DIGITS || is_cut;
        shown.push_str(if hides { HIDDEN } else { "" });
        shown.push_str(if hides { &part[digits..] } else { part });
        found |= hides;
    }
    found.then_some(shown)
}

#[cfg(test)]
mod tests {
    use lightning::events::Event;
    use lightning::ln::channelmanager::PaymentId;
    use lightning::ln::msgs::UpdateFulfillHTLC;
    use lightning::types::payment::{PaymentHash, PaymentPreimage};
    use lightning::util::ser::LengthReadable;

    use super::*;

    const SECRET: PaymentPreimage = PaymentPreimage([0xab; 32]);

    fn assert_hidden(line: &str, shown: &str) {
        let secret = SECRET.to_string();
        assert!(line.contains(&secret), "nothing to hide in {line}");
        assert_eq!(without_secrets(line, true), shown);
    }

    /// As formatted by LDK's channel manager and peer handler.
    #[test]
    fn logs_only_the_name_of_events_and_messages_with_secrets() {
        let sent = Event::PaymentSent {
            payment_id: Some(PaymentId([1; 32])),
            payment_preimage: SECRET,
            payment_hash: PaymentHash([2; 32]),
            amount_msat: None,
            fee_paid_msat: None,
            bolt12_invoice: None,
        };
        let line = format!("Handling event {sent:?}...");
        assert_hidden(&line, "Handling event PaymentSent (not logged)");
        let wire = [&[1; 32][..], &[0; 8], &SECRET.0].concat();
        let fulfill = UpdateFulfillHTLC::read_from_fixed_length_buffer(&mut &wire[..]).unwrap();
        let line = format!("Enqueueing message {fulfill:?} to 02ab");
        let shown = "Enqueueing message UpdateFulfillHTLC (not logged)";
        assert_hidden(&line, shown);
    }

    #[test]
    fn hides_preimages_and_session_keys_in_other_lines() {
        let line = format!("Claiming HTLC with preimage {SECRET} from our monitor");
        let shown = "Claiming HTLC with preimage (not logged) from our monitor";
        assert_hidden(&line, shown);
        let line = format!("for path with session priv {SECRET}");
        assert_hidden(&line, "for path with session priv (not logged)");
    }

    /// Hiding the complete secrets before it shortens the text, which brings the cut secret into view.
    #[test]
    fn hides_a_secret_that_is_cut_in_the_middle() {
        let line = format!(
            "{}preimage {SECRET}",
            format!("preimage {SECRET} ").repeat(3)
        );
        for max_bytes in 100..170 {
            let shown = text(format_args!("{line}"), max_bytes);
            assert!(!shown.contains("ab"), "{max_bytes}: {shown}");
        }
    }

    #[test]
    fn other_lines_are_unchanged() {
        let hash = PaymentHash([2; 32]);
        let line = format!("Failing HTLC with payment_hash {hash}: no preimage for it");
        assert_eq!(without_secrets(&line, true), line);
        assert_eq!(
            without_secrets("Done handling event", true),
            "Done handling event"
        );
    }
}
