-- Migration 2: what a backlog larger than memory, several nodes on one file, and damaged bits ask for.

-- Waiting rows by owner and type, so that a handler's next page, and what a dead node left of one type, is one
-- stretch of the index; seq, the rowid, ends every entry.
DROP INDEX task_waiting;
CREATE INDEX task_waiting ON task (owner, type, priority DESC, due) WHERE status < 2;
DROP INDEX task_scheduled;
CREATE INDEX task_scheduled ON task (owner, due) WHERE status = 0;

-- Retries are work under way, which `wait_idle` has to know of among many tasks that are only scheduled.
CREATE INDEX task_retrying ON task (owner, type) WHERE status = 0 AND attempt > 0;

-- CRC-32 of the payload; NULL in rows that were written before.
ALTER TABLE task ADD COLUMN checksum INTEGER;
