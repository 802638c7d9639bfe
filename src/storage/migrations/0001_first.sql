-- Plain SQL that PostgreSQL would take, too. Amounts are msat, times are seconds since 1970 unless
-- the name says otherwise, identifiers are 32 bytes, states are the numbers of the Rust enums.

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- LDK's key-value store.
CREATE TABLE kv (
    primary_namespace TEXT NOT NULL,
    secondary_namespace TEXT NOT NULL,
    key TEXT NOT NULL,
    value BLOB NOT NULL,
    PRIMARY KEY (primary_namespace, secondary_namespace, key)
);

CREATE TABLE monitors (name TEXT PRIMARY KEY, bytes BLOB NOT NULL);
CREATE TABLE monitor_updates (
    name TEXT NOT NULL,
    update_id BIGINT NOT NULL,
    bytes BLOB NOT NULL,
    PRIMARY KEY (name, update_id)
);
CREATE TABLE archived_monitors (name TEXT PRIMARY KEY, bytes BLOB NOT NULL);

-- The on-chain wallet's change sets, in order.
CREATE TABLE wallet_changes (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);

CREATE TABLE peers (node_id BLOB PRIMARY KEY, address TEXT NOT NULL);

CREATE TABLE closed_channels (
    channel_id BLOB PRIMARY KEY,
    closed_at BIGINT NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE forwards (
    id INTEGER PRIMARY KEY,
    forwarded_at BIGINT NOT NULL,
    record TEXT NOT NULL
);

CREATE TABLE invoices (
    add_index BIGINT PRIMARY KEY,
    kind SMALLINT NOT NULL,
    payment_hash BLOB NOT NULL UNIQUE,
    payment_addr BLOB NOT NULL UNIQUE,
    preimage BLOB,
    terms TEXT NOT NULL,
    value_msat BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    settle_index BIGINT UNIQUE,
    settled_at BIGINT,
    amt_paid_msat BIGINT NOT NULL
);

CREATE TABLE amp_sets (
    set_id BLOB PRIMARY KEY,
    add_index BIGINT NOT NULL REFERENCES invoices (add_index),
    state SMALLINT NOT NULL,
    settle_index BIGINT UNIQUE,
    settled_at BIGINT,
    amt_paid_msat BIGINT NOT NULL
);
CREATE INDEX amp_sets_of_invoice ON amp_sets (add_index);

CREATE TABLE htlcs (
    channel_id BLOB NOT NULL,
    htlc_id BIGINT NOT NULL,
    add_index BIGINT NOT NULL REFERENCES invoices (add_index),
    set_id BLOB,
    payment_hash BLOB NOT NULL,
    scid BIGINT NOT NULL,
    amount_msat BIGINT NOT NULL,
    total_msat BIGINT NOT NULL,
    accept_height BIGINT NOT NULL,
    accepted_at BIGINT NOT NULL,
    resolved_at BIGINT,
    expiry_height BIGINT NOT NULL,
    claim_deadline BIGINT,
    state SMALLINT NOT NULL,
    claimed SMALLINT NOT NULL,
    custom_records TEXT NOT NULL,
    share BLOB,
    child_index BIGINT,
    preimage BLOB,
    ephemeral_key BLOB,
    PRIMARY KEY (channel_id, htlc_id)
);
CREATE INDEX htlcs_of_invoice ON htlcs (add_index);
CREATE INDEX htlcs_of_set ON htlcs (set_id);
CREATE INDEX htlcs_of_hash ON htlcs (payment_hash);
-- What must be looked at again at start: held, or settled and not yet claimed.
CREATE INDEX htlcs_unresolved ON htlcs (state, claimed);

CREATE TABLE payments (
    payment_index BIGINT PRIMARY KEY,
    identifier BLOB NOT NULL UNIQUE,
    created_at_ns BIGINT NOT NULL,
    state SMALLINT NOT NULL,
    failure_reason SMALLINT NOT NULL,
    preimage BLOB,
    root BLOB,
    terms TEXT NOT NULL
);
CREATE INDEX payments_in_flight ON payments (state);

CREATE TABLE attempts (
    attempt_id BIGINT PRIMARY KEY,
    payment_index BIGINT NOT NULL REFERENCES payments (payment_index) ON DELETE CASCADE,
    payment_hash BLOB NOT NULL,
    share BLOB,
    child_index BIGINT,
    state SMALLINT NOT NULL,
    attempt_time_ns BIGINT NOT NULL,
    resolve_time_ns BIGINT,
    preimage BLOB,
    route TEXT NOT NULL,
    failure TEXT
);
CREATE INDEX attempts_of_payment ON attempts (payment_index);
