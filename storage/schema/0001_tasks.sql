-- Migration 1: tasks, what happened to them, and the nodes that ran them.
-- Times are microseconds since the Unix epoch, ids are the 16 bytes of a UUID.

-- The wide columns come last: what is counted and claimed by is then read without their overflow pages.
CREATE TABLE task (
    seq              INTEGER PRIMARY KEY,   -- given by the journal; cheaper to update by than the id
    id               BLOB    NOT NULL UNIQUE,
    type             TEXT    NOT NULL,
    status           INTEGER NOT NULL,      -- tasks/status.py; terminal from 3 on
    owner            INTEGER NOT NULL,      -- the incarnation that runs it
    priority         INTEGER NOT NULL,
    due              INTEGER NOT NULL,
    attempt          INTEGER NOT NULL DEFAULT 0,
    crashes          INTEGER NOT NULL DEFAULT 0,
    suspect          INTEGER NOT NULL DEFAULT 0,
    created          INTEGER NOT NULL,
    started          INTEGER,
    finished         INTEGER,
    codec            TEXT    NOT NULL DEFAULT 'json',
    version          INTEGER NOT NULL DEFAULT 1,
    key_id           TEXT,
    key              TEXT,
    queue            TEXT    NOT NULL,
    kind             TEXT    NOT NULL,
    tags             TEXT,                  -- JSON; NULL when there are none
    parent           BLOB,
    workflow         BLOB,                  -- NULL for a root, which is its own workflow
    retry_of         BLOB,
    cancel_requested TEXT,
    headers          TEXT,                  -- JSON
    error            TEXT,                  -- JSON
    result           BLOB,
    payload          BLOB    NOT NULL
);

-- Each index is partial, since each one costs every insert. Retention brings its own with its migration.
CREATE INDEX task_waiting ON task (priority DESC, due) WHERE status < 2;  -- seq, the rowid, ends every entry
CREATE INDEX task_scheduled ON task (due) WHERE status = 0;
CREATE INDEX task_running ON task (owner, type) WHERE status = 2;
CREATE UNIQUE INDEX task_key ON task (type, key) WHERE key IS NOT NULL AND status < 3;
CREATE INDEX task_child ON task (workflow) WHERE workflow IS NOT NULL;

-- Only what is out of the ordinary: the times of the normal moves are columns of the task.
CREATE TABLE history (
    task    BLOB    NOT NULL,
    at      INTEGER NOT NULL,
    event   TEXT    NOT NULL,
    attempt INTEGER NOT NULL,
    detail  TEXT    NOT NULL
);
CREATE INDEX history_of_task ON history (task);

-- One start of one node. A row without `ended` whose lock file nobody holds has crashed.
CREATE TABLE incarnation (
    number  INTEGER PRIMARY KEY,
    started INTEGER NOT NULL,
    ended   INTEGER,
    pid     INTEGER NOT NULL,
    host    TEXT    NOT NULL
);

-- Who took over the waiting tasks of one type that a dead incarnation had left behind.
CREATE TABLE adoption (
    incarnation INTEGER NOT NULL,
    type        TEXT    NOT NULL,
    adopter     INTEGER NOT NULL,
    PRIMARY KEY (incarnation, type)
) WITHOUT ROWID;
