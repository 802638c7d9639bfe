//! Broadcasts our node announcement: alias, color and addresses.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::secp256k1::PublicKey;
use lightning::ln::msgs::SocketAddress;
use lightning::routing::gossip::NodeId;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connection::PeerManager;
use crate::ldk::NetworkGraph;

/// The length of an alias in a node announcement, in bytes (BOLT 7).
const ALIAS_BYTES: usize = 32;

/// The maximum number of announced addresses; LDK panics beyond 100.
pub const MAX_ADDRESSES: usize = 20;

/// How often to check whether a channel became public.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// The delay of the second, identical announcement: a peer that was still checking our channel's
/// funding when the first one arrived has dropped it.
const SECOND_ANNOUNCEMENT_DELAY: Duration = Duration::from_secs(60);

/// How often an unchanged announcement is repeated, for peers that were offline before.
const REPEAT_INTERVAL: Duration = Duration::from_secs(3600);

/// An invalid announcement setting.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AnnounceError {
    #[error("invalid color {0:?}: use # and six hex digits, such as #3399ff")]
    Color(String),
    #[error("alias {alias:?} has {bytes} bytes: the maximum is 32")]
    AliasTooLong { alias: String, bytes: usize },
    #[error("alias {0:?} contains a control character")]
    AliasControl(String),
    #[error("too many external addresses ({0}): the maximum is {MAX_ADDRESSES}")]
    TooManyAddresses(usize),
    #[error("invalid external address {0:?}: use host:port")]
    Address(String),
}

/// Parses a color such as `#3399ff`.
pub fn parse_color(color: &str) -> Result<[u8; 3], AnnounceError> {
    let wrong = || AnnounceError::Color(color.to_owned());
    let digits = color.strip_prefix('#').ok_or_else(wrong)?;
    // `from_str_radix` alone would accept a sign.
    if digits.len() != 6 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let value = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
    let [_, red, green, blue] = value.to_be_bytes();
    Ok([red, green, blue])
}

/// Parses an alias: UTF-8, at most 32 bytes, padded with zeros.
pub fn parse_alias(alias: &str) -> Result<[u8; ALIAS_BYTES], AnnounceError> {
    if alias.chars().any(char::is_control) {
        return Err(AnnounceError::AliasControl(alias.to_owned()));
    }
    let mut padded = [0; ALIAS_BYTES];
    let target = padded
        .get_mut(..alias.len())
        .ok_or_else(|| AnnounceError::AliasTooLong {
            alias: alias.to_owned(),
            bytes: alias.len(),
        })?;
    target.copy_from_slice(alias.as_bytes());
    Ok(padded)
}

/// The content of our node announcement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    color: [u8; 3],
    alias: [u8; ALIAS_BYTES],
    addresses: Vec<SocketAddress>,
}

impl Announcement {
    /// Parses the values of the config file; `addresses` are our public addresses, as `host:port`.
    pub fn parse(color: &str, alias: &str, addresses: &[String]) -> Result<Self, AnnounceError> {
        if addresses.len() > MAX_ADDRESSES {
            return Err(AnnounceError::TooManyAddresses(addresses.len()));
        }
        let address = |text: &String| {
            text.parse::<SocketAddress>()
                .map_err(|_| AnnounceError::Address(text.clone()))
        };
        Ok(Self {
            color: parse_color(color)?,
            alias: parse_alias(alias)?,
            addresses: addresses.iter().map(address).collect::<Result<_, _>>()?,
        })
    }
}

/// Broadcasts our node announcement when needed.
pub struct Announcer {
    peers: Arc<PeerManager>,
    graph: Arc<NetworkGraph>,
    our_node_id: NodeId,
    announcement: Announcement,
}

impl Announcer {
    pub fn new(
        peers: Arc<PeerManager>,
        graph: Arc<NetworkGraph>,
        our_node_id: &PublicKey,
        announcement: Announcement,
    ) -> Self {
        let our_node_id = NodeId::from_pubkey(our_node_id);
        Self {
            peers,
            graph,
            our_node_id,
            announcement,
        }
    }

