"""The questions, as data. Shares are chosen so that a repetition of a case takes some seconds at most."""

from __future__ import annotations

from benchmarks.case import Case, Question, ours, peer, raw

HUEY_ONE = peer("huey SQLite, 1 caller", "waiting", 0.25, storage="sqlite", callers=1)
HUEY_MANY = peer("huey SQLite, 16 callers", "waiting", 0.25, storage="sqlite", callers=16)
HUEY_MEMORY = peer("huey memory, 1 caller", "waiting", storage="memory", callers=1)
DRAMATIQ = peer("dramatiq stub, 1 caller", "waiting", callers=1)
RAW_1 = raw("SQLite FULL, 1 task per commit", "rows", 0.5, per_commit=1)
RAW_16 = raw("SQLite FULL, 16 tasks per commit", "rows", 2.0, per_commit=16)
RAW_1000 = raw("SQLite FULL, 1000 tasks per commit", "rows", 10.0, per_commit=1000)
RAW_POOL = raw("ThreadPoolExecutor, 4 threads", "submits")

_THROUGHPUT = (
    Question(
        name="memory",
        title="In memory",
        about="No-op tasks, until the last one has ended. Nothing is on disk.",
        cases=(
            raw("SimpleQueue, one hop", "hops", 10.0),
            RAW_POOL,
            ours("memory, 1 caller", "throughput", "waiting", storage="memory", callers=1),
            ours("memory, 16 callers", "throughput", "waiting", storage="memory", callers=16),
            ours("memory, 16 coroutines", "throughput", "coroutines", storage="memory", callers=16),
            ours("memory, dispatch_many(1000)", "throughput", "bulk", storage="memory"),
            ours("memory, dispatch_many(1000), async handler", "throughput", "bulk", storage="memory", handler="async"),
            HUEY_MEMORY,
            peer("huey memory, 16 callers", "waiting", storage="memory", callers=16),
            DRAMATIQ,
            peer("dramatiq stub, 16 callers", "waiting", callers=16),
            peer("APScheduler memory, 1 caller", "waiting", 0.5, storage="memory", callers=1),
        ),
        against={"pool": RAW_POOL.name, "huey": HUEY_MEMORY.name, "dramatiq": DRAMATIQ.name},
    ),
    Question(
        name="durable",
        title="SQLite, callers that wait for the disk",
        about="Each caller dispatches one no-op task after the other, and gets on when it is on disk.",
        cases=(
            RAW_1,
            RAW_16,
            ours("SQLite, 1 caller", "throughput", "waiting", 0.25, storage="sqlite", callers=1),
            ours("SQLite, 16 callers", "throughput", "waiting", storage="sqlite", callers=16),
            ours("SQLite, 64 callers", "throughput", "waiting", storage="sqlite", callers=64),
            ours("SQLite, 16 coroutines", "throughput", "coroutines", storage="sqlite", callers=16),
            ours("SQLite, 64 coroutines", "throughput", "coroutines", storage="sqlite", callers=64),
            ours("SQLite process, 1 caller", "throughput", "waiting", 0.5, storage="process", callers=1),
            ours("SQLite process, 16 callers", "throughput", "waiting", storage="process", callers=16),
            HUEY_ONE,
            HUEY_MANY,
            peer("APScheduler SQLite, 1 caller", "waiting", 0.02, storage="sqlite", callers=1),
        ),
        against={"raw": RAW_1.name, "huey": HUEY_ONE.name, "huey at 16": HUEY_MANY.name},
    ),
    Question(
        name="bulk",
        title="SQLite, in bulk",
        about="One producer with dispatch_many(1000), which waits for each commit. huey has no such call: one by one.",
        cases=(
            RAW_1000,
            ours("SQLite, dispatch_many(1000)", "throughput", "bulk", 5.0, storage="sqlite"),
            ours("SQLite, dispatch_many(1000), async handler", "throughput", "bulk", storage="sqlite", handler="async"),
            ours("SQLite process, dispatch_many(1000)", "throughput", "bulk", 5.0, storage="process"),
            HUEY_ONE,
        ),
        against={"raw": RAW_1000.name, "huey": HUEY_ONE.name},
    ),
    Question(
        name="chains",
        title="Chains of ten continuations",
        about="Each task dispatches the next one in the commit of its own outcome. One chain alone, and many at once.",
        cases=(
            ours("memory, chains", "throughput", "chains", storage="memory"),
            ours("SQLite, chains", "throughput", "chains", storage="sqlite"),
        ),
    ),
    Question(
        name="retries",
        title="A retry storm",
        about="Each task fails twice and then completes, without a pause in between. Each attempt is committed.",
        cases=(
            ours("memory, retry storm", "throughput", "storm", 0.5, storage="memory"),
            ours("SQLite, retry storm", "throughput", "storm", 0.5, storage="sqlite"),
        ),
        figure="attempts/s",
    ),
)

