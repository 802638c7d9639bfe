-- What changed in the channel manager since its value in `kv` was written, in this order. The first row has no
-- delta, only the checksum of that value.
CREATE TABLE manager_deltas (
    seq INTEGER PRIMARY KEY,
    -- SHA-256 of the value in `kv`; in later rows, of the checksum before and the delta.
    checksum BLOB NOT NULL CHECK (length(checksum) = 32),
    delta BLOB NOT NULL
);
