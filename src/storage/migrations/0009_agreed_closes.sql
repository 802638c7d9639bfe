-- Closing transactions that both sides have signed, until a transaction that spends the channel is buried.
CREATE TABLE agreed_closes (
    channel_id BLOB PRIMARY KEY,
    -- Spends the channel's funding output with its only input.
    raw_transaction BLOB NOT NULL,
    -- The owner wants our commitment in its place.
    forced BIGINT NOT NULL CHECK (forced IN (0, 1)),
    -- The transaction in a block that spends the channel, and the block's height.
    confirmed_txid BLOB,
    confirmed_height BIGINT,
    CHECK ((confirmed_txid IS NULL) = (confirmed_height IS NULL))
);
