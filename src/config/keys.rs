//! Every key of the configuration: its name, type, default and documentation, once.
//!
//! The flags, the environment variables, the checks of the file and `config.example.toml` all
//! follow from this table.

/// How a key's value is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A text in quotes.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// A list of texts; separated by commas in a flag or a variable.
    List,
    /// The same of whole numbers.
    Numbers,
}

/// A key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// The name in the file (`accept-amp`); the flag is `--accept-amp`.
    pub name: &'static str,
    pub kind: Kind,
    /// The default as a flag would say it; empty: not set.
    pub default: &'static str,
    /// A secret has no flag, because everybody on the machine can list the flags of a process.
    pub secret: bool,
    /// First line: what it is, with its unit. Then what follows from it.
    pub doc: &'static str,
}

impl Key {
    /// The environment variable: `AMPD_ACCEPT_AMP`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("AMPD_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// Keys that belong together.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    /// The table of the file that may hold its keys, there without this word and its hyphen before
    /// them: `listen` in `[donations]` is `donations-listen`.
    pub table: Option<&'static str>,
    pub keys: &'static [Key],
}

pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        secret: false,
        doc,
    }
}

/// All keys in the order of help and example.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// The key of this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Whether the file may have a table of this name.
#[must_use]
pub fn is_table(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.table == Some(name))
}

/// The known name that looks most like `name`.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    let likeness = |key: &Key| strsim::normalized_damerau_levenshtein(key.name, name);
    all()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .map_or("network", |key| key.name)
}

/// The table.
pub const SECTIONS: &[Section] = &[
    NODE,
    CONNECTIONS,
    CALLERS,
    BITCOIND,
    AMP,
    KEYSEND,
    FORWARDING_AND_CHANNELS,
    LOGS,
    // The last one: in the file all that follows the name of a table is in it.
    super::donations::KEYS,
];

const NODE: Section = Section {
    title: "The node",
    table: None,
    keys: &[
        key(
            "network",
            Kind::Text,
            "mainnet",
            "The chain: mainnet, testnet, testnet4, signet or regtest.
bitcoind has to be on the same one. Each network has its own seed, wallet and channels.",
        ),
        key(
            "data-dir",
            Kind::Text,
            "~/.ampd",
            "Folder of ampd; the node's files are in its subfolder <network>.
It holds the seed and the channels: keep it on a disk that you trust, and never run two nodes
from copies of it.",
        ),
        key(
            "alias",
            Kind::Text,
            "",
            "Name of the node in the public graph, at most 32 bytes.
Not set: the first 20 digits of the node's public key.",
        ),
        key(
            "color",
            Kind::Text,
            "#3399ff",
            "Colour of the node in the public graph, as #rrggbb.",
        ),
    ],
};

const CONNECTIONS: Section = Section {
    title: "Connections",
    table: None,
    keys: &[
        key(
            "listen",
            Kind::List,
            "0.0.0.0:9735",
            "Addresses (IP:port) on which peers may connect to us.
\"[::]:9735\" alone listens on IPv6 and, on Linux, on IPv4 as well. An empty list: nobody can
connect to us, but we can to others.",
        ),
        key(
            "external-address",
            Kind::List,
            "",
            "Addresses (host:port) under which others reach us: IPv4, IPv6, DNS name or .onion.
They are announced to everybody once the node has a public channel.",
        ),
    ],
};

const CALLERS: Section = Section {
    title: "Callers: gRPC and REST",
    table: None,
    keys: &[
        key(
            "rpc-listen",
            Kind::Text,
            "127.0.0.1:10009",
            "Address (IP:port) on which gRPC is served: to ampcli, lncli, wallets and shops.
Over TLS and with macaroons; see tls-extra-ip for callers on other machines.",
        ),
        key(
            "rest-listen",
            Kind::Text,
            "127.0.0.1:8080",
            "Address (IP:port) on which the same is served as REST, or \"none\".",
        ),
        key(
            "rest-cors",
            Kind::List,
            "",
            "Web sites (https://host) whose pages may call REST from a browser; \"*\" is all of them.
They still need a macaroon.",
        ),
        key(
            "tls-extra-ip",
            Kind::List,
            "",
            "IP addresses by which callers on other machines know this one.
tls.cert in the data directory names them, this machine's host name and localhost. It is made
again when the names change or 30 days before it runs out; one that ampd did not make is not.",
        ),
        key(
            "tls-extra-domain",
            Kind::List,
            "",
            "DNS names by which callers on other machines know this one.",
        ),
    ],
};

const BITCOIND: Section = Section {
    title: "bitcoind",
    table: None,
    keys: &[
        key(
            "bitcoind-rpc-address",
            Kind::Text,
            "127.0.0.1",
            "Where bitcoind serves RPC, as host or host:port.
The port is by default that of the network: 8332 mainnet, 18332 testnet, 48332 testnet4, 38332
signet, 18443 regtest.",
        ),
        key(
            "bitcoind-rpc-user",
            Kind::Text,
            "",
            "User name at bitcoind. Needs bitcoind-rpc-password, excludes bitcoind-rpc-cookie.",
        ),
        Key {
            name: "bitcoind-rpc-password",
            kind: Kind::Text,
            default: "",
            secret: true,
            doc: "Password at bitcoind.
There is no flag for it, because everybody on the machine can list the flags of a process: set it
here or in the environment, and let nobody else read this file.",
        },
        key(
            "bitcoind-rpc-cookie",
            Kind::Text,
            "",
            "Path of bitcoind's cookie file, instead of user and password.
If neither is set: .cookie in bitcoind's default folder, which is ~/.bitcoin or, off mainnet, its
subfolder of the network.",
        ),
        key(
            "chain-poll-interval",
            Kind::Text,
            "5s",
            "Time between two questions to bitcoind for new blocks (50ms to 1min).
Longer saves work for bitcoind; blocks are noticed that much later.",
        ),
    ],
};

