"""The error tree: each message says what failed, for which task, and what to do; its facts are attributes too."""

import inspect
import pickle
import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from everact.tasks import errors
from everact.tasks.errors import (
    ActorDead,
    ActorStartFailed,
    AskCycle,
    AskTimeout,
    AttemptOver,
    BlockingCallError,
    CancelRequested,
    CompensationError,
    ConfigurationError,
    EverActError,
    ForkedSystem,
    HandlerError,
    HookTimeout,
    IllegalMove,
    MailboxFull,
    MigrationError,
    NotOwner,
    NotStuck,
    PayloadError,
    PoisonTask,
    RestartsExhausted,
    ResultError,
    SagaError,
    StepFailed,
    StorageBusy,
    StorageError,
    StorageFull,
    StorageUnavailable,
    SystemNotRunning,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
    TaskQuarantined,
    TaskTimeout,
    TaskTypeUnknown,
    UnexpectedCancel,
    WaitTimeout,
    WouldDeadlock,
)

ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")

# Their messages are written where they are raised, and tested there.
FREE_TEXT = (
    EverActError,
    ActorDead,
    StorageError,
    CancelRequested,
    ConfigurationError,
    HandlerError,
    IllegalMove,
    MigrationError,
    PayloadError,
    ResultError,
    SagaError,
    StorageFull,
    WaitTimeout,
    WouldDeadlock,
)

