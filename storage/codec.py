"""Payloads and results as bytes: JSON by msgspec, or signed cloudpickle where JSON cannot carry the task.

Types resolve only through registered handlers, never by importing a stored name, and cloudpickle bytes are
verified before one of them is decoded.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import io
import math
import pickle
from collections.abc import Mapping
from typing import Any, Protocol
from uuid import UUID

import cloudpickle
import msgspec

from everact.tasks.errors import HandlerError, PayloadError, ResultError
from everact.tasks.registration import HandlerSpec

PAYLOAD_VERSION = 1
MAC_BYTES = 32
Keys = Mapping[str, bytes]
"""Signing keys by id. The first one signs, all of them verify: put a new key first to rotate."""


class TaskCodec(Protocol):
    """Encodes and decodes the tasks and results of one handler. Its methods may be called by any thread."""

    key_id: str | None
    """The key that new payloads are signed with; None for JSON."""

    def encode(self, task: Any, task_id: bytes) -> bytes:
        """Encode a task.

        Raises:
            PayloadError: It cannot be encoded.
        """
        ...

    def decode(self, payload: bytes, task_id: bytes, key_id: str | None) -> Any:
        """Decode a stored task.

        Raises:
            PayloadError: The bytes are not a task of this type, or their signature does not hold.
        """
        ...

    def encode_result(self, result: Any, task_id: bytes) -> bytes | None:
        """Encode what `handle` returned; None stays None.

        Raises:
            ResultError: It cannot be encoded, or is over the limit.
        """
        ...

    def decode_result(self, result: bytes | None, task_id: bytes) -> Any:
        """Decode a stored result."""
        ...


def codec_for(spec: HandlerSpec, keys: Keys, limit: int) -> TaskCodec:
    """Build the codec that a handler asks for.

    Args:
        spec: The handler.
        keys: For cloudpickle; see `Settings.secret_keys`.
        limit: Bytes that a payload or a result may have.

    Raises:
        HandlerError: JSON cannot carry the task type, or there is no key to sign with.
    """
    if spec.codec == "cloudpickle":
        return PickleCodec(spec, keys, limit)
    return JsonCodec(spec, limit)


class JsonCodec:
    """JSON with the schema of the task class: dataclass, msgspec.Struct, attrs, pydantic model or plain data."""

    def __init__(self, spec: HandlerSpec, limit: int) -> None:
        self.key_id: str | None = None
        self._name = spec.name
        self._limit = limit
        self._model = spec.task_type if _is_pydantic(spec.task_type) else None
        self._encode = _pydantic_bytes if self._model else msgspec.json.Encoder().encode
        self._decode = _pydantic_decoder(self._model) if self._model else _decoder(spec).decode
        self._encode_result = msgspec.json.Encoder(enc_hook=_encode_model).encode
        self._decode_result = _result_decoder(spec.result_type)

    def encode(self, task: Any, task_id: bytes) -> bytes:  # noqa: ARG002 - a signature covers the id, JSON has none
        """See `TaskCodec.encode`."""
        try:
            payload: bytes = self._encode(task)
            if b"null" in payload:
                _refuse_nan(task.model_dump() if self._model else msgspec.to_builtins(task, builtin_types=(bytes,)))
        except Exception as error:
            msg = (
                f"task {self._name} cannot be encoded as JSON: {error}; use plain data, "
                'or codec = "cloudpickle" on its handler'
            )
            raise PayloadError(msg) from error
        if len(payload) > self._limit:
            raise PayloadError(_too_long(self._name, len(payload), self._limit))
        return payload

    def decode(self, payload: bytes, task_id: bytes, key_id: str | None) -> Any:  # noqa: ARG002 - as above
        """See `TaskCodec.decode`."""
        try:
            return self._decode(payload)
        except Exception as error:
            msg = f"payload of task {self._name} does not decode back: {error}; check its field annotations"
            raise PayloadError(msg) from error

    def encode_result(self, result: Any, task_id: bytes) -> bytes | None:
        """See `TaskCodec.encode_result`."""
        if result is None:
            return None
        try:
            encoded = self._encode_result(result)
            if b"null" in encoded:
                _refuse_nan(msgspec.to_builtins(result, enc_hook=_encode_model))
        except Exception as error:
            raise ResultError(_bad_result(self._name, task_id, str(error))) from error
        if len(encoded) > self._limit:
            raise ResultError(_bad_result(self._name, task_id, f"{len(encoded)} bytes, the limit is {self._limit}"))
        return encoded

    def decode_result(self, result: bytes | None, task_id: bytes) -> Any:  # noqa: ARG002 - as above
        """See `TaskCodec.decode_result`. A result that does not fit the annotation comes as plain data."""
        if result is None:
            return None
        try:
            return self._decode_result(result)
        except ValueError:  # msgspec's and pydantic's alike
            return msgspec.json.decode(result)


class PickleCodec:
    """cloudpickle, signed: HMAC-SHA256 over task id, type, codec, version, key id and body."""

    def __init__(self, spec: HandlerSpec, keys: Keys, limit: int) -> None:
        if not keys:
            msg = (
                f'{spec.name} uses codec = "cloudpickle", which needs a key to sign with: '
                "Settings(secret_keys={'2026-01': b'...'}), since unpickling runs code"
            )
            raise HandlerError(msg)
        self._name = spec.name
        self._names = (spec.name, *spec.aliases)
        self._keys = dict(keys)
        self._limit = limit
        self._task_type = spec.task_type
        self.key_id: str | None = next(iter(self._keys))

    def encode(self, task: Any, task_id: bytes) -> bytes:
        """See `TaskCodec.encode`."""
        try:
            file = io.BytesIO()
            _Pickler(file, self._task_type).dump(task)
            body = file.getvalue()
        except Exception as error:
            msg = f"task {self._name} cannot be pickled: {error}"
            raise PayloadError(msg) from error
        if len(body) > self._limit:
            raise PayloadError(_too_long(self._name, len(body), self._limit))
        return self._sign(body, task_id, b"task") + body

    def decode(self, payload: bytes, task_id: bytes, key_id: str | None) -> Any:
        """See `TaskCodec.decode`."""
        try:
            task = _Unpickler(self._verified(payload, task_id, key_id, b"task"), self._task_type).load()
        except PayloadError:
            raise
        except Exception as error:
            msg = f"payload of task {self._name} does not unpickle: {error}"
            raise PayloadError(msg) from error
        if type(task) is not self._task_type:
            msg = f"payload of task {self._name} holds a {type(task).__name__}"
            raise PayloadError(msg)
        return task

    def encode_result(self, result: Any, task_id: bytes) -> bytes | None:
        """See `TaskCodec.encode_result`."""
        if result is None:
            return None
        try:
            body: bytes = cloudpickle.dumps(result)
        except Exception as error:
            raise ResultError(_bad_result(self._name, task_id, str(error))) from error
        if len(body) > self._limit:
            raise ResultError(_bad_result(self._name, task_id, f"{len(body)} bytes, the limit is {self._limit}"))
        key_id = self.key_id or ""
        return key_id.encode() + b"\0" + self._sign(body, task_id, b"result") + body

    def decode_result(self, result: bytes | None, task_id: bytes) -> Any:
        """See `TaskCodec.decode_result`.

        Raises:
            PayloadError: Its signature does not hold.
        """
        if result is None:
            return None
        key_id, _, signed = result.partition(b"\0")
        return cloudpickle.loads(self._verified(signed, task_id, key_id.decode("ascii", "replace"), b"result"))

    def _sign(
        self, body: bytes, task_id: bytes, purpose: bytes, key_id: str | None = None, name: str | None = None
    ) -> bytes:
        key_id = key_id or self.key_id or ""
        header = (
            purpose,
            task_id,
            (name or self._name).encode(),
            b"cloudpickle",
            str(PAYLOAD_VERSION).encode(),
            key_id.encode(),
        )
        # Length-prefixed, so that no byte can move from one field to the next under the same signature.
        message = b"".join(len(part).to_bytes(4, "big") + part for part in (*header, body))
        return hmac.digest(self._keys[key_id], message, hashlib.sha256)

    def _verified(self, signed: bytes, task_id: bytes, key_id: str | None, purpose: bytes) -> bytes:
        if key_id is None or key_id not in self._keys:
            msg = (
                f"payload of task {self._name} is signed with key {key_id!r}, which Settings.secret_keys does not have"
            )
            raise PayloadError(msg)
        mac, body = signed[:MAC_BYTES], signed[MAC_BYTES:]
        # Tasks stored under an earlier name of the type were signed with that.
        signatures = [self._sign(body, task_id, purpose, key_id, name) for name in self._names]
        if not any(hmac.compare_digest(mac, signature) for signature in signatures):
            name = f"{self._name} ({UUID(bytes=task_id)})"
            msg = f"the signature of a payload of task {name} does not hold; nothing was decoded"
            raise PayloadError(msg)
        return body


def _is_pydantic(task_type: type) -> bool:
    return hasattr(task_type, "model_validate_json") and hasattr(task_type, "model_dump_json")


def _pydantic_decoder(model: Any) -> Any:
    # By the fields' own names, as _pydantic_bytes writes them: aliases may differ between reading and writing.
    return functools.partial(model.model_validate_json, by_name=True, by_alias=False)


def _pydantic_bytes(task: Any) -> bytes:
    return bytes(task.model_dump_json(round_trip=True, by_alias=False).encode())


def _refuse_nan(value: Any) -> None:
    """JSON has no NaN and no infinity: msgspec writes null, which some annotations would take back as None."""
    if isinstance(value, float) and not math.isfinite(value):
        msg = f"{value} has no JSON form"
        raise ValueError(msg)
    if isinstance(value, dict):
        value = [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_nan(item)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # untyped
    """Pickles the task class by a token: of a class in `__main__` cloudpickle would store a copy."""

    def __init__(self, file: io.BytesIO, task_type: type) -> None:
        super().__init__(file)
        self._task_type = task_type

    def persistent_id(self, value: Any) -> str | None:
        return "task type" if value is self._task_type else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, body: bytes, task_type: type) -> None:
        super().__init__(io.BytesIO(body))
        self._task_type = task_type

    def persistent_load(self, token: Any) -> Any:  # noqa: ARG002 - there is only one
        return self._task_type


def _encode_model(value: Any) -> Any:
    """Results may hold pydantic models, which msgspec does not know."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json", round_trip=True, by_alias=False)
    msg = f"objects of type {type(value).__name__} have no JSON form"
    raise NotImplementedError(msg)


