-- The number of forwards in each day and hour (UTC, counted from 1970), by which a page far from the
-- beginning of a list is found without reading what it skips.
CREATE TABLE forward_days (
    day INTEGER PRIMARY KEY,
    forwards BIGINT NOT NULL
);
INSERT INTO forward_days SELECT forwarded_at_ns / 86400000000000, COUNT(*) FROM forwards GROUP BY 1;
CREATE TABLE forward_hours (
    hour INTEGER PRIMARY KEY,
    forwards BIGINT NOT NULL
);
INSERT INTO forward_hours SELECT forwarded_at_ns / 3600000000000, COUNT(*) FROM forwards GROUP BY 1;

-- A list of few channels reads no forwards of others.
CREATE INDEX forwards_by_scid_in ON forwards (scid_in, forwarded_at_ns, fee_msat);
CREATE INDEX forwards_by_scid_out ON forwards (scid_out, forwarded_at_ns, fee_msat);
