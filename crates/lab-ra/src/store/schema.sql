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

-- The last CRL of each issuing CA.
CREATE TABLE crls (
    generation    INTEGER PRIMARY KEY,
    number        INTEGER NOT NULL,
    this_update_s INTEGER NOT NULL,
    crl           BLOB    NOT NULL,           -- DER
    is_stale      INTEGER NOT NULL            -- it does not say everything any more
) STRICT;

CREATE TRIGGER crl_is_stale AFTER UPDATE OF status, reason ON certificates
WHEN OLD.status IN ('refused', 'expired', 'revoked') OR NEW.status IN ('refused', 'expired', 'revoked')
BEGIN
    UPDATE crls SET is_stale = TRUE WHERE generation = NEW.generation;
END;

-- The hierarchies of this lab: a root with its issuing CA and RA. Their keys and certificates are in files.
CREATE TABLE generations (
    number  INTEGER PRIMARY KEY,
    began_s INTEGER NOT NULL
) STRICT;

CREATE TABLE transactions (
    number         INTEGER PRIMARY KEY,       -- for people
    id             BLOB    NOT NULL UNIQUE,
    body           TEXT    NOT NULL,          -- of the first message
    profile        TEXT,                      -- that its path named
    is_vouched     INTEGER NOT NULL,          -- an RA had put its protection around it
    state          TEXT    NOT NULL,          -- waiting, awaiting-cert-conf, or how it ended
    signer         BLOB,                      -- the peer's certificate; NULL with a MAC, and when it is forgotten
    mac_reference  BLOB,
    protection_alg TEXT    NOT NULL,          -- of the peer; empty when it is forgotten
    peer_nonce     BLOB    NOT NULL,          -- senderNonce of its last message
    sender_nonce   BLOB    NOT NULL,          -- of our last message that wants an answer
    answered_nonce BLOB,                      -- of our message before that
    message        BLOB,                      -- whose answer is delayed
    subject        TEXT    NOT NULL,          -- that it asks for, as a person reads it
    polls_left     INTEGER NOT NULL,
    decision       TEXT,                      -- of a person: open, approved, denied; NULL where none is asked
    denial         TEXT,                      -- what the peer is told
    serial         BLOB,                      -- of the certificate that was issued
    private_key    BLOB,                      -- that was made for it: an EncryptedKey, until the transaction is over
    is_modified    INTEGER NOT NULL,          -- it is not all that was asked for
    began_s        INTEGER NOT NULL,
    deadline_s     INTEGER,                   -- NULL once it is over
    ended_s        INTEGER
) STRICT;

CREATE INDEX transactions_open ON transactions (deadline_s) WHERE deadline_s IS NOT NULL;
CREATE INDEX transactions_ended ON transactions (ended_s) WHERE protection_alg <> '';
