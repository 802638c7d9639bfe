-- HTLCs that went back to their senders.

-- Of AMP invoices, the oldest first: they are deleted after a while, since strangers can make as many as
-- they like.
CREATE INDEX htlcs_canceled ON htlcs (resolved_at, channel_id, htlc_id)
    WHERE state = 2 AND set_id IS NOT NULL;

-- An invoice is looked up without reading all that it gave back.
DROP INDEX htlcs_of_invoice;
CREATE INDEX htlcs_of_invoice ON htlcs (add_index, state, resolved_at);

-- Those whose invoice was deleted. LDK may still hold them after a crash.
CREATE TABLE given_back (
    channel_id BLOB NOT NULL,
    htlc_id BIGINT NOT NULL,
    payment_hash BLOB NOT NULL,
    resolved_at BIGINT NOT NULL,
    PRIMARY KEY (channel_id, htlc_id)
);
CREATE INDEX given_back_by_time ON given_back (resolved_at, channel_id, htlc_id);
