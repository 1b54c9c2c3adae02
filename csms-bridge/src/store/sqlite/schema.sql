-- Version 1. Columns in `_ms` and `_s` are times since 1970. All that is one batch is one transaction.

CREATE TABLE stations (
    number    INTEGER PRIMARY KEY,
    listener  TEXT    NOT NULL,          -- empty for the one that has no name
    prefix    TEXT    NOT NULL,          -- the path before the identity
    identity  TEXT    NOT NULL,
    facts     TEXT    NOT NULL,          -- JSON: boot state, last Hello
    seen_at_s INTEGER NOT NULL,
    UNIQUE (listener, prefix, identity)
) STRICT;

CREATE INDEX stations_seen ON stations (seen_at_s);

-- Exchanges that are not finished.
CREATE TABLE exchanges (
    number      INTEGER PRIMARY KEY,     -- in the order of their arrival
    station     INTEGER NOT NULL REFERENCES stations,
    id          BLOB    NOT NULL,
    route       TEXT    NOT NULL,
    request     BLOB    NOT NULL,        -- DER
    stage       TEXT    NOT NULL,        -- held, asked, answered, failed
    response    BLOB,                    -- DER, where it is answered
    error       TEXT,                    -- where it has failed
    at_ms       INTEGER NOT NULL,        -- since when it is in this stage
    UNIQUE (station, id)
) STRICT;

CREATE INDEX exchanges_on_their_way ON exchanges (station) WHERE stage IN ('held', 'asked');

-- Finished exchanges that are remembered, so that a late call brings none back to life.
CREATE TABLE done (
    number  INTEGER PRIMARY KEY,
    station INTEGER NOT NULL REFERENCES stations,
    id      BLOB    NOT NULL,
    at_ms   INTEGER NOT NULL,
    UNIQUE (station, id)
) STRICT;

-- Who asked what when, and what came of it.
CREATE TABLE audit (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    station         INTEGER NOT NULL REFERENCES stations,
    exchange        BLOB    NOT NULL,
    route           TEXT    NOT NULL,
    operation       TEXT,                -- body of the request, as its outer tag says
    transaction_id  BLOB,
    request_bytes   INTEGER NOT NULL,
    request_sha256  BLOB    NOT NULL,
    accepted_at_s   INTEGER NOT NULL,
    target          TEXT,                -- URL that it was written to
    outcome         TEXT    NOT NULL,    -- held, asked, answered, failed
    error           TEXT,
    outcome_at_s    INTEGER NOT NULL,
    response_bytes  INTEGER,
    response_sha256 BLOB,
    done_at_s       INTEGER
) STRICT;

CREATE INDEX audit_exchanges ON audit (station, exchange);
CREATE INDEX audit_transactions ON audit (station, transaction_id) WHERE target IS NOT NULL;
CREATE INDEX audit_failures ON audit (number) WHERE outcome = 'failed';
CREATE INDEX audit_age ON audit (accepted_at_s);