def _decoder(spec: HandlerSpec) -> msgspec.json.Decoder[Any]:
    try:
        if isinstance(msgspec.inspect.type_info(spec.task_type), msgspec.inspect.CustomType):
            msg = "it has no fields that JSON could hold"
            raise TypeError(msg)
        return msgspec.json.Decoder(spec.task_type)
    except (TypeError, NameError) as error:
        msg = (
            f"tasks of class {spec.task_type.__qualname__} cannot travel as JSON: {error}; make it a dataclass, "
            'msgspec.Struct, attrs or pydantic class with annotated fields, or set codec = "cloudpickle"'
        )
        raise HandlerError(msg) from error


def _result_decoder(result_type: Any) -> Any:
    if isinstance(result_type, type) and _is_pydantic(result_type):
        return _pydantic_decoder(result_type)
    try:
        if isinstance(msgspec.inspect.type_info(result_type), msgspec.inspect.CustomType):
            return msgspec.json.decode
        return msgspec.json.Decoder(result_type).decode
    except (TypeError, NameError):
        # An annotation that JSON has no schema for; what it held comes back as plain data.
        return msgspec.json.decode


def _too_long(name: str, length: int, limit: int) -> str:
    return (
        f"payload of task {name} has {length} bytes, the limit is {limit}; store large data elsewhere and dispatch "
        "a reference to it, or raise Settings.payload_limit"
    )


def _bad_result(name: str, task_id: bytes, why: str) -> str:
    return (
        f"the result of task {name} ({UUID(bytes=task_id)}) cannot be stored: {why}; "
        "return plain data, or store it elsewhere and return a reference"
    )
