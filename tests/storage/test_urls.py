"""What a user may write as `storage=`."""

from __future__ import annotations

from pathlib import Path

import pytest

from everact.storage import storage_from
from everact.storage.memory import MemoryStorage
from everact.storage.sqlite import SqliteStorage
from everact.tasks.errors import ConfigurationError


def test_memory_is_a_url() -> None:
    storage = storage_from("memory://")
    assert isinstance(storage, MemoryStorage)
    assert (storage.url, storage.inline, storage.durable) == ("memory://", True, False)


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///shop.db", "shop.db"),
        ("sqlite:///data/shop.db", "data/shop.db"),
        ("sqlite:////var/lib/shop.db", "/var/lib/shop.db"),
        ("sqlite:///a#b%20c.db", "a#b%20c.db"),
    ],
)
def test_sqlite_takes_a_path_as_it_is_written(url: str, path: str) -> None:
    storage = storage_from(url)
    assert isinstance(storage, SqliteStorage)
    assert storage.path == Path(path).absolute()
    assert (storage.url, storage.inline, storage.durable) == (url, False, True)


def test_the_durability_is_part_of_the_url() -> None:
    assert storage_from("sqlite:///shop.db?durability=process").url == "sqlite:///shop.db?durability=process"
    assert storage_from("sqlite:///shop.db?durability=power").url == "sqlite:///shop.db"


def test_a_storage_is_taken_as_it_is() -> None:
    storage = MemoryStorage()
    assert storage_from(storage) is storage


@pytest.mark.parametrize(
    ("url", "remedy"),
    [
        ("postgres://localhost/shop", "memory://, sqlite:///relative.db or sqlite:////absolute/path.db"),
        ("shop.db", "sqlite:///relative.db"),
        ("", "memory://"),
        ("sqlite:shop.db", "sqlite:///relative.db"),
        ("sqlite://shop.db", "write sqlite:///shop.db"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite:////", "names no file"),
        ("sqlite:///?durability=process", "names no file"),
        ("sqlite:///:memory:", "write memory://"),
        ("sqlite:///shop.db?sync=off", "'sync'; there is durability=process"),
        ("sqlite:///shop.db?durability=none", "power or process, not 'none'"),
        ("sqlite:///shop.db?durability", "power or process, not ''"),
        ("memory://shop", "takes no path"),
        ("memory://?durability=process", "no parameters"),
    ],
)
def test_a_url_without_a_meaning_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        storage_from(url)
    assert remedy in str(caught.value)


def test_a_path_object_is_refused_with_the_remedy() -> None:
    with pytest.raises(ConfigurationError, match=r"not PosixPath; write .*sqlite:///"):
        storage_from(Path("shop.db"))  # type: ignore[arg-type]


def test_nothing_is_touched_before_it_is_opened(tmp_path: Path) -> None:
    storage_from(f"sqlite:///{tmp_path}/shop.db")
    assert list(tmp_path.iterdir()) == []
