-- Migration 3: workflows of several tasks, and what undoes their steps.

-- What a task is to its workflow, beyond being one of its tasks: JSON, NULL for nearly all.
ALTER TABLE task ADD COLUMN flow TEXT;
-- Of a saga that waits for a stage: how many tasks of that stage have not ended.
ALTER TABLE task ADD COLUMN awaits INTEGER;

CREATE TABLE workflow (
    id       BLOB    PRIMARY KEY,           -- its root's
    state    TEXT    NOT NULL,              -- tasks/workflow.py
    created  INTEGER NOT NULL,
    finished INTEGER,
    open     INTEGER NOT NULL,              -- tasks that have not ended
    forward  INTEGER NOT NULL,              -- of these, the ones that an unwinding stops
    pending  INTEGER NOT NULL,              -- entries to be played
    body     TEXT    NOT NULL               -- JSON: the whole row; the columns above repeat what is looked for
) WITHOUT ROWID;
CREATE INDEX workflow_open ON workflow (state, id) WHERE finished IS NULL;

CREATE TABLE undo (
    workflow BLOB    NOT NULL,
    number   INTEGER NOT NULL,
    position INTEGER NOT NULL,              -- the highest is played first; 0 while its step has not ended
    step     BLOB    NOT NULL,
    state    INTEGER NOT NULL,              -- tasks/unwinding.py
    type     TEXT    NOT NULL,
    outcome  TEXT    NOT NULL,              -- completed, or unknown
    round    INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    source   BLOB,                          -- the task whose type and payload the compensation takes,
    record   BLOB,                          -- or the compensation itself: MessagePack
    PRIMARY KEY (workflow, number)
) WITHOUT ROWID;

-- Waiting and running tasks that were asked to stop, by another node or before a crash.
CREATE INDEX task_asked ON task (owner) WHERE cancel_requested IS NOT NULL AND status < 3;

-- From now on NULL says that a task is alone in its workflow. Those under way get their rows.
UPDATE task SET workflow = id
WHERE workflow IS NULL AND status < 3 AND id IN (SELECT workflow FROM task WHERE workflow IS NOT NULL);
INSERT INTO workflow (id, state, created, open, forward, pending, body)
SELECT workflow, 'running', min(created), count(*), count(*), 0,
       json_object('id', '', 'created', min(created), 'open', count(*), 'forward', count(*))
FROM task WHERE status < 3 AND workflow IS NOT NULL GROUP BY workflow;
