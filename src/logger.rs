//! LDK's log records, handed to `tracing`.

mod levels;

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use bitcoin::secp256k1::PublicKey;
use lightning::util::logger::{Level, Logger, Record};
use tracing::field::display;

use self::levels::{answers_a_message, has_another, level};
use crate::logging::{beginning, cut};

/// Target of every record that comes from LDK, for filters such as `info,ldk=warn`.
pub const TARGET: &str = "ldk";

/// A text at `info` or above, bytes: it may quote a peer, whose words can be 65,000 bytes long.
const MAX_TEXT: usize = 500;

/// Lines that hold a whole event or message with its secrets: preimages, shares, revoked keys. Their
/// name is all that is logged of them.
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
/// What stands before a secret of 32 bytes in hex.
const LABELS: [&str; 5] = [
    "preimage ",
    "preimage: ",
    "per_commitment_secret ",
    "session priv ",
    "PaymentPreimage(",
];
/// Digits of such a secret.
const DIGITS: usize = 64;
const HIDDEN: &str = "(not logged)";

/// Forwards LDK's records to `tracing` under the target `ldk`, without the secrets that are in some of
/// them, and at the level that they have for the owner of a node (`levels`).
///
/// LDK's own module path and line go along as fields, and the peer, where LDK names it: by these
/// [`crate::logging`] limits them. `Gossip`, LDK's chattiest level, is dropped: on mainnet it is a line
/// for each of some 100,000 gossip messages.
#[derive(Debug, Default)]
pub struct LdkLogger;

thread_local! {
    static SENDER: Cell<Option<PublicKey>> = const { Cell::new(None) };
}

/// While this lives, the thread handles a message of a peer.
pub struct MessageOfPeer {
    before: Option<PublicKey>,
}

/// The lines in which LDK refuses a peer's message without the peer's name get it, until this is dropped.
#[must_use]
pub fn message_of(peer: PublicKey) -> MessageOfPeer {
    MessageOfPeer {
        before: SENDER.replace(Some(peer)),
    }
}

impl Drop for MessageOfPeer {
    fn drop(&mut self) {
        SENDER.set(self.before);
    }
}

/// A record is made into text only if its level is logged.
macro_rules! hand_on {
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
        if has_another(record.level, record.module_path) {
            let (text, _) = beginning(record.args, MAX_TEXT);
            shown = level(record.level, record.module_path, &text);
            if answers_a_message(record.module_path, &text) {
                peer = peer.or(SENDER.get());
            }
        }
        match shown {
            Level::Gossip => {}
            Level::Trace => hand_on!(TRACE, record, peer, usize::MAX),
            Level::Debug => hand_on!(DEBUG, record, peer, usize::MAX),
            Level::Info => hand_on!(INFO, record, peer, MAX_TEXT),
            Level::Warn => hand_on!(WARN, record, peer, MAX_TEXT),
            Level::Error => hand_on!(ERROR, record, peer, MAX_TEXT),
        }
    }
}

/// What is logged of a record. More than that is looked at, in case that a secret is in the middle.
fn text(record: fmt::Arguments<'_>, max_bytes: usize) -> String {
    let (text, whole) = beginning(record, max_bytes.saturating_mul(2));
    let text = without_secrets(&text, whole);
    if whole {
        return cut(&text, max_bytes).into_owned();
    }
    let (text, _) = beginning(format_args!("{text}"), max_bytes);
    text + "... (cut)"
}

/// `whole`: nothing was cut off its end.
fn without_secrets(line: &str, whole: bool) -> Cow<'_, str> {
    if let Some(name) = DUMPS.iter().find(|name| line.starts_with(**name)) {
        let ends = |c: char| ['{', '(', ':'].contains(&c);
        let rest = &line[name.len()..];
        let end = name.len() + rest.find(ends).unwrap_or(rest.len());
        return Cow::Owned(format!("{} {HIDDEN}", line[..end].trim_end()));
    }
    LABELS.iter().fold(Cow::Borrowed(line), |line, label| {
        hide_after(&line, label, whole).map_or(line, Cow::Owned)
    })
}

/// The line without the secrets after this label; `None` if there are none.
fn hide_after(line: &str, label: &str, whole: bool) -> Option<String> {
    let mut parts = line.split(label);
    let mut shown = parts.next()?.to_owned();
    let mut found = false;
    for part in parts {
        shown.push_str(label);
        let digits = part.bytes().take_while(u8::is_ascii_hexdigit).count();
        let is_cut = !whole && digits > 0 && digits == part.len();
        let hides = digits >= DIGITS || is_cut;
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

    /// As LDK's channel manager and peer handler write them.
    #[test]
    fn of_events_and_messages_with_secrets_only_the_name_is_logged() {
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
    fn preimages_and_session_keys_in_other_lines_are_left_out() {
        let line = format!("Claiming HTLC with preimage {SECRET} from our monitor");
        let shown = "Claiming HTLC with preimage (not logged) from our monitor";
        assert_hidden(&line, shown);
        let line = format!("for path with session priv {SECRET}");
        assert_hidden(&line, "for path with session priv (not logged)");
    }

    /// Two whole ones before it leave room for what was cut.
    #[test]
    fn of_a_secret_at_the_cut_nothing_is_left() {
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
    fn other_lines_stay_as_they_are() {
        let hash = PaymentHash([2; 32]);
        let line = format!("Failing HTLC with payment_hash {hash}: no preimage for it");
        assert_eq!(without_secrets(&line, true), line);
        assert_eq!(
            without_secrets("Done handling event", true),
            "Done handling event"
        );
    }
}