# Error, the whole of its message, its attributes.
CASES: list[tuple[Callable[[], BaseException], str, dict[str, object]]] = [
    (
        lambda: SystemNotRunning("shop", "stopped"),
        "actor system 'shop' is stopped; use it inside `with ActorSystem(...)`, or between start() and stop()",
        {"name": "shop", "state": "stopped"},
    ),
    (
        lambda: SystemNotRunning("shop", "stopped", ValueError("no stock")),
        (
            "actor system 'shop' is stopped since a failure was escalated to it (ValueError: no stock); "
            "use it inside `with ActorSystem(...)`, or between start() and stop()"
        ),
        {"name": "shop", "state": "stopped"},
    ),
    (
        lambda: ActorStartFailed("shop/user/stock", "OSError: no such file"),
        (
            "shop/user/stock could not start (OSError: no such file); it is not spawned. "
            "Mend the cause and spawn it again"
        ),
        {"actor": "shop/user/stock"},
    ),
    (
        lambda: AskCycle(("a", "b", "a")),
        (
            "this ask would wait for itself: a -> b -> a; "
            "use tell and answer in a message of its own, or do not wait for the future inside an actor"
        ),
        {"path": ("a", "b", "a")},
    ),
    (
        lambda: AskTimeout("shop/user/stock", 2.5),
        (
            "2.5 seconds passed without a reply from shop/user/stock; "
            "give a longer timeout, or set `ask_timeout` on its class"
        ),
        {"actor": "shop/user/stock", "seconds": 2.5},
    ),
    (
        lambda: MailboxFull("shop/user/stock", 10, "this message was dropped"),
        (
            "the mailbox of shop/user/stock holds 10 messages and is full; this message was dropped; "
            "send less, raise its mailbox_bound, or choose another overflow rule"
        ),
        {"actor": "shop/user/stock", "bound": 10},
    ),
    (
        lambda: RestartsExhausted("shop/user", "shop/user/stock", "ValueError: x", 3, 60.0),
        (
            "shop/user gives up: shop/user/stock failed (ValueError: x), which would be more than "
            "3 restart(s) in 60 s; mend the cause, or raise its intensity"
        ),
        {"supervisor": "shop/user", "child": "shop/user/stock"},
    ),
    (
        lambda: ForkedSystem("shop"),
        (
            "actor system 'shop' was started before this process was forked, and its threads live in the parent; "
            "start an ActorSystem of its own in each child (gunicorn: in post_fork)"
        ),
        {"name": "shop"},
    ),
    (
        lambda: BlockingCallError("dispatch", "journal"),
        (
            "dispatch() blocks, and was called on everact's journal thread; in async handlers await the handle, "
            "or the async form (dispatch_async, cancel_async, wait_async, ...)"
        ),
        {"call": "dispatch", "thread": "journal"},
    ),
    (
        lambda: AttemptOver(ID, 2),
        (
            f"attempt 2 of task {ID} has ended, what its context dispatches now would be lost; call ctx.dispatch() "
            "before the handler or hook returns, or keep the system and use system.dispatch()"
        ),
        {"task_id": ID, "attempt": 2},
    ),
    (
        lambda: TaskTypeUnknown("shop.Pay", ("shop.Ship", "shop.Bill")),
        (
            "no handler is registered for shop.Pay; add its handler to ActorSystem(handlers=[...]). "
            "Registered: shop.Ship, shop.Bill"
        ),
        {"task_type": "shop.Pay"},
    ),
    (
        lambda: TaskNotFound(ID),
        (f"no task {ID} in this storage; check the id, and that the system has the storage URL it was dispatched to"),
        {"task_id": ID},
    ),
    (
        lambda: NotOwner(ID, 7),
        (
            f"task {ID} belongs to node incarnation 7, which is alive; ask the process that runs it, or stop "
            "that process first"
        ),
        {"task_id": ID, "owner": 7},
    ),
    (
        lambda: TaskTimeout(ID, 3, 2.5),
        (
            f"attempt 3 of task {ID} ran longer than its timeout of 2.5 s; raise the handler's `timeout`, or have it "
            "check ctx.cancellation"
        ),
        {"task_id": ID, "attempt": 3, "seconds": 2.5},
    ),
    (
        lambda: HookTimeout("on_error", ID, 30.0),
        f"on_error of task {ID} ran longer than its hook_timeout of 30 s; move long work into a task of its own",
        {"hook": "on_error", "task_id": ID, "seconds": 30.0},
    ),
    (
        lambda: PoisonTask(ID, "shop.Render", 3),
        (
            f"the process died 3 times while task {ID} (shop.Render) ran, so it is not started again; "
            "look for what kills it (memory, a native library, os._exit), then requeue it"
        ),
        {"task_id": ID, "crashes": 3},
    ),
    (
        lambda: UnexpectedCancel(ID, CancelRequested()),
        (
            f"the handler of task {ID} raised CancelRequested though nobody had asked to cancel it; a library's own "
            "timeout often does this: catch it in the handler and raise an ordinary exception"
        ),
        {"task_id": ID},
    ),
    (
        lambda: TaskFailed(ID, "ValueError", "no such order", 4),
        (
            f"task {ID} failed after 4 attempt(s) with ValueError: no such order; system.requeue(id) runs it again as "
            "a new task"
        ),
        {"task_id": ID, "error_type": "ValueError", "error_text": "no such order", "attempts": 4},
    ),
    (
        lambda: TaskQuarantined(ID, "PayloadError", "bad signature", 0),
        (
            f"task {ID} was quarantined after 0 attempt(s) with PayloadError: bad signature; system.requeue(id) runs "
            "it again as a new task"
        ),
        {"task_id": ID, "error_type": "PayloadError", "error_text": "bad signature", "attempts": 0},
    ),
    (
        lambda: CompensationError(ID, "cleanup"),
        (
            f"task {ID} is a cleanup, which nothing undoes and which aborts nothing; "
            "call compensate_with() and abort_workflow() in the steps themselves"
        ),
        {"task_id": ID, "kind": "cleanup"},
    ),
    (
        lambda: StepFailed("order", "charge", "ValueError: no funds"),
        (
            "saga 'order' ends, as step 'charge' did not complete (ValueError: no funds); "
            "give the step critical=False if the saga is to go on without it"
        ),
        {"saga": "order", "step": "charge"},
    ),
    (
        lambda: NotStuck(ID, "running"),
        f"workflow {ID} is running; only a stuck one can be resumed, system.workflows(state=...) lists those",
        {"workflow_id": ID, "state": "running"},
    ),
    (lambda: TaskCancelled(ID), f"task {ID} was cancelled", {"task_id": ID, "reason": ""}),
    (lambda: TaskCancelled(ID, "typo"), f"task {ID} was cancelled: typo", {"task_id": ID, "reason": "typo"}),
    (
        lambda: StorageUnavailable("disk I/O error", ID, outcome="unknown"),
        (
            f"storage did not confirm the write for task {ID} (disk I/O error); it may or may not be stored: dispatch "
            "it again with the same id="
        ),
        {"task_id": ID, "outcome": "unknown"},
    ),
    (
        lambda: StorageUnavailable("locked"),
        "storage cannot be used (locked); nothing was stored",
        {"task_id": None, "outcome": "refused"},
    ),
    (
        lambda: StorageBusy("tasks.db: database is locked, SQLITE_BUSY"),
        (
            "another process holds the write lock of the database, nothing was stored (tasks.db: database is locked, "
            "SQLITE_BUSY); try again, and if this goes on, find the process that keeps a transaction open"
        ),
        {"task_id": None, "outcome": "refused"},
    ),
]
CLASSES = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind.__module__ == errors.__name__]