const AMP: Section = Section {
    title: "Atomic Multi-path Payments",
    table: None,
    keys: &[
        key(
            "accept-amp",
            Kind::Switch,
            "false",
            "Accept AMP payments that nobody asked for, sent to the node's public key.
With false such a payment is refused and nothing is lost. With true a stranger can make us hold
HTLCs for up to two minutes, within the bounds that follow.",
        ),
        key(
            "max-htlcs-per-set",
            Kind::Number,
            "256",
            "Largest number of HTLCs (shards) in one AMP set, 1 to 2048.
A shard beyond it is refused, which ends the payment. lnd sends at most 16 unless it is told
otherwise; a large payment over many small channels needs more.",
        ),
        key(
            "max-open-sets",
            Kind::Number,
            "1000",
            "Largest number of AMP sets that wait for more shards, in the whole node.
The first shard of one more set is refused, which ends that payment; one that arrives in a single
shard needs no waiting and is taken. A set waits two minutes at most.",
        ),
        key(
            "max-held-htlcs-per-channel",
            Kind::Number,
            "241",
            "Largest number of HTLCs of incomplete AMP sets on one channel, 1 to 483.
A channel carries 483 HTLCs in a direction. The default is half of it: strangers who never
complete their sets cannot shut out the payments of others. Messages need no limit of their own:
an HTLC's onion has 1300 bytes for all it says, and what it says is kept only if it is paid.",
        ),
    ],
};

const KEYSEND: Section = Section {
    title: "Keysend",
    table: None,
    keys: &[key(
        "accept-keysend",
        Kind::Switch,
        "false",
        "Accept keysend payments: sent to the node's public key, with their preimage in them.
With false such a payment is refused and nothing is lost. With true each one makes an invoice of
its own in the database, and the node announces that it takes them.",
    )],
};

const FORWARDING_AND_CHANNELS: Section = Section {
    title: "Forwarding and channels",
    table: None,
    keys: &[
        key(
            "base-fee-msat",
            Kind::Number,
            "1000",
            "Fee for each payment that we forward, in msat.",
        ),
        key(
            "fee-rate-ppm",
            Kind::Number,
            "1",
            "Fee on the amount that we forward, in millionths.",
        ),
        key(
            "cltv-delta",
            Kind::Number,
            "80",
            "Blocks between the expiry of an incoming and its outgoing HTLC, at least 48.
It is the time that we have to enforce a forward on the chain. 48 is the least that LDK considers
safe; a larger value makes our channels less attractive to senders.",
        ),
        key(
            "min-channel-size-sat",
            Kind::Number,
            "20000",
            "Smallest channel that others may open to us, in satoshi (1000 at least).
Closing a channel costs an on-chain fee, whatever it holds.",
        ),
        key(
            "require-anchor-reserve",
            Kind::Switch,
            "false",
            "Refuse channels with anchors whose forced close the wallet could not pay for.
Closing a channel by force takes coins of the wallet for fees (see walletbalance,
reserved_balance_anchor_chan). False lets a node without coins receive its first channel; it is
then in the hands of its peer when fees rise.",
        ),
        key(
            "max-dust-exposure-sat",
            Kind::Number,
            "50000",
            "Most that may be at risk in HTLCs of a channel that are too small for the chain, in satoshi.
An HTLC below 354 sat has no output of its own: a forced close gives it to the miners. What goes
beyond the limit is refused. With 0 there are none; a full channel of 483 of them takes 170982.",
        ),
        key(
            "forward-delay",
            Kind::Switch,
            "false",
            "Wait for a short random time before payments are forwarded or received.
True hides a little better who pays whom, since HTLCs are handled in groups. False saves some
50 ms at every hop.",
        ),
    ],
};

const LOGS: Section = Section {
    title: "Logs and metrics",
    table: None,
    keys: &[
        key(
            "log-level",
            Kind::Text,
            "info,ldk=warn",
            "What is logged: off, error, warn, info, debug or trace, also for one part alone.
LDK's info has ten lines for each payment; \"info,ldk=debug\" is info in general and all of LDK.
Parts: chain, channels, invoices, ldk, node, onion, payments, peers, routing, rpc, storage,
wallet, web. Without a level in front, the rest is logged as by default.
Of lines that peers can cause, a few a minute are written, and how many were left out; debug
and trace write all of them (docs/logging.md).",
        ),
        key(
            "log-format",
            Kind::Text,
            "text",
            "How a line of the log looks: text for people, json for machines.",
        ),
        key(
            "metrics-listen",
            Kind::Text,
            "",
            "Address (IP:port) of a page with metrics for Prometheus, such as 127.0.0.1:9740.
Not set: there is none. Who can open the page sees how busy the node is, and needs no password:
use a loopback address, or one that only your monitoring reaches.",
        ),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(|key| key.name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn every_key_is_documented_in_lines_that_fit() {
        for key in all() {
            let fits = |line: &str| !line.is_empty() && line.len() < 98;
            assert!(key.doc.lines().all(fits), "{}", key.name);
        }
    }

    #[test]
    fn the_nearest_name_is_found_through_typing_errors() {
        for (typed, meant) in [
            ("acept-amp", "accept-amp"),
            ("accept_amp", "accept-amp"),
            ("externalip", "external-address"),
            ("bitcoind-rpc-pass", "bitcoind-rpc-password"),
            ("loglevel", "log-level"),
        ] {
            assert_eq!(nearest(typed), meant);
        }
    }
}
