-- The payments and invoices created on each day (UTC, counted from 1970), so that a list of a time range
-- reads no others. Their indices follow the time of creation, unless the clock was set back.
CREATE TABLE payment_days (
    day INTEGER PRIMARY KEY,
    first_index BIGINT NOT NULL,
    last_index BIGINT NOT NULL
);
INSERT INTO payment_days
    SELECT created_at_ns / 86400000000000, MIN(payment_index), MAX(payment_index) FROM payments GROUP BY 1;
CREATE TABLE invoice_days (
    day INTEGER PRIMARY KEY,
    first_index BIGINT NOT NULL,
    last_index BIGINT NOT NULL
);
INSERT INTO invoice_days
    SELECT created_at / 86400, MIN(add_index), MAX(add_index) FROM invoices GROUP BY 1;

-- The number of payments, since counting them reads all. One row.
CREATE TABLE payment_count (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    payments BIGINT NOT NULL
);
INSERT INTO payment_count SELECT 0, COUNT(*) FROM payments;
