"""Settings: checked when they are made, read from the environment, and silent about keys."""

import math
import traceback
from typing import Any

import pytest

from everact.config import Settings
from everact.tasks.errors import ConfigurationError

SECRET = "c0ffee"
KEY = bytes.fromhex(SECRET)


def refusal_of(**options: Any) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        Settings(**options)
    return str(refusal.value)


def environment_refusal(**variables: str) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as refusal:
        Settings.from_env(environ=variables)
    return refusal.value


def test_the_defaults_are_those_of_the_design() -> None:
    usual = Settings()
    assert (usual.grace, usual.commit_timeout) == (5.0, 30.0)
    assert (usual.payload_limit, usual.error_limit, usual.secret_keys) == (1024 * 1024, 64 * 1024, {})


def test_settings_are_frozen_and_keyword_only() -> None:
    usual: Any = Settings()
    with pytest.raises(AttributeError):
        usual.grace = 1.0
    with pytest.raises(TypeError):
        Settings(5.0)  # type: ignore[call-arg]


SECONDS_OR_NONE = "a number of seconds, at least 0"
SECONDS = "a number of seconds above 0"
WHOLE = "a whole number of at least 1"
BAD = [
    *(("grace", value, SECONDS_OR_NONE) for value in (-0.1, math.inf, math.nan, "5", None, [5], True, 10**400)),
    *(("commit_timeout", value, SECONDS) for value in (0, -1.0, math.inf, math.nan, "30", None, True)),
    *(("payload_limit", value, WHOLE) for value in (0, -1, 2.5, 1024.0, "1024", None, True)),
    *(("error_limit", value, "a whole number of at least 100") for value in (99, 0, -1, 100.0, "100", None, True)),
]


@pytest.mark.parametrize(("name", "value", "wanted"), BAD, ids=lambda value: repr(value)[:20])
def test_a_value_out_of_range_is_refused_with_name_value_and_range(name: str, value: Any, wanted: str) -> None:
    assert refusal_of(**{name: value}) == f"Settings({name}={value!r}) has no meaning; it must be {wanted}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("grace", 0), ("grace", 0.0), ("commit_timeout", 0.001), ("payload_limit", 1), ("error_limit", 100)],
)
def test_the_least_value_is_accepted(name: str, value: Any) -> None:
    assert getattr(Settings(**{name: value}), name) == value


@pytest.mark.parametrize(
    "keys",
    [
        {"id": b""},
        {"id": SECRET},
        {"id": bytearray(KEY)},
        {"id": None},
        {7: KEY},
        {b"id": KEY},
        {"schlüssel": KEY},
        {"good": KEY, "bad": b""},
        {"": KEY},  # `=c0ffee` in the environment: the id was forgotten
        {"a\0b": KEY},  # stored results put a NUL between key id and signature
        KEY,
        SECRET,
        None,
        [("id", KEY)],
    ],
    ids=[
        "empty key",
        "text",
        "bytearray",
        "no key",
        "number as id",
        "bytes as id",
        "id beyond ASCII",
        "one of two",
        "empty id",
        "NUL in the id",
        "a key alone",
        "text alone",
        "None",
        "pairs",
    ],
)
def test_what_is_no_mapping_of_key_ids_to_keys_is_refused_without_showing_a_key(keys: Any) -> None:
    message = refusal_of(secret_keys=keys)
    assert "secret_keys" in message
    assert "ASCII key ids to non-empty bytes" in message
    assert SECRET not in message
    assert repr(KEY) not in message


def test_keys_are_not_shown_when_settings_are_printed() -> None:
    keyed = Settings(secret_keys={"2026-01": KEY})
    for shown in (repr(keyed), str(keyed), f"{keyed!r:s}"):
        assert repr(KEY)[2:-1] not in shown
        assert "secret_keys" not in shown


# The environment


