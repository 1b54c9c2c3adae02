-- Version 2. An exchange may be `deposited`: its request was given away as a file, and its answer is waited for.

DROP INDEX exchanges_on_their_way;
CREATE INDEX exchanges_on_their_way ON exchanges (station) WHERE stage IN ('held', 'asked', 'deposited');
