-- Static, hold and keysend invoices; looking things up on invoices with very many payments.

-- NULL: never.
ALTER TABLE invoices ADD COLUMN expires_at BIGINT;
UPDATE invoices SET expires_at = created_at + json_extract(terms, '$.expiry') WHERE kind = 0;
CREATE INDEX invoices_expiring ON invoices (state, expires_at);

-- The payments of one invoice in the order of their settlement.
DROP INDEX amp_sets_of_invoice;
CREATE INDEX amp_sets_of_invoice ON amp_sets (add_index, settle_index);
