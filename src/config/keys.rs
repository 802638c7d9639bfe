//! The table of config keys: name, type, default and help text of each.
//!
//! The flags, the environment variables, the parsing of the config file and `config.example.toml`
//! are all derived from it.

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A quoted string.
    Text,
    /// `true` or `false`.
    Switch,
    /// A whole number.
    Number,
    /// A list of strings; comma-separated in a flag or an environment variable.
    List,
    /// A list of whole numbers, written like [`Kind::List`].
    Numbers,
}

/// A config key.
#[derive(Debug)]
pub struct Key {
    /// The name in the file (`accept-amp`); the flag is `--accept-amp`.
    pub name: &'static str,
    pub kind: Kind,
    /// The default, written as for the flag; empty if the key has none.
    pub default: &'static str,
    /// Secrets have no flag, because any local user can list the flags of a process.
    pub secret: bool,
    /// The help text. The first line is a complete summary with the unit; details follow.
    pub doc: &'static str,
}

impl Key {
    /// The name of the environment variable, such as `AMPD_ACCEPT_AMP`.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("AMPD_{}", self.name.replace('-', "_").to_uppercase())
    }
}

/// A group of related keys.
#[derive(Debug)]
pub struct Section {
    pub title: &'static str,
    /// The TOML table that may hold the section's keys, without the table's name as prefix:
    /// `listen` in `[donations]` is `donations-listen`.
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

/// All keys, in the order of `--help` and `config.example.toml`.
pub fn all() -> impl Iterator<Item = &'static Key> {
    SECTIONS.iter().flat_map(|section| section.keys)
}

/// Returns the key with this name.
#[must_use]
pub fn by_name(name: &str) -> Option<&'static Key> {
    all().find(|key| key.name == name)
}

/// Returns true if the config file may have a table with this name.
#[must_use]
pub fn is_table(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.table == Some(name))
}

/// Returns the key name most similar to `name`.
#[must_use]
pub fn nearest(name: &str) -> &'static str {
    let likeness = |key: &Key| strsim::normalized_damerau_levenshtein(key.name, name);
    all()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .map_or("network", |key| key.name)
}

/// All sections, in the order of `--help` and `config.example.toml`.
pub const SECTIONS: &[Section] = &[
    NODE,
    CONNECTIONS,
    CALLERS,
    BITCOIND,
    AMP,
    KEYSEND,
    FORWARDING_AND_CHANNELS,
    LOGS,
    // Must be last: in TOML, all keys after a table header belong to that table.
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
            "Bitcoin network: mainnet, testnet, testnet4, signet or regtest.
Must match bitcoind's network. Each network has its own seed, wallet and channels.",
        ),
        key(
            "data-dir",
            Kind::Text,
            "~/.ampd",
            "ampd's data directory; the files of each network are in its subdirectory <network>.
It holds the seed and the channel state. Keep it on a reliable disk, and never start ampd from a
copy of it: outdated channel state can lose your funds.",
        ),
        key(
            "alias",
            Kind::Text,
            "",
            "The node's name in the public graph, at most 32 bytes.
If empty: the first 20 hex digits of the node's public key.",
        ),
        key(
            "color",
            Kind::Text,
            "#3399ff",
            "The node's color in the public graph, as #rrggbb.",
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
            "Addresses (IP:port) to listen on for connections from peers.
\"[::]:9735\" alone listens on IPv6 and, on Linux, also on IPv4. With an empty list the node only
makes outbound connections.",
        ),
        key(
            "external-address",
            Kind::List,
            "",
            "Addresses (host:port) to announce for this node: IPv4, IPv6, DNS name or .onion.
They are announced once the node has a public channel.",
        ),
    ],
};

