-- Static, hold and keysend invoices; looking things up on invoices with very many payments.

-- NULL: never.
ALTER TABLE invoices ADD COLUMN expires_at BIGINT;
UPDATE invoices SET expires_at = created_at + json_extract(terms, '$.expiry') WHERE kind = 0;
-- Open ones that expire, and those that wait to be paid (open or accepted): of all invoices of the
-- past, none.
CREATE INDEX invoices_expiring ON invoices (expires_at) WHERE state = 0;
CREATE INDEX invoices_pending ON invoices (add_index) WHERE state IN (0, 3);

-- The payments of one invoice in the order of their settlement. What is filtered and added up is in
-- the index, so that a year's sum of an invoice does not read its sets.
DROP INDEX amp_sets_of_invoice;
CREATE INDEX amp_sets_of_invoice
    ON amp_sets (add_index, settle_index, settled_at, amt_paid_msat);

-- Held, or settled and not yet claimed: a handful among a million, so only those are in the index.
DROP INDEX htlcs_unresolved;
CREATE INDEX htlcs_unresolved ON htlcs (state) WHERE claimed = 0 AND state < 2;
