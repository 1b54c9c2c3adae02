-- Version 3. The audit trail of a station is found without reading that of all others.

CREATE INDEX stations_identity ON stations (identity);
CREATE INDEX audit_stations ON audit (station);
