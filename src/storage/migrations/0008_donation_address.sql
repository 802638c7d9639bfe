-- The receiving address of the wallet that the page shows, by its number. One row or none.
CREATE TABLE donation_address (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    address_index BIGINT NOT NULL
);
