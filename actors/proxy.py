"""An actor's methods and fields, used as if they were here."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

import pykka
from pykka.messages import ProxyGetAttr, ProxySetAttr

from everact.tasks.errors import ActorDead

if TYPE_CHECKING:
    from everact.actors.ref import ActorRef

logger = logging.getLogger("everact.actor")
A = TypeVar("A", bound=pykka.Actor)
Path = tuple[str, ...]
_MISSING = object()
_UNSEEN = object()
"""Perhaps a field of the instance, but there is none to look at: the actor has ended, or is being restarted."""


class ActorProxy(pykka.ActorProxy[A]):
    """A stand-in for an actor: `proxy.method(...)` and `proxy.field` are futures, `proxy.field = x` waits.

    It keeps what pykka's proxies do. What an attribute is it reads from the actor's class, and from the live instance
    for fields set there, when the attribute is used; nothing is evaluated. So it costs next to nothing to make one,
    and it outlives restarts of the actor. While there is no instance, a name that the class does not have is taken
    for a field: the future says what became of it.

    Raises:
        ActorDead: The actor has ended.
    """

    actor_ref: ActorRef[A]

    def __init__(self, *, actor_ref: ActorRef[A], attr_path: Path | None = None) -> None:
        if not actor_ref.is_alive():
            msg = f"{actor_ref} has stopped; a proxy for it has nobody to talk to"
            raise ActorDead(msg)
        self.actor_ref = actor_ref  # pyright: ignore[reportIncompatibleVariableOverride]
        self._attr_path = attr_path or ()
        self._parts: dict[str, Any] = {}
        self._kind: type | None = None

    def __getattr__(self, name: str) -> Any:
        part = None if name.startswith("_") else self._parts.get(name)
        if part is not None:
            return part
        path = (*self._attr_path, name)
        found = _MISSING if name.startswith("_") else self._look_up(name)
        if found is _UNSEEN:
            return self.actor_ref.ask(ProxyGetAttr(attr_path=path), block=False)
        if found is _MISSING or self._leads_back(found, name):
            msg = f"{self} has no attribute {name!r}"
            raise AttributeError(msg)
        if callable(found):
            self._parts[name] = pykka.CallableProxy(actor_ref=self.actor_ref, attr_path=path)
            return self._parts[name]
        if _traversable(found):
            part = self._parts[name] = ActorProxy(actor_ref=self.actor_ref, attr_path=path)
            part._kind = type(found)
            return part
        return self.actor_ref.ask(ProxyGetAttr(attr_path=path), block=False)

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field on the actor, and wait until it is set."""
        if name == "actor_ref" or name.startswith("_"):
            object.__setattr__(self, name, value)
            return
        self.actor_ref.ask(ProxySetAttr(attr_path=(*self._attr_path, name), value=value))

    def __dir__(self) -> list[str]:
        shown = {name for name in dir(self._subject()) if not name.startswith("_")}
        return sorted({"__class__", *dir(type(self)), *self.__dict__, *shown})

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, pykka.ActorProxy):
            return False
        return bool(self.actor_ref is other.actor_ref and self._attr_path == other._attr_path)

    def __hash__(self) -> int:
        return hash((self.actor_ref, self._attr_path))

    def _leads_back(self, found: Any, name: str) -> bool:
        """Whether it is a proxy for this very actor: asked through the actor it would wait for itself."""
        back = isinstance(found, pykka.ActorProxy) and found.actor_ref is self.actor_ref
        if back:
            logger.warning(
                "%s attribute %r is a proxy to itself; make it private: %r", self.actor_ref, name, f"_{name}"
            )
        return back

    def _subject(self) -> Any:
        """What the path leads to: the live object if there is one, else its class; None if that is not known."""
        subject: Any = self.actor_ref._actor_weakref()
        if subject is None:
            return self._kind if self._attr_path else self.actor_ref.actor_class
        for name in self._attr_path:
            subject = getattr(subject, name, None)
        return subject

    def _look_up(self, name: str) -> Any:
        subject = self._subject()
        found = _MISSING if subject is None else _attribute(subject, name)
        if found is _MISSING and self.actor_ref._actor_weakref() is None:
            return _UNSEEN
        return found


def _attribute(subject: Any, name: str) -> Any:
    """An attribute as it is written, with nothing evaluated: the object's own, else that of its class or a base."""
    kind = subject if isinstance(subject, type) else type(subject)
    own = {} if subject is kind else getattr(subject, "__dict__", {})
    if name in own:
        return own[name]
    return next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), _MISSING)


def _traversable(attribute: Any) -> bool:
    marks = ("_pykka_traversable", "pykka_traversable")
    return any(getattr(attribute, mark, False) is True for mark in marks)
