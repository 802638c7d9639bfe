-- What the owner says of transactions and coins of the on-chain wallet.

CREATE TABLE wallet_labels (txid BLOB PRIMARY KEY, label TEXT NOT NULL);

-- Coins that are kept for somebody until a time.
CREATE TABLE wallet_leases (
    txid BLOB NOT NULL,
    vout BIGINT NOT NULL,
    lease_id BLOB NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (txid, vout)
);
