-- Headers of the blocks that the node has followed, stale ones included: how to leave a stale branch
-- that bitcoind does not know.
CREATE TABLE block_headers (
    block_hash BLOB PRIMARY KEY,
    height BIGINT NOT NULL,
    -- 80 bytes, as on the wire.
    header BLOB NOT NULL,
    -- The work of the chain up to this block, 32 bytes, big-endian.
    chainwork BLOB NOT NULL
);
CREATE INDEX block_headers_by_height ON block_headers (height);
