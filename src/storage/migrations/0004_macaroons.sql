-- What signs macaroons. Whoever deletes a key ends all macaroons that it signed.
CREATE TABLE macaroon_root_keys (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL
) STRICT;