def named(case: object) -> str | None:
    return type(case()).__name__ if callable(case) else ""


@pytest.mark.parametrize(("make", "message", "attributes"), CASES, ids=named)
def test_an_error_says_what_failed_for_which_task_and_what_to_do(
    make: Callable[[], BaseException], message: str, attributes: dict[str, object]
) -> None:
    assert str(make()) == message


@pytest.mark.parametrize(("make", "message", "attributes"), CASES, ids=named)
def test_the_facts_of_a_message_are_attributes_too(
    make: Callable[[], BaseException], message: str, attributes: dict[str, object]
) -> None:
    error = make()
    assert {name: getattr(error, name) for name in attributes} == attributes


@pytest.mark.parametrize("kind", FREE_TEXT, ids=lambda kind: kind.__name__)
def test_other_errors_carry_the_message_that_they_are_given(kind: type[BaseException]) -> None:
    assert str(kind("what failed; what to do")) == "what failed; what to do"


def test_every_error_class_is_among_these_cases() -> None:
    assert {type(make()) for make, _, _ in CASES} | set(FREE_TEXT) == set(CLASSES)


def test_an_unknown_type_beside_many_known_ones_names_the_first_ten() -> None:
    known = tuple(f"shop.T{n}" for n in range(12))
    message = str(TaskTypeUnknown("shop.Pay", known))
    assert message.endswith("Registered: " + ", ".join(known[:10]) + ", ...")
    assert str(TaskTypeUnknown("shop.Pay", known[:10])).endswith("shop.T9")
    assert str(TaskTypeUnknown("shop.Pay", ())).endswith("Registered: none")


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    drawn: dict[str, tuple[str, str | None]] = {}
    path = ["EverActError"]
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r" {4}([│├└─ ]+)(\w+)(?: \(([\w, ]+)\))?(?: {2,}|$)", line)
        if found:
            depth = len(found[1]) // 4
            path[depth:] = [found[2]]
            drawn[found[2]] = (path[depth - 1], found[3])
    real = {
        kind.__name__: (
            kind.__bases__[0].__name__,
            ", ".join(base.__name__ for base in kind.__bases__[1:]) or None,
        )
        for kind in CLASSES
        if kind not in (EverActError, CancelRequested)
    }
    assert drawn == real


def test_the_request_to_stop_passes_through_except_exception() -> None:
    assert not issubclass(CancelRequested, Exception)
    assert not issubclass(CancelRequested, EverActError)


def test_what_result_raises_after_a_cancel_is_an_ordinary_exception() -> None:
    assert issubclass(TaskCancelled, Exception)


def test_a_quarantined_task_can_be_caught_as_a_failed_one() -> None:
    with pytest.raises(TaskFailed):
        raise TaskQuarantined(ID, "PayloadError", "bad signature", 0)


@pytest.mark.parametrize(("make", "message", "attributes"), CASES, ids=named)
def test_an_error_survives_the_way_to_another_process(
    make: Callable[[], BaseException],
    message: str,
    attributes: dict[str, object],
) -> None:
    """An exception that does not unpickle breaks a ProcessPoolExecutor and hangs a multiprocessing.Pool."""
    arrived: Any = pickle.loads(pickle.dumps(make()))  # noqa: S301 - bytes of our own
    assert type(arrived) is type(make())
    assert str(arrived) == message
    assert {name: getattr(arrived, name) for name in attributes} == attributes