const CALLERS: Section = Section {
    title: "API: gRPC and REST",
    table: None,
    keys: &[
        key(
            "rpc-listen",
            Kind::Text,
            "127.0.0.1:10009",
            "Address (IP:port) to listen on for gRPC clients such as ampcli, lncli, wallets and web shops.
Requires TLS and a macaroon. For clients on other machines, also set tls-extra-ip.",
        ),
        key(
            "rest-listen",
            Kind::Text,
            "127.0.0.1:8080",
            "Address (IP:port) to listen on for REST clients; \"none\" disables REST.",
        ),
        key(
            "rest-cors",
            Kind::List,
            "",
            "Origins (https://host) whose pages may call the REST API from a browser; \"*\" allows all.
Calls still require a macaroon.",
        ),
        key(
            "tls-extra-ip",
            Kind::List,
            "",
            "Additional IP addresses for the TLS certificate, for API clients on other machines.
tls.cert in the data directory always names this machine's host name and localhost. It is renewed
when the names change and 30 days before it expires. A certificate of your own is not renewed.",
        ),
        key(
            "tls-extra-domain",
            Kind::List,
            "",
            "Additional DNS names for the TLS certificate, for API clients on other machines.",
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
            "Address of bitcoind's RPC server, as host or host:port.
The default port depends on the network: mainnet 8332, testnet 18332, testnet4 48332, signet
38332, regtest 18443.",
        ),
        key(
            "bitcoind-rpc-user",
            Kind::Text,
            "",
            "User name for bitcoind's RPC; requires bitcoind-rpc-password, excludes bitcoind-rpc-cookie.",
        ),
        Key {
            name: "bitcoind-rpc-password",
            kind: Kind::Text,
            default: "",
            secret: true,
            doc: "Password for bitcoind's RPC.
There is no flag for it, because any local user can list the flags of a process. Set it here or
in the environment, and make this file readable only by ampd's user.",
        },
        key(
            "bitcoind-rpc-cookie",
            Kind::Text,
            "",
            "Path of bitcoind's cookie file, as an alternative to user and password.
If neither is set: .cookie in bitcoind's default data directory, ~/.bitcoin, or in its network
subdirectory if the network is not mainnet.",
        ),
        key(
            "chain-poll-interval",
            Kind::Text,
            "5s",
            "How often to poll bitcoind for new blocks (50ms to 1min).
A longer interval means less work for bitcoind, but blocks are noticed later.",
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
            "Accept spontaneous AMP payments (without an invoice), sent to the node's public key.
If false, such payments are failed back. If true, any sender can make the node hold HTLCs for up
to two minutes, within the limits below. AMP invoices can be paid in either case.",
        ),
        key(
            "max-htlcs-per-set",
            Kind::Number,
            "256",
            "Maximum number of HTLCs (shards) in one AMP set, 1 to 2048.
A further shard is failed back, which fails the payment. lnd sends at most 16 shards by default;
large payments over many small channels need more.",
        ),
        key(
            "max-open-sets",
            Kind::Number,
            "1000",
            "Maximum number of incomplete AMP sets in the whole node.
The first shard of a further set is failed back, which fails that payment. A payment that arrives
in a single shard is always accepted. An incomplete set is failed back after two minutes.",
        ),
        key(
            "max-held-htlcs-per-channel",
            Kind::Number,
            "241",
            "Maximum number of HTLCs of incomplete AMP sets on one channel, 1 to 483.
A channel carries at most 483 HTLCs in each direction. The default is half of that, so senders
who never complete their sets cannot block other payments. Messages need no limit of their own:
an onion has 1300 bytes, and the records of an HTLC are stored only once it is paid.",
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
        "Accept keysend payments, sent to the node's public key with the preimage in the onion.
If false, such payments are failed back. If true, each payment adds an invoice to the database,
and the node announces keysend support.",
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
            "Base fee for each forwarded HTLC, in msat.",
        ),
        key(
            "fee-rate-ppm",
            Kind::Number,
            "1",
            "Proportional fee on the forwarded amount, in millionths (ppm).",
        ),
        key(
            "cltv-delta",
            Kind::Number,
            "80",
            "CLTV delta of forwards, in blocks, at least 48.
The time to claim the incoming HTLC on chain once the outgoing one is settled. 48 is the minimum
that LDK considers safe; senders prefer channels with a smaller delta.",
        ),
        key(
            "min-channel-size-sat",
            Kind::Number,
            "20000",
            "Minimum capacity of channels opened by peers, in satoshis, at least 1000.
Closing a channel costs an on-chain fee, however small its balance.",
        ),
        key(
            "require-anchor-reserve",
            Kind::Switch,
            "false",
            "Refuse anchor channels if the wallet cannot pay the fees of a force close.
Force-closing an anchor channel spends wallet coins on fees (see reserved_balance_anchor_chan in
walletbalance). False lets a node without coins receive its first channel, but it may then be
unable to get a force close confirmed when fees rise.",
        ),
        key(
            "max-dust-exposure-sat",
            Kind::Number,
            "50000",
            "Maximum total of dust HTLCs per channel, in satoshis.
An HTLC below 354 sat has no output in the commitment transaction: on a force close its amount
goes to fees. HTLCs beyond the limit are failed back. 0 allows no dust HTLCs; 170982 allows all
483 HTLCs of a channel to be dust.",
        ),
        key(
            "forward-delay",
            Kind::Switch,
            "false",
            "Wait a short random time before forwarding or receiving HTLCs.
True improves privacy a little, because HTLCs are handled in batches. False saves about 50 ms
at every hop.",
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
            "Log level: off, error, warn, info, debug or trace, optionally per subsystem.
\"info,ldk=debug\" logs everything at info and LDK at debug. LDK's info level has about ten lines
per payment. Subsystems: chain, channels, invoices, ldk, node, onion, payments, peers, routing,
rpc, storage, wallet, web. If only subsystems are given, the rest keep the default level.
Lines that peers can cause are rate-limited and the number of suppressed lines is logged; debug
and trace lines are not limited (docs/logging.md).",
        ),
        key(
            "log-format",
            Kind::Text,
            "text",
            "Log format: text or json.",
        ),
        key(
            "metrics-listen",
            Kind::Text,
            "",
            "Address (IP:port) to listen on for Prometheus, such as 127.0.0.1:9740.
If empty: disabled. There is no authentication, and the metrics reveal the node's activity: use a
loopback address, or one that only your monitoring can reach.",
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
    fn help_texts_fit_the_line_width() {
        for key in all() {
            let fits = |line: &str| !line.is_empty() && line.len() < 98;
            assert!(key.doc.lines().all(fits), "{}", key.name);
        }
    }

    #[test]
    fn nearest_name_tolerates_typos() {
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