RAW_HOP = raw("one hop", "hop_latency", 0.015, sync=False)
RAW_SYNC_HOP = raw("one sync of 4 KiB and one hop", "hop_latency", 0.015, sync=True)
DRAMATIQ_START = peer("dramatiq stub, dispatch to start", "latency", 0.015)
HUEY_START = peer("huey SQLite, dispatch to start", "latency", 0.015, storage="sqlite")

_LATENCY = (
    Question(
        name="latency",
        title="From dispatch to the start of the handler",
        about="One task each 5 ms, nothing else to do. The peers that poll do so every 2 ms.",
        cases=(
            RAW_HOP,
            ours("memory, dispatch to start", "latency", "latency", 0.015, storage="memory"),
            DRAMATIQ_START,
            peer("huey memory, dispatch to start", "latency", 0.015, storage="memory"),
            peer("APScheduler memory, dispatch to start", "latency", 0.015, storage="memory"),
            RAW_SYNC_HOP,
            ours("SQLite, dispatch to start", "latency", "latency", 0.015, storage="sqlite"),
            ours("SQLite process, dispatch to start", "latency", "latency", 0.015, storage="process"),
            HUEY_START,
            peer("APScheduler SQLite, dispatch to start", "latency", 0.015, storage="sqlite"),
        ),
        figure="p50 ms",
        against={
            "hop": RAW_HOP.name,
            "sync and hop": RAW_SYNC_HOP.name,
            "dramatiq": DRAMATIQ_START.name,
            "huey": HUEY_START.name,
        },
    ),
    Question(
        name="idle",
        title="Nothing to do",
        about="A minute without tasks: processor time, and how often a thread of the process has woken up.",
        cases=(
            ours("memory, idle", "latency", "idle", storage="memory", repeats=1),
            ours("SQLite, idle", "latency", "idle", storage="sqlite", repeats=1),
            peer("huey SQLite, idle", "idle", 0.2, storage="sqlite", repeats=1),
            peer("dramatiq stub, idle", "idle", 0.2, repeats=1),
        ),
        figure="CPU %",
    ),
)

HUEY_AHEAD = peer("huey SQLite, in an hour", "ahead", 0.25, storage="sqlite")
HUEY_RECOVERY = peer("huey SQLite, 10,000 pending", "recovery", 0.5, storage="sqlite")

_BACKLOG = (
    Question(
        name="scheduled",
        title="Scheduled for in an hour",
        about="One producer that waits for each, or in bulk, and what a task takes in memory meanwhile.",
        cases=(
            ours("memory, in an hour", "backlog", "ahead", storage="memory"),
            ours("SQLite, in an hour", "backlog", "ahead", 0.25, storage="sqlite"),
            ours("SQLite, in an hour, dispatch_many(1000)", "backlog", "ahead_in_bulk", storage="sqlite"),
            peer("huey memory, in an hour", "ahead", storage="memory"),
            HUEY_AHEAD,
            peer("dramatiq stub, in an hour", "ahead"),
            peer("APScheduler memory, in an hour", "ahead", 0.5, storage="memory"),
            peer("APScheduler SQLite, in an hour", "ahead", 0.05, storage="sqlite"),
        ),
        against={"huey": HUEY_AHEAD.name},
    ),
    Question(
        name="recovery",
        title="Start after a kill",
        about="From the call of start() to the first run, and until all are done.",
        cases=(
            ours("SQLite, 10,000 pending", "backlog", "recovery", 0.5),
            ours("SQLite, 200,000 pending", "backlog", "recovery", 10.0),
            HUEY_RECOVERY,
        ),
        against={"huey": HUEY_RECOVERY.name},
    ),
    Question(
        name="pending",
        title="A large backlog",
        about="dispatch_many(1000) of tasks that cannot run yet: rate of the first and the last twentieth, and memory.",
        cases=(
            ours("memory, 100,000 waiting", "backlog", "pending", 5.0, storage="memory"),
            ours("SQLite, 100,000 waiting", "backlog", "pending", 5.0, storage="sqlite"),
            ours("SQLite, 1,000,000 waiting", "backlog", "pending", 50.0, storage="sqlite"),
        ),
        figure="full/empty",
    ),
)

