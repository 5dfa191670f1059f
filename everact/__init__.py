"""everact: durable background tasks and supervised actors inside your Python application.

    from everact import ActorSystem, task

Where things are: `everact.tasks` is the vocabulary, `everact.actors` the happy path from dispatch to handler,
`everact.supervision` the unhappy one, `everact.storage` keeps records. This module is the front door; what it does
not show is not public.
"""

import logging as _logging

from everact.actor_tree import ActorInfo as ActorInfo
from everact.actors.actor import Actor as Actor
from everact.actors.envelope import Terminated as Terminated
from everact.actors.future import Future as Future
from everact.actors.mailbox import Overflow as Overflow
from everact.actors.proxy import ActorProxy as ActorProxy
from everact.actors.ref import ActorRef as ActorRef
from everact.config import Settings as Settings
from everact.inspection import Health as Health
from everact.log_context import TaskContextFilter as TaskContextFilter
from everact.supervision.backoff import Backoff as Backoff
from everact.supervision.child_spec import ChildSpec as ChildSpec
from everact.supervision.child_spec import Directive as Directive
from everact.supervision.child_spec import Restart as Restart
from everact.supervision.intensity import Intensity as Intensity
from everact.supervision.pool_router import PoolRouter as PoolRouter
from everact.supervision.pool_router import Routing as Routing
from everact.supervision.strategy import Strategy as Strategy
from everact.supervision.supervisor import Supervisor as Supervisor
from everact.system import ActorSystem as ActorSystem
from everact.task_handle import TaskHandle as TaskHandle
from everact.tasks import events as events
from everact.tasks.cancellation import CancellationToken as CancellationToken
from everact.tasks.cancellation import CancelOutcome as CancelOutcome
from everact.tasks.cancellation import CancelReason as CancelReason
from everact.tasks.cancellation import WorkflowCancelOutcome as WorkflowCancelOutcome
from everact.tasks.context import TaskContext as TaskContext
from everact.tasks.errors import ActorDead as ActorDead
from everact.tasks.errors import ActorStartFailed as ActorStartFailed
from everact.tasks.errors import AskCycle as AskCycle
from everact.tasks.errors import AskTimeout as AskTimeout
from everact.tasks.errors import AttemptOver as AttemptOver
from everact.tasks.errors import BlockingCallError as BlockingCallError
from everact.tasks.errors import CancelRequested as CancelRequested
from everact.tasks.errors import CompensationError as CompensationError
from everact.tasks.errors import ConfigurationError as ConfigurationError
from everact.tasks.errors import EverActError as EverActError
from everact.tasks.errors import ForkedSystem as ForkedSystem
from everact.tasks.errors import HandlerError as HandlerError
from everact.tasks.errors import HookTimeout as HookTimeout
from everact.tasks.errors import MailboxFull as MailboxFull
from everact.tasks.errors import MigrationError as MigrationError
from everact.tasks.errors import NotOwner as NotOwner
from everact.tasks.errors import NotStuck as NotStuck
from everact.tasks.errors import PayloadError as PayloadError
from everact.tasks.errors import RestartsExhausted as RestartsExhausted
from everact.tasks.errors import ResultError as ResultError
from everact.tasks.errors import SagaError as SagaError
from everact.tasks.errors import StepFailed as StepFailed
from everact.tasks.errors import StorageBusy as StorageBusy
from everact.tasks.errors import StorageError as StorageError
from everact.tasks.errors import StorageFull as StorageFull
from everact.tasks.errors import StorageUnavailable as StorageUnavailable
from everact.tasks.errors import SystemNotRunning as SystemNotRunning
from everact.tasks.errors import TaskCancelled as TaskCancelled
from everact.tasks.errors import TaskFailed as TaskFailed
from everact.tasks.errors import TaskNotFound as TaskNotFound
from everact.tasks.errors import TaskQuarantined as TaskQuarantined
from everact.tasks.errors import TaskTimeout as TaskTimeout
from everact.tasks.errors import TaskTypeUnknown as TaskTypeUnknown
from everact.tasks.errors import UnexpectedCancel as UnexpectedCancel
from everact.tasks.errors import WaitTimeout as WaitTimeout
from everact.tasks.errors import WouldDeadlock as WouldDeadlock
from everact.tasks.handler import TaskHandler as TaskHandler
from everact.tasks.handler import bind as bind
from everact.tasks.record import HistoryEntry as HistoryEntry
from everact.tasks.record import TaskError as TaskError
from everact.tasks.record import TaskRecord as TaskRecord
from everact.tasks.retry import Retry as Retry
from everact.tasks.saga import Saga as Saga
from everact.tasks.saga import Step as Step
from everact.tasks.saga import parallel as parallel
from everact.tasks.status import TaskStatus as TaskStatus
from everact.tasks.task import FunctionTask as FunctionTask
from everact.tasks.task import TaskFunction as TaskFunction
from everact.tasks.task import task as task
from everact.tasks.workflow import UndoEntry as UndoEntry
from everact.tasks.workflow import Workflow as Workflow
from everact.tasks.workflow import WorkflowState as WorkflowState
from everact.version import __version__ as __version__

_logging.getLogger("everact").addHandler(_logging.NullHandler())
