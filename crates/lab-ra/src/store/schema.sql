-- Version 1. Times are seconds since 1970.

CREATE TABLE certificates (
    serial         BLOB    NOT NULL UNIQUE,   -- content of the INTEGER
    generation     INTEGER NOT NULL,          -- of the issuing CA
    certificate    BLOB    NOT NULL,          -- DER
    subject        TEXT    NOT NULL,          -- as a person reads it
    not_after_s    INTEGER NOT NULL,
    transaction_id BLOB    UNIQUE,            -- one certificate for each; NULL where it was not asked for with CMP
    status         TEXT    NOT NULL,          -- issued, confirmed, refused, expired, revoked
    reason         INTEGER,                   -- CRLReason of a revoked one
    changed_s      INTEGER NOT NULL
) STRICT;

-- Everything that belongs on a CRL.
CREATE INDEX certificates_revoked ON certificates (generation) WHERE status IN ('refused', 'expired', 'revoked');

CREATE TABLE transactions (
    number         INTEGER PRIMARY KEY,       -- for people
    id             BLOB    NOT NULL UNIQUE,
    body           TEXT    NOT NULL,          -- of the first message
    state          TEXT    NOT NULL,          -- waiting, awaiting-cert-conf, or how it ended
    signer         BLOB,                      -- the peer's certificate; NULL with a MAC, and when it is forgotten
    mac_reference  BLOB,
    protection_alg TEXT    NOT NULL,          -- of the peer
    sender_nonce   BLOB    NOT NULL,          -- of our last message that wants an answer
    answered_nonce BLOB,                      -- of our message before that
    message        BLOB,                      -- whose answer is delayed
    polls_left     INTEGER NOT NULL,
    serial         BLOB,                      -- of the certificate that was issued
    began_s        INTEGER NOT NULL,
    deadline_s     INTEGER,                   -- NULL once it is over
    ended_s        INTEGER
) STRICT;

CREATE INDEX transactions_open ON transactions (deadline_s) WHERE deadline_s IS NOT NULL;
CREATE INDEX transactions_ended ON transactions (ended_s) WHERE protection_alg <> '';