_TYPES = {
    (storage, number): ours(
        f"{label}, {number:,} type{'s' * (number > 1)}", "growth", "types", storage=storage, number=number
    )
    for storage, label in (("memory", "memory"), ("sqlite", "SQLite"))
    for number in (1, 10, 100, 1000)
}
_RECORDS = tuple(
    ours(f"SQLite, 10^{power} records", "growth", "records", per_task=10**power / 20_000) for power in (3, 4, 5, 6)
)
_SPINNING = ours("SQLite, beside a busy thread", "spinning", "spinning", storage="sqlite")
_STEPPING = ours(
    "SQLite, beside a busy thread, executemany", "spinning", "spinning", 0.05, storage="sqlite", row_by_row=True
)

_GROWTH = (
    Question(
        name="types",
        title="Many handler types",
        about="dispatch_many(1000); the types take turns.",
        cases=tuple(_TYPES.values()),
        against={"one in memory": _TYPES["memory", 1].name, "one in SQLite": _TYPES["sqlite", 1].name},
    ),
    Question(
        name="records",
        title="Many finished tasks in the file",
        about="dispatch_many(1000) into a file that holds finished tasks.",
        cases=_RECORDS,
        against={"10^3": _RECORDS[0].name},
    ),
    Question(
        name="spinning",
        title="Beside a thread that computes",
        about="dispatch_many(1000) while another thread of the process never waits; with everact's statements of many "
        "rows, and with the same ones row by row.",
        cases=(_SPINNING, _STEPPING),
        against={"executemany": _STEPPING.name},
    ),
)


def _actors(kind: str, label: str) -> tuple[Case, Case]:
    return (
        Case(name=f"start and stop, {label}", program="actor_cases", function="lives", arguments={"kind": kind}),
        Case(
            name=f"messages, {label}", program="actor_cases", function="messages", arguments={"kind": kind}, share=5.0
        ),
    )


_ACTORS = [_actors("pykka", "stock pykka"), _actors("alone", "everact alone"), _actors("spawned", "everact spawned")]

_PARTS = (
    Question(
        name="metrics",
        title="Metrics on and off",
        about="Tasks per second with metrics over those without: pairs in one process, whose order changes.",
        cases=(
            ours("memory, metrics on/off", "metrics_cases", "cost", storage="memory", repeats=1),
            ours("SQLite, metrics on/off", "metrics_cases", "cost", storage="sqlite", repeats=1),
        ),
        figure="clock: median",
    ),
    Question(
        name="scrape",
        title="A scrape",
        about="A page of metrics of a system at work, and of one whose task types have 100,000 strange names.",
        cases=(
            Case(name="scrape, 200 task types", program="metrics_cases", function="scrape"),
            Case(name="hostile names", program="metrics_cases", function="hostile"),
        ),
        figure="kB",
    ),
    Question(
        name="actors",
        title="Actors: start, answer once, stop",
        about="Actors of pykka, of everact standing alone, and spawned in a system.",
        cases=tuple(pair[0] for pair in _ACTORS),
        figure="all, seconds",
    ),
    Question(
        name="messages",
        title="Actors: messages and restarts",
        about="One sender and one actor: tells until all are handled, asks one by one, failures without a backoff.",
        cases=(
            *(pair[1] for pair in _ACTORS),
            Case(name="restarts, everact", program="actor_cases", function="restarts"),
        ),
        figure="tells/s",
    ),
    Question(
        name="limits",
        title="The disk, and the stages of a dispatch",
        about="Syncs of 4 KiB, and what each part of a dispatch in memory takes.",
        cases=(
            raw("fdatasync of 4 KiB", "disk", 0.1),
            Case(name="where the time goes", program="stages", function="stages"),
        ),
        figure="syncs/s",
    ),
)

QUESTIONS = {each.name: each for each in (*_THROUGHPUT, *_LATENCY, *_BACKLOG, *_GROWTH, *_PARTS)}
CASES = {case.name: case for question in QUESTIONS.values() for case in question.cases}
