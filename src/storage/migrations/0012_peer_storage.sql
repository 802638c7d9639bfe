-- What peers store with us (BOLT 1, peer_storage): the newest blob of each.
CREATE TABLE peer_storage (
    node_id BLOB PRIMARY KEY,
    -- The block height at which the peer was first seen without a channel; NULL while it has one.
    no_channel_since BIGINT,
    -- Encrypted by the peer. The column is the last one, so that the others are read without it.
    blob BLOB NOT NULL CHECK (length(blob) <= 65531)
);
