-- What an RA passes on to the server behind it. Times are seconds since 1970.

CREATE TABLE forwards (
    id             BLOB    PRIMARY KEY,       -- transactionID
    body           TEXT    NOT NULL,          -- of the first message
    forward        TEXT    NOT NULL,          -- how its messages go on
    progress       TEXT    NOT NULL,
    signer         BLOB,                      -- the end entity's certificate; NULL with a MAC, and when it is forgotten
    mac_reference  BLOB,
    protection_alg TEXT    NOT NULL,          -- of the end entity; empty when it is forgotten
    awaited_for    TEXT    NOT NULL,          -- body of the message whose answer is awaited, whatever is polled for it
    sent_body      TEXT    NOT NULL,          -- of the message that was passed on last
    sent_nonce     BLOB    NOT NULL,          -- its senderNonce
    nonce          BLOB    NOT NULL,          -- senderNonce of what the end entity got last
    answered_nonce BLOB,                      -- of what it got before that
    response       BLOB,                      -- of the server behind, to the message that was passed on last
    deadline_s     INTEGER NOT NULL           -- until when it is open, or remembered
) STRICT, WITHOUT ROWID;

CREATE INDEX forwards_deadline ON forwards (deadline_s) WHERE protection_alg <> '';

-- Messages on their way into files, in order.
CREATE TABLE outbox (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    message        BLOB    NOT NULL,
    is_bundled     INTEGER NOT NULL,          -- it goes as it is; 0: it waits for others to go with
    since_s        INTEGER NOT NULL
) STRICT;

-- Nested messages whose answer is awaited.
CREATE TABLE bundles (
    id             BLOB    PRIMARY KEY,       -- transactionID
    message        BLOB    NOT NULL,
    deadline_s     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Requests that are passed on only when a person says so.
CREATE TABLE approvals (
    number         INTEGER PRIMARY KEY AUTOINCREMENT, -- for people
    id             BLOB    NOT NULL UNIQUE,   -- transactionID
    body           TEXT    NOT NULL,
    subject        TEXT    NOT NULL,          -- that it asks for, as a person reads it
    message        BLOB    NOT NULL,          -- as it was received
    profile        TEXT,                      -- that its path named
    began_s        INTEGER NOT NULL,
    decision       TEXT    NOT NULL,          -- open, approved, denied
    denial         TEXT                       -- what the requester is told
) STRICT;

-- At a CA behind carried files: answers whose messages may still be there.
CREATE TABLE carried (
    digest         BLOB    PRIMARY KEY,       -- SHA-256 of the message
    answer         BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
