-- Lists of payments leave out what failed, deletions what succeeded: neither is to read the others.
DROP INDEX payments_in_flight;
CREATE INDEX payments_by_state ON payments (state, payment_index);
