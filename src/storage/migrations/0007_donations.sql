-- The invoices that the donation page ever had; the one with the highest number is the current one.
CREATE TABLE donation_invoices (
    add_index BIGINT PRIMARY KEY REFERENCES invoices (add_index) ON DELETE CASCADE
);
