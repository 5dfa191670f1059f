"""What a system is made with, checked when it is made: its settings, a frozen record, and its middleware."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from everact.tasks.errors import ConfigurationError

MEBIBYTE = 1024 * 1024
CENTURY = 3.2e9
_SWITCH = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
_SECONDS = ("grace", "commit_timeout", "retention")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a system behaves. Every value has a default that fits an application of usual size.

    Args:
        grace: Seconds that user code gets to stop once it was told to, before its thread is left behind.
        commit_timeout: Seconds that `dispatch` and `cancel` wait for their commit; after that its outcome is
            unknown, and dispatching again with the same `id` settles it.
        secret_keys: Keys by id for payloads that cloudpickle encodes. The first one signs, all of them verify.
        payload_limit: Bytes that a payload or a result may have.
        error_limit: Characters kept of an error's message and traceback together.
        max_crashes: How many deaths of the process while a task ran are too many; it is QUARANTINED then.
        retention: Seconds that finished tasks are kept in the file; None for ever. `memory://` keeps the last 100,000.
        high_water: Ready tasks of one handler, and scheduled tasks, to hold in memory; what is more waits in storage.
        metrics: Whether the system counts for `everact.metrics`, and is exposed there.

    Raises:
        ConfigurationError: A value is out of range.

    Example:
        >>> Settings(grace=2.0).grace
        2.0
    """

    grace: float = 5.0
    commit_timeout: float = 30.0
    secret_keys: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    payload_limit: int = MEBIBYTE
    error_limit: int = 64 * 1024
    max_crashes: int = 3
    retention: float | None = 7 * 86_400.0
    high_water: int = 10_000
    metrics: bool = True

    def __post_init__(self) -> None:
        _check(self, "grace", "a number of seconds, at least 0", valid=_finite(self.grace, 0))
        _check(self, "commit_timeout", "a number of seconds above 0", valid=_finite(self.commit_timeout, 0.001))
        _check(self, "payload_limit", "a whole number of at least 1", valid=_whole(self.payload_limit, 1))
        _check(self, "error_limit", "a whole number of at least 100", valid=_whole(self.error_limit, 100))
        _check(self, "max_crashes", "a whole number of at least 1", valid=_whole(self.max_crashes, 1))
        kept = self.retention is None or _finite(self.retention, 0)
        _check(self, "retention", "a number of seconds, at least 0, or None", valid=kept)
        _check(self, "high_water", "a whole number of at least 10", valid=_whole(self.high_water, 10))
        _check(self, "metrics", "True or False", valid=isinstance(self.metrics, bool))
        keys = isinstance(self.secret_keys, Mapping) and all(map(_is_key, self.secret_keys.items()))
        if not keys:
            msg = "Settings(secret_keys=...) must map ASCII key ids to non-empty bytes"  # never shows a key
            raise ConfigurationError(msg)

    @classmethod
    def from_env(cls, prefix: str = "EVERACT_", environ: Mapping[str, str] | None = None) -> Settings:
        """Read settings from environment variables: `EVERACT_GRACE=2.5`, `EVERACT_PAYLOAD_LIMIT=65536`.

        `EVERACT_SECRET_KEYS` is `id=hex,id=hex`. Variables with the prefix that are no setting are ignored.

        Args:
            prefix: What the names start with.
            environ: Where to look; the process's environment by default.

        Raises:
            ConfigurationError: A value cannot be read; the message names the variable, never a key.

        Example:
            >>> Settings.from_env(environ={"EVERACT_GRACE": "2.5"}).grace
            2.5
        """
        source = os.environ if environ is None else environ
        values: dict[str, Any] = {}
        for setting in fields(cls):
            name = prefix + setting.name.upper()
            if name not in source:
                continue
            try:
                values[setting.name] = _parse(setting.name, source[name])
            except (KeyError, ValueError):
                kind = (
                    "yes or no"
                    if setting.name == "metrics"
                    else "number"
                    if setting.name in _SECONDS
                    else "whole number"
                )
                shown = "id=hex,id=hex" if setting.name == "secret_keys" else f"a {kind}, not {source[name]!r}"
                msg = f"{name} must be {shown}"
                raise ConfigurationError(msg) from None
        return cls(**values)


def _form(name: str, text: str) -> str:
    """What a variable must look like; a key is never shown."""
    if name == "secret_keys":
        return "id=hex,id=hex"
    kind = "on or off" if name == "metrics" else "a number" if name in _SECONDS else "a whole number"
    return f"{kind}, not {text!r}"


def _parse(name: str, text: str) -> Any:
    if name == "secret_keys":
        pairs = [part.partition("=") for part in text.split(",") if part]
        return {key: bytes.fromhex(value) for key, _, value in pairs}
    if name == "retention" and text == "none":
        return None
    if name == "metrics":
        return _SWITCH[text.lower()]
    return float(text) if name in _SECONDS else int(text)


def _is_key(item: tuple[object, object]) -> bool:
    name, key = item
    named = isinstance(name, str) and bool(name) and name.isascii() and name.isprintable()
    return named and isinstance(key, bytes) and bool(key)


def _finite(value: object, least: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= CENTURY


def _whole(value: object, least: int) -> bool:
    return type(value) is int and value >= least


def _check(settings: Settings, name: str, wanted: str, *, valid: bool) -> None:
    if not valid:
        msg = f"Settings({name}={getattr(settings, name)!r}) has no meaning; it must be {wanted}"
        raise ConfigurationError(msg)


def checked_middleware(middleware: Sequence[Any]) -> tuple[Any, ...]:
    """The layers of a system, each of which must be able to go around an attempt.

    Raises:
        ConfigurationError: One is not.
    """
    for layer in middleware:
        if not callable(getattr(layer, "around_attempt", None)):
            msg = f"middleware {layer!r} has no around_attempt(ctx) method that returns a context manager"
            raise ConfigurationError(msg)
    return tuple(middleware)
