//! All config keys by section, with their defaults and help texts.

use super::{Key, Kind, Section, key};

/// All sections, in the order of `--help` and `config.example.toml`.
pub(crate) const SECTIONS: &[Section] = &[
    NODE,
    CONNECTIONS,
    CALLERS,
    BITCOIND,
    AMP,
    KEYSEND,
    FORWARDING_AND_CHANNELS,
    LOGS,
    // Must be last: in TOML, all keys after a table header belong to that table.
    DONATIONS,
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

const DONATIONS: Section = Section {
    title: "Donation page",
    table: Some("donations"),
    keys: &[
        key(
            "donations-listen",
            Kind::Text,
            "",
            "Address (IP:port) to listen on for the donation page, such as 127.0.0.1:8090.
If empty: disabled. The page is served over plain HTTP, for a reverse proxy that adds TLS, and is
separate from gRPC and REST. See docs/donations.md.",
        ),
        key(
            "donations-title",
            Kind::Text,
            "Donations",
            "Title of the page and description of its invoice, one line of 1 to 100 characters.",
        ),
        key(
            "donations-text",
            Kind::Text,
            "",
            "Text below the title, at most 2000 characters.
Plain text; an empty line starts a new paragraph.",
        ),
        key(
            "donations-amounts",
            Kind::Numbers,
            "1000,5000,21000",
            "Suggested amounts in satoshis, at most 8; [] for none.
Donors can always choose a different amount.",
        ),
        key(
            "donations-goal",
            Kind::Number,
            "0",
            "Donation goal in satoshis, shown as a progress bar; 0 disables it.",
        ),
        key(
            "donations-show-messages",
            Kind::Switch,
            "false",
            "Show the donors' messages on the page.
If true, messages are published unmoderated, before you have read them.",
        ),
        key(
            "donations-on-chain",
            Kind::Switch,
            "false",
            "Also show an on-chain address of this node, for donors without Lightning.
All visitors see the same address until it is paid. On-chain donations are not part of the total.",
        ),
        key(
            "donations-base-url",
            Kind::Text,
            "",
            "Public URL of the page, such as https://example.org/donate/.
Required for the HTML snippet that embeds the QR code in another site.",
        ),
        key(
            "donations-expiry",
            Kind::Text,
            "365d",
            "Expiry of the page's invoice: 1min to 365d, or never.
The page switches to a new invoice when a third of this time is left. Printed QR codes can be
paid until their own invoice expires.",
        ),
    ],
};