    /// Announces when a channel becomes public, a minute later, and then hourly, until `stop`.
    ///
    /// Without a public channel nothing is announced: others would ignore it (BOLT 7), and a node
    /// with private channels only may want to stay unknown.
    pub async fn run(&self, stop: CancellationToken) {
        let mut poll = interval(POLL_INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = poll.tick() => {}
            }
            let public = self.public_channels();
            if due(public, last, Instant::now()) {
                self.broadcast();
                last = Some(Sent::after(last, public, Instant::now()));
            }
        }
    }

    /// Announces now. Peers ignore it unless they know a public channel of ours.
    pub fn broadcast(&self) {
        let Announcement {
            color,
            alias,
            addresses,
        } = self.announcement.clone();
        self.peers
            .broadcast_node_announcement(color, alias, addresses);
    }

    /// Returns the number of our channels in the network graph, whose announcements both sides have
    /// signed.
    fn public_channels(&self) -> usize {
        let graph = self.graph.read_only();
        graph
            .node(&self.our_node_id)
            .map_or(0, |node| node.channels.len())
    }
}

/// The last announcement.
#[derive(Debug, Clone, Copy)]
struct Sent {
    public: usize,
    at: Instant,
    /// Whether the last announcement was a repetition.
    repeated: bool,
}

impl Sent {
    fn after(last: Option<Self>, public: usize, at: Instant) -> Self {
        let repeated = last.is_some_and(|last| public <= last.public);
        Self {
            public,
            at,
            repeated,
        }
    }
}

/// Returns whether to announce now, given the number of public channels and the last announcement.
fn due(public: usize, last: Option<Sent>, now: Instant) -> bool {
    let Some(last) = last else { return public > 0 };
    let pause = if last.repeated {
        REPEAT_INTERVAL
    } else {
        SECOND_ANNOUNCEMENT_DELAY
    };
    public > last.public || (public > 0 && now.duration_since(last.at) >= pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn color_requires_a_hash_and_six_digits() {
        assert_eq!(parse_color("#3399FF"), Ok([0x33, 0x99, 0xff]));
        for wrong in ["3399ff", "#3399f", "#3399fff", "#+399ff", "#33é9f", "", "#"] {
            assert_eq!(
                parse_color(wrong),
                Err(AnnounceError::Color(wrong.to_owned()))
            );
        }
    }

    #[test]
    fn alias_length_is_limited_in_bytes() {
        assert_eq!(parse_alias("alice").unwrap()[..6], *b"alice\0");
        assert!(parse_alias(&"a".repeat(32)).is_ok());
        let alias = "é".repeat(17);
        assert_eq!(
            parse_alias(&alias),
            Err(AnnounceError::AliasTooLong { alias, bytes: 34 })
        );
        assert!(matches!(
            parse_alias("a\nb"),
            Err(AnnounceError::AliasControl(_))
        ));
    }

    #[test]
    fn rejects_invalid_addresses() {
        let parse = |addresses: &[&str]| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            Announcement::parse("#000000", "a", &addresses)
        };
        assert!(parse(&["1.2.3.4:9735", "[::1]:9735", "example.org:9735"]).is_ok());
        assert_eq!(
            parse(&["1.2.3.4"]),
            Err(AnnounceError::Address("1.2.3.4".to_owned()))
        );
        assert_eq!(
            parse(&["a.b:1"; 21]),
            Err(AnnounceError::TooManyAddresses(21))
        );
    }

    #[test]
    fn announcement_waits_for_a_public_channel_and_is_repeated() {
        let now = Instant::now();
        assert!(!due(0, None, now));
        assert!(due(1, None, now));
        let first = Sent::after(None, 1, now);
        assert!(!due(1, Some(first), now));
        assert!(due(2, Some(first), now));
        assert!(due(1, Some(first), now + SECOND_ANNOUNCEMENT_DELAY));
        let second = Sent::after(Some(first), 1, now + SECOND_ANNOUNCEMENT_DELAY);
        assert!(!due(
            1,
            Some(second),
            now + SECOND_ANNOUNCEMENT_DELAY + SECOND_ANNOUNCEMENT_DELAY
        ));
        assert!(due(
            1,
            Some(second),
            now + SECOND_ANNOUNCEMENT_DELAY + REPEAT_INTERVAL
        ));
        assert!(!due(
            0,
            Some(second),
            now + SECOND_ANNOUNCEMENT_DELAY + REPEAT_INTERVAL
        ));
    }
}
