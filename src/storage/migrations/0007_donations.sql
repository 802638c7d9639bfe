-- The invoices that the donation page ever had; the one with the highest number is the current one.
CREATE TABLE donation_invoices (
    add_index BIGINT PRIMARY KEY REFERENCES invoices (add_index) ON DELETE CASCADE
);

-- The receiving address of the wallet that the page shows, by its number. One row or none.
CREATE TABLE donation_address (
    id BIGINT PRIMARY KEY CHECK (id = 0),
    address_index BIGINT NOT NULL
);
