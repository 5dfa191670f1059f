"""Records on disk, or in memory: the only room of everact that knows where tasks are kept.

`protocol` says what the journal asks of a storage, `memory` and `sqlite` answer it, and `storage_from` turns
the URL that a user writes into one of them.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

from everact.storage.protocol import Storage
from everact.tasks.errors import ConfigurationError

FORMS = "memory://, sqlite:///relative.db or sqlite:////absolute/path.db"
DURABILITIES = ("power", "process")


def storage_from(storage: str | Storage) -> Storage:
    """Turn the `storage` argument of an ActorSystem into a storage, which is not opened yet.

    A path is taken as it is written, without percent-decoding; for one that contains a question mark, pass
    a `SqliteStorage` instead of a URL.

    Args:
        storage: A storage, which is returned as it is, or a URL: `memory://`, `sqlite:///relative.db`,
            `sqlite:////absolute/path.db`. With `?durability=process` SQLite does not wait for the disk:
            what it acknowledged survives kill -9, but not a power cut.

    Raises:
        ConfigurationError: The URL has no meaning.
    """
    if not isinstance(storage, str):
        return _checked_object(storage)
    scheme, separator, rest = storage.partition("://")
    path, _, query = rest.partition("?")
    if separator and scheme == "memory":
        return _memory(storage, path, query)
    if separator and scheme == "sqlite":
        return _sqlite(storage, path, query)
    msg = f"storage {storage!r} is not known; write {FORMS}, or pass a Storage"
    raise ConfigurationError(msg)


def _checked_object(storage: Storage) -> Storage:
    if callable(getattr(storage, "commit", None)):
        return storage
    msg = f"storage is a URL or a Storage, not {type(storage).__name__}; write {FORMS}"
    raise ConfigurationError(msg)


def _memory(url: str, path: str, query: str) -> Storage:
    if path or query:
        msg = f"storage {url!r}: memory:// takes no path and no parameters; write memory://"
        raise ConfigurationError(msg)
    from everact.storage.memory import MemoryStorage

    return MemoryStorage()


def _sqlite(url: str, path: str, query: str) -> Storage:
    path = _sqlite_path(url, path)
    durability = _durability(url, query)
    from everact.storage.sqlite import SqliteStorage

    return SqliteStorage(path, durability=durability)


def _sqlite_path(url: str, path: str) -> str:
    if path and not path.startswith("/"):
        msg = f"storage {url!r} lacks a slash; write sqlite:///{path} for a path relative to the working directory"
        raise ConfigurationError(msg)
    if not path.strip("/"):
        msg = f"storage {url!r} names no file; write sqlite:///relative.db or sqlite:////absolute/path.db"
        raise ConfigurationError(msg)
    if path[1:] == ":memory:":
        msg = f"storage {url!r} would be lost with the process; write memory://, which is faster"
        raise ConfigurationError(msg)
    return path[1:]


def _durability(url: str, query: str) -> str:
    parameters = dict(parse_qsl(query, keep_blank_values=True))
    durability = parameters.pop("durability", "power")
    if parameters:
        names = ", ".join(map(repr, parameters))
        msg = f"storage {url!r} has unknown parameters: {names}; there is durability=process"
        raise ConfigurationError(msg)
    if durability not in DURABILITIES:
        msg = f"storage {url!r}: durability is {' or '.join(DURABILITIES)}, not {durability!r}"
        raise ConfigurationError(msg)
    return durability