def test_every_setting_can_come_from_the_environment() -> None:
    assert Settings.from_env(
        environ={
            "EVERACT_GRACE": "2.5",
            "EVERACT_COMMIT_TIMEOUT": "7",
            "EVERACT_PAYLOAD_LIMIT": "65536",
            "EVERACT_ERROR_LIMIT": "200",
            "EVERACT_SECRET_KEYS": f"2026-01={SECRET},2025-07=00ff",
        }
    ) == Settings(
        grace=2.5,
        commit_timeout=7.0,
        payload_limit=65_536,
        error_limit=200,
        secret_keys={"2026-01": KEY, "2025-07": b"\x00\xff"},
    )


@pytest.mark.parametrize("name", sorted(set(Settings.__dataclass_fields__) - {"secret_keys"}))
def test_no_setting_is_forgotten_by_the_environment(name: str) -> None:
    variable = f"EVERACT_{name.upper()}"
    assert str(environment_refusal(**{variable: "nonsense"})).startswith(f"{variable} must be ")


def test_what_is_not_in_the_environment_keeps_its_default() -> None:
    assert Settings.from_env(environ={}) == Settings()
    assert Settings.from_env(environ={"EVERACT_GRACE": "1"}) == Settings(grace=1.0)


def test_other_variables_are_ignored() -> None:
    others = {"GRACE": "1", "EVERACT_NO_SUCH_THING": "1", "everact_grace": "1", "SHOP_GRACE": "1", "EVERACT_": "1"}
    assert Settings.from_env(environ=others) == Settings()


def test_the_prefix_can_be_chosen() -> None:
    variables = {"SHOP_GRACE": "1", "EVERACT_GRACE": "2"}
    assert Settings.from_env("SHOP_", environ=variables).grace == 1.0
    assert Settings.from_env(environ=variables).grace == 2.0


def test_the_environment_of_the_process_is_read_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERACT_GRACE", "1.25")
    assert Settings.from_env().grace == 1.25


def test_the_first_key_of_the_environment_is_the_one_that_signs() -> None:
    assert list(Settings.from_env(environ={"EVERACT_SECRET_KEYS": "b=01,a=02"}).secret_keys) == ["b", "a"]


@pytest.mark.parametrize("text", ["", "five", "5s", "1,5", "0x10"])
@pytest.mark.parametrize("name", ["EVERACT_GRACE", "EVERACT_PAYLOAD_LIMIT"])
def test_a_variable_that_is_no_number_is_refused_by_its_name(name: str, text: str) -> None:
    message = str(environment_refusal(**{name: text}))
    assert message.startswith(f"{name} must be a ")
    assert message.endswith(f", not {text!r}")


def test_a_fraction_where_a_whole_number_is_wanted_is_told_so() -> None:
    """`must be a number, not '5.0'` would leave one puzzled."""
    assert "whole number, not '5.0'" in str(environment_refusal(EVERACT_PAYLOAD_LIMIT="5.0"))


@pytest.mark.parametrize(
    ("name", "text"),
    [("EVERACT_GRACE", "-1"), ("EVERACT_GRACE", "nan"), ("EVERACT_GRACE", "1e999"), ("EVERACT_PAYLOAD_LIMIT", "0")],
)
def test_a_variable_out_of_range_is_refused_as_the_setting_is(name: str, text: str) -> None:
    message = str(environment_refusal(**{name: text}))
    assert name.removeprefix("EVERACT_").lower() in message
    assert "has no meaning; it must be " in message


@pytest.mark.parametrize(
    "text",
    [f"2026-01={SECRET}zz", f"2026-01={SECRET}0", f"2026-01:{SECRET}", SECRET, f"={SECRET}", f"2026-01=,b={SECRET}"],
    ids=["no hex", "odd hex", "no equals sign", "a key alone", "no id", "no key"],
)
def test_keys_of_the_environment_that_cannot_be_read_are_refused_without_showing_them(text: str) -> None:
    error = environment_refusal(EVERACT_SECRET_KEYS=text)
    assert "secret_keys" in str(error).lower()
    assert SECRET not in str(error)
    assert repr(KEY)[2:-1] not in str(error)
    told = "".join(traceback.format_exception(error))
    assert SECRET not in told.replace("SECRET", "")


def test_no_keys_in_the_environment_means_no_keys() -> None:
    assert Settings.from_env(environ={"EVERACT_SECRET_KEYS": ""}).secret_keys == {}
