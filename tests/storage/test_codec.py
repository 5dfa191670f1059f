"""Payloads and results as bytes: what survives, what is refused by name, and what a signature keeps out."""

import enum
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import attrs
import cloudpickle
import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everact.storage.codec import JsonCodec, PickleCodec, TaskCodec, codec_for
from everact.tasks.context import TaskContext
from everact.tasks.errors import HandlerError, PayloadError, ResultError
from everact.tasks.handler import TaskHandler
from everact.tasks.registration import specify
from everact.tasks.task import task

LIMIT = 4096
ID, OTHER_ID = UUID(int=1).bytes, UUID(int=2).bytes
KEYS = {"2026-01": b"first key", "2025-07": b"second key"}
UTF8 = st.text(st.characters(exclude_categories=["Cs"]))
FINITE = st.floats(allow_nan=False, allow_infinity=False)


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Address:
    street: str
    zip: int | None = None


@dataclass(frozen=True)
class Order:
    """What a payload may hold: plain, optional and nested fields, and what JSON has no word for."""

    number: int
    name: str
    price: float
    paid: bool
    id: UUID
    total: Decimal
    at: datetime
    day: date
    within: timedelta
    raw: bytes
    colour: Colour
    address: Address
    note: str | None = None
    others: list[Address] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    pair: tuple[int, str] = (0, "")
    labels: frozenset[str] = frozenset()


class StructOrder(msgspec.Struct, frozen=True):
    number: int
    address: Address
    id: UUID | None = None
    total: Decimal = Decimal(0)


@attrs.frozen
class AttrsOrder:
    number: int
    address: Address
    id: UUID | None = None
    total: Decimal = Decimal(0)


class PydanticAddress(pydantic.BaseModel):
    street: str
    zip: int | None = None


class PydanticOrder(pydantic.BaseModel):
    number: int
    address: PydanticAddress
    id: UUID | None = None
    total: Decimal = Decimal(0)
    at: datetime | None = None


class Aliased(pydantic.BaseModel):
    """As models of a web API are: fields under other names, derived ones shown too, nothing else accepted."""

    model_config = pydantic.ConfigDict(extra="forbid")

    order_id: int = pydantic.Field(alias="orderId")


class AliasedBothWays(pydantic.BaseModel):
    read: int = pydantic.Field(0, validation_alias="readAs")
    written: int = pydantic.Field(0, serialization_alias="writtenAs")
    chosen: int = pydantic.Field(0, validation_alias=pydantic.AliasChoices("one", "other"))


class Measured(pydantic.BaseModel):
    value: float | None = None


class Derived(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    net: int

    @pydantic.computed_field  # type: ignore[prop-decorator]
    @property
    def gross(self) -> int:
        return self.net * 2


@dataclass
class Loose:
    """Fields that the JSON of a hostile or careless value can get into."""

    price: float = 0.0
    maybe: float | None = None
    anything: Any = None
    text: str = ""
    number: int = 0


class NoFields:
    def __init__(self, number: int) -> None:
        self.number = number


@dataclass
class Wave:
    """A task that JSON cannot carry."""

    amplitude: complex


exploded: list[str] = []


class Canary:
    """Says so if it is ever decoded: by `__reduce__`, when it is made, and by `__setstate__`, when it is filled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return hatch, ("made",), {"filled": True}

    def __setstate__(self, state: dict[str, Any]) -> None:
        exploded.append("filled")


def hatch(word: str) -> Canary:
    exploded.append(word)
    return Canary()


@dataclass
class Trapped:
    """A task that carries a canary."""

    number: int
    canary: Canary = field(default_factory=Canary, compare=False)


def codec(
    task_type: type,
    *,
    result: Any = Any,
    kind: str = "json",
    keys: dict[str, bytes] | None = None,
    limit: int = LIMIT,
    **attributes: Any,
) -> TaskCodec:
    """Make the codec of a handler of these tasks."""

    def handle(self: object, task: Any, ctx: TaskContext) -> Any: ...

    handle.__annotations__ = {"task": task_type, "return": result}
    handler = type("Handler", (TaskHandler,), {"handle": handle, "codec": kind, **attributes})
    return codec_for(specify([handler])[0], KEYS if keys is None else keys, limit)


def pickling(task_type: type = Trapped, **options: Any) -> TaskCodec:
    return codec(task_type, kind="cloudpickle", **options)


def through(coder: TaskCodec, sent: object) -> Any:
    """Encode and decode, as a dispatch does."""
    return coder.decode(coder.encode(sent, ID), ID, coder.key_id)


def result_through(coder: TaskCodec, result: object) -> Any:
    return coder.decode_result(coder.encode_result(result, ID), ID)


# JSON: what survives

ADDRESSES = st.builds(Address, UTF8, st.none() | st.integers())
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
ORDERS = st.builds(
    Order,
    number=st.integers(-(2**63), 2**64 - 1),
    name=UTF8,
    price=FINITE,
    paid=st.booleans(),
    id=st.uuids(),
    total=DECIMALS,
    at=st.datetimes(timezones=st.just(UTC)) | st.datetimes(),
    day=st.dates(),
    within=st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000)),
    raw=st.binary(),
    colour=st.sampled_from(Colour),
    address=ADDRESSES,
    note=st.none() | UTF8,
    others=st.lists(ADDRESSES, max_size=3),
    names=st.dictionaries(UTF8, st.integers(-(2**63), 2**64 - 1), max_size=3),
    pair=st.tuples(st.integers(-(2**63), 2**64 - 1), UTF8),
    labels=st.frozensets(UTF8, max_size=3),
)


@settings(deadline=None)
@given(ORDERS)
def test_a_dataclass_survives_with_all_that_it_may_hold(order: Order) -> None:
    assert through(codec(Order, limit=10**6), order) == order


@settings(deadline=None)
@given(st.sampled_from([StructOrder, AttrsOrder]), st.integers(0, 10**9), ADDRESSES, st.none() | st.uuids(), DECIMALS)
def test_structs_and_attrs_classes_survive(
    kind: type, number: int, address: Address, given_id: UUID | None, total: Decimal
) -> None:
    sent = kind(number=number, address=address, id=given_id, total=total)
    arrived = through(codec(kind, limit=10**6), sent)
    assert arrived == sent
    assert type(arrived) is kind


@settings(deadline=None)
@given(
    st.builds(
        PydanticOrder,
        number=st.integers(),
        address=st.builds(PydanticAddress, street=UTF8, zip=st.none() | st.integers()),
        id=st.none() | st.uuids(),
        total=DECIMALS,
        at=st.none() | st.datetimes(timezones=st.just(UTC)),
    )
)
def test_a_pydantic_model_survives(order: PydanticOrder) -> None:
    arrived = through(codec(PydanticOrder, limit=10**6), order)
    assert arrived == order
    assert type(arrived) is PydanticOrder


def test_a_pydantic_model_whose_fields_have_aliases_survives() -> None:
    assert through(codec(Aliased), Aliased(orderId=7)) == Aliased(orderId=7)


def test_a_pydantic_model_read_and_written_under_different_names_survives() -> None:
    """Otherwise a field's default takes the place of its value, and nobody is told."""
    sent = AliasedBothWays.model_validate({"readAs": 1, "written": 2, "one": 3})
    assert (sent.read, sent.written, sent.chosen) == (1, 2, 3)
    assert through(codec(AliasedBothWays), sent) == sent


def test_a_pydantic_model_with_computed_fields_survives() -> None:
    assert through(codec(Derived), Derived(net=7)) == Derived(net=7)


@pytest.mark.parametrize(("kind", "sent"), [(int, 7), (str, "é"), (UUID, UUID(int=7)), (list, [1, "a"])], ids=str)
def test_plain_data_may_be_a_task(kind: type, sent: object) -> None:
    assert through(codec(kind), sent) == sent


def test_the_handler_gets_a_copy_and_not_what_was_passed() -> None:
    order = Loose(anything={"list": [1]})
    arrived = through(codec(Loose), order)
    assert arrived == order
    assert arrived is not order
    assert arrived.anything["list"] is not order.anything["list"]


def test_a_dict_keeps_its_order() -> None:
    sent = Loose(anything={"b": 1, "a": 2, "c": {"z": 1, "y": 2}})
    arrived = through(codec(Loose), sent)
    assert list(arrived.anything) == ["b", "a", "c"]
    assert list(arrived.anything["c"]) == ["z", "y"]


def test_json_has_no_key_and_does_not_depend_on_the_id() -> None:
    coder = codec(Address)
    assert isinstance(coder, JsonCodec)
    assert coder.key_id is None
    assert coder.encode(Address("a"), ID) == coder.encode(Address("a"), OTHER_ID) == b'{"street":"a","zip":null}'


@settings(deadline=None)
@given(st.binary(max_size=60) | ORDERS.map(lambda order: codec(Order, limit=10**6).encode(order, ID)[:-1]))
def test_bytes_that_are_no_task_of_the_type_are_a_payload_error(payload: bytes) -> None:
    with pytest.raises(PayloadError, match="does not decode back"):
        codec(Order).decode(payload, ID, None)


# JSON: what is refused, by name


class Arbitrary:
    pass


def nested(depth: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


@pytest.mark.parametrize(
    "sent",
    [
        Loose(price=math.nan),
        Loose(price=math.inf),
        Loose(price=-math.inf),
        Loose(maybe=math.nan),
        Loose(anything=math.nan),
        Loose(anything={"deep": [1.0, {"er": math.inf}]}),
        Loose(anything=1j),
        Loose(anything=Arbitrary()),
        Loose(anything=lambda: None),
        Loose(anything=[Arbitrary()]),
        Loose(anything={(1, 2): 3}),
        Loose(anything=nested(100_000)),
        Loose(text="lone \ud800 surrogate"),
        Loose(anything={"\udfff": 1}),
        Loose(number="7"),  # type: ignore[arg-type]
        Loose(number=7.5),  # type: ignore[arg-type]
        Loose(number=True),
        Loose(number=None),  # type: ignore[arg-type]
        Loose(price="1.0"),  # type: ignore[arg-type]
        Loose(text="x" * LIMIT),
    ],
    ids=[
        "NaN in a float field",
        "infinity in a float field",
        "negative infinity",
        "NaN in an optional float field",
        "NaN in an untyped field",
        "infinity deep inside",
        "complex",
        "arbitrary object",
        "function",
        "arbitrary object in a list",
        "tuple as a key",
        "deep nesting",
        "lone surrogate",
        "lone surrogate in a key",
        "text in an int field",
        "fraction in an int field",
        "bool in an int field",
        "None in an int field",
        "text in a float field",
        "over the limit",
    ],
)
def test_what_does_not_survive_encoding_is_a_payload_error_that_names_the_type(sent: Loose) -> None:
    with pytest.raises(PayloadError) as refusal:
        through(codec(Loose), sent)
    assert f"task {__name__}.Loose " in str(refusal.value)


@pytest.mark.parametrize("text", ["lone \ud800 surrogate", "x" * LIMIT], ids=["surrogate", "over the limit"])
def test_a_pydantic_model_that_cannot_be_stored_is_a_payload_error(text: str) -> None:
    with pytest.raises(PayloadError, match="PydanticAddress"):
        codec(PydanticAddress).encode(PydanticAddress(street=text), ID)


@pytest.mark.parametrize("value", [math.nan, math.inf], ids=str)
def test_a_pydantic_model_with_what_json_has_no_number_for_is_a_payload_error(value: float) -> None:
    with pytest.raises(PayloadError, match="Measured"):
        through(codec(Measured), Measured(value=value))


def test_a_pydantic_model_made_without_validation_is_a_payload_error() -> None:
    wrong = PydanticAddress.model_construct(street=7)
    with pytest.raises(PayloadError), pytest.warns(UserWarning, match="serializ"):
        through(codec(PydanticAddress), wrong)


def test_what_json_cannot_carry_is_told_with_the_other_codec_as_remedy() -> None:
    with pytest.raises(PayloadError) as refusal:
        codec(Loose).encode(Loose(anything=1j), ID)
    assert "cannot be encoded as JSON: " in str(refusal.value)
    assert 'use plain data, or codec = "cloudpickle" on its handler' in str(refusal.value)
    assert isinstance(refusal.value.__cause__, TypeError)


def test_a_field_of_the_wrong_type_is_told_with_the_annotations_as_remedy() -> None:
    wrong: Any = "7"
    with pytest.raises(PayloadError) as refusal:
        through(codec(Loose), Loose(number=wrong))
    assert "does not decode back: Expected `int`, got `str` - at `$.number`; check its field annotations" in str(
        refusal.value
    )


def test_a_payload_of_exactly_the_limit_is_accepted_and_a_longer_one_told_with_the_remedies() -> None:
    coder = codec(str, limit=100)
    assert len(coder.encode("x" * 98, ID)) == 100
    with pytest.raises(PayloadError) as refusal:
        coder.encode("x" * 99, ID)
    assert str(refusal.value) == (
        "payload of task builtins.str has 101 bytes, the limit is 100; store large data elsewhere and dispatch "
        "a reference to it, or raise Settings.payload_limit"
    )


def test_the_limit_of_a_pickled_payload_is_that_of_its_body() -> None:
    body = len(cloudpickle.dumps("x"))
    assert through(pickling(str, limit=body), "x") == "x"
    with pytest.raises(PayloadError, match=f"has {body} bytes, the limit is {body - 1}; "):
        pickling(str, limit=body - 1).encode("x", ID)


@pytest.mark.parametrize("make", [codec, pickling])
def test_a_result_over_the_limit_is_told_with_both_lengths(make: Callable[..., TaskCodec]) -> None:
    coder = make(Address, limit=100)
    with pytest.raises(ResultError, match=r"1\d\d bytes, the limit is 100; return plain data"):
        coder.encode_result("x" * 100, ID)


@pytest.mark.parametrize("kind", [NoFields, object], ids=["class", "object"])
def test_a_class_without_fields_is_refused_for_json_with_the_remedies(kind: type) -> None:
    with pytest.raises(HandlerError) as refusal:
        codec(kind)
    assert f"tasks of class {kind.__qualname__} cannot travel as JSON: " in str(refusal.value)
    assert "make it a dataclass, msgspec.Struct, attrs or pydantic class with annotated fields" in str(refusal.value)
    assert 'set codec = "cloudpickle"' in str(refusal.value)


def test_a_class_whose_annotations_do_not_resolve_is_refused_when_the_system_is_built() -> None:
    @dataclass
    class Unresolved:
        other: "NotHere"  # type: ignore[name-defined]  # noqa: F821 - that is the point

    with pytest.raises(HandlerError, match="cannot travel as JSON: "):
        codec(Unresolved)


# JSON: results


@pytest.mark.parametrize(
    ("annotation", "result"),
    [
        (Any, {"a": [1, None]}),
        (int, 7),
        (str, "é"),
        (UUID, UUID(int=7)),
        (datetime, datetime(2026, 1, 1, tzinfo=UTC)),
        (Decimal, Decimal("1.50")),
        (Address, Address("a", 7)),
        (list[Address], [Address("a"), Address("b", 2)]),
        (tuple[int, str], (1, "a")),
        (Address | None, Address("a")),
        (StructOrder, StructOrder(1, Address("a"))),
        (AttrsOrder, AttrsOrder(1, Address("a"))),
        (PydanticAddress, PydanticAddress(street="a")),
        (bool, False),
        (int, 0),
        (str, ""),
    ],
    ids=repr,
)
def test_a_result_comes_back_as_the_annotation_of_handle_says(annotation: Any, result: object) -> None:
    arrived = result_through(codec(Loose, result=annotation), result)
    assert arrived == result
    assert type(arrived) is type(result)


@pytest.mark.parametrize(
    "result",
    [
        Aliased(orderId=7),
        AliasedBothWays.model_validate({"readAs": 1, "written": 2, "one": 3}),
        Derived(net=7),
    ],
    ids=["aliases", "different names", "computed field"],
)
def test_a_model_as_a_result_survives_as_it_does_as_a_task(result: pydantic.BaseModel) -> None:
    """Neither plain data in its place, nor defaults in the place of values."""
    assert result_through(codec(Loose, result=type(result)), result) == result


@pytest.mark.parametrize("make", [codec, pickling])
def test_no_result_is_stored_as_none(make: Callable[..., TaskCodec]) -> None:
    assert make(Wave if make is pickling else Loose).encode_result(None, ID) is None
    assert make(Wave if make is pickling else Loose).decode_result(None, ID) is None


@pytest.mark.parametrize("annotation", [int, Address, PydanticAddress, list[Address], None], ids=str)
def test_a_result_that_does_not_fit_the_annotation_comes_back_as_plain_data(annotation: Any) -> None:
    assert result_through(codec(Loose, result=annotation), {"other": 1}) == {"other": 1}


@pytest.mark.parametrize(
    "annotation", [NoFields, Callable[[], int], list[NoFields], complex], ids=lambda a: repr(a)[:20]
)
def test_an_annotation_that_json_has_no_schema_for_gives_plain_data(annotation: Any) -> None:
    assert result_through(codec(Loose, result=annotation), [1]) == [1]


def test_a_model_without_annotation_comes_back_as_plain_data() -> None:
    assert result_through(codec(Loose), [PydanticAddress(street="a")]) == [{"street": "a", "zip": None}]
    assert result_through(codec(Loose), Address("a")) == {"street": "a", "zip": None}


@pytest.mark.parametrize(
    "result",
    [
        1j,
        Arbitrary(),
        {"deep": [Arbitrary()]},
        lambda: None,
        "lone \ud800 surrogate",
        nested(100_000),
        "x" * LIMIT,
        math.nan,
        [1.0, math.inf],
    ],
    ids=["complex", "object", "deep", "function", "surrogate", "nesting", "over the limit", "NaN", "infinity"],
)
def test_a_result_that_cannot_be_stored_is_a_result_error_with_task_and_remedy(result: object) -> None:
    with pytest.raises(ResultError) as refusal:
        codec(Loose, result=Any).encode_result(result, ID)
    assert str(refusal.value).startswith(f"the result of task {__name__}.Loose ({UUID(bytes=ID)}) cannot be stored: ")
    assert str(refusal.value).endswith("; return plain data, or store it elsewhere and return a reference")


# cloudpickle: what survives


@pytest.fixture(autouse=True)
def canaries() -> list[str]:
    """The words of canaries that were decoded in this test."""
    exploded.clear()
    return exploded


def test_cloudpickle_carries_what_json_cannot() -> None:
    coder = pickling(Wave)
    assert isinstance(coder, PickleCodec)
    assert through(coder, Wave(1j)) == Wave(1j)
    assert result_through(coder, [Wave(2j), len]) == [Wave(2j), len]


def test_a_function_made_on_the_spot_can_travel() -> None:
    offset = 3
    arrived = through(pickling(Loose), Loose(anything=lambda n: n + offset))
    assert arrived.anything(4) == 7


def test_the_canary_sings_when_it_is_decoded(canaries: list[str]) -> None:
    """Otherwise its silence below would prove nothing."""
    coder = pickling()
    payload = coder.encode(Trapped(1), ID)
    assert canaries == []
    assert coder.decode(payload, ID, coder.key_id) == Trapped(1)
    assert canaries == ["made", "filled"]


def test_cloudpickle_without_a_key_is_refused_when_the_system_is_built() -> None:
    with pytest.raises(HandlerError) as refusal:
        pickling(keys={})
    assert f'{__name__}.Trapped uses codec = "cloudpickle", which needs a key to sign with: ' in str(refusal.value)
    assert "Settings(secret_keys={'2026-01': b'...'}), since unpickling runs code" in str(refusal.value)


class Unpicklable:
    def __reduce__(self) -> Any:
        msg = "never"
        raise ValueError(msg)


@pytest.mark.parametrize(
    "value", [Unpicklable(), nested(100_000), "x" * LIMIT], ids=["refuses", "deep nesting", "over the limit"]
)
def test_what_cannot_be_pickled_is_a_named_error(value: object) -> None:
    coder = pickling(Loose)
    with pytest.raises(PayloadError, match=f"{__name__}.Loose"):
        coder.encode(Loose(anything=value), ID)
    with pytest.raises(ResultError, match=f"{__name__}.Loose"):
        coder.encode_result(value, ID)


def test_a_signed_payload_of_another_class_is_refused() -> None:
    payload = pickling(Wave).encode(Loose(number=7), ID)
    with pytest.raises(PayloadError, match="Wave holds a Loose"):
        pickling(Wave).decode(payload, ID, "2026-01")


@dataclass
class Spoiled:
    """A task that pickles and does not unpickle."""

    number: int = 0

    def __setstate__(self, state: object) -> None:
        msg = "spoiled"
        raise ValueError(msg)


def test_a_signed_payload_that_does_not_unpickle_is_a_payload_error() -> None:
    coder = pickling(Spoiled)
    with pytest.raises(PayloadError, match="Spoiled does not unpickle: spoiled"):
        through(coder, Spoiled())


# cloudpickle: what a signature keeps out


def refused(coder: TaskCodec, payload: bytes, task_id: bytes = ID, key_id: str | None = "2026-01") -> bool:
    """Whether the payload is refused before one of its bytes is decoded."""
    try:
        coder.decode(payload, task_id, key_id)
    except PayloadError as error:
        return not exploded and "nothing was decoded" in str(error)
    return False


def test_two_thousand_random_bit_flips_are_all_refused_with_nothing_decoded() -> None:
    coder, chance = pickling(), random.Random(2026)
    payload = coder.encode(Trapped(1), ID)
    for _ in range(2_000):
        flipped = bytearray(payload)
        for place in chance.sample(range(len(payload) * 8), chance.choice((1, 1, 1, 2, 8))):
            flipped[place // 8] ^= 1 << place % 8
        assert refused(coder, bytes(flipped))


def test_every_truncation_and_extension_is_refused_with_nothing_decoded() -> None:
    coder = pickling()
    payload = coder.encode(Trapped(1), ID)
    assert all(refused(coder, payload[:length]) for length in range(len(payload)))
    assert all(refused(coder, payload[start:]) for start in range(1, len(payload)))
    assert refused(coder, payload + b"\0")
    assert refused(coder, b"\0" + payload)
    assert refused(coder, payload + payload)


@pytest.mark.parametrize(
    "splice",
    [
        lambda one, other: one[:32] + other[32:],
        lambda one, other: other[:32] + one[32:],
        lambda one, other: one + other,
        lambda one, other: one[:32] + one[32:] + other[32:],
        lambda one, other: bytes(32) + one[32:],
        lambda one, other: one[32:],
        lambda one, other: one[:40] + other[40:],
    ],
    ids=["body", "signature", "both", "two bodies", "no signature", "bare body", "inside the body"],
)
def test_parts_of_two_valid_payloads_do_not_make_a_third(splice: Callable[[bytes, bytes], bytes]) -> None:
    coder = pickling()
    one, other = coder.encode(Trapped(1), ID), coder.encode(Trapped(2), ID)
    assert refused(coder, splice(one, other))


def test_a_valid_payload_is_refused_under_another_task_id() -> None:
    coder = pickling()
    payload = coder.encode(Trapped(1), ID)
    assert refused(coder, payload, OTHER_ID)


def test_a_valid_payload_is_refused_under_another_type() -> None:
    payload = pickling(task_name="shop.Pay").encode(Trapped(1), ID)
    assert refused(pickling(task_name="shop.Bill"), payload)


def test_a_valid_payload_is_refused_under_another_key_id() -> None:
    coder = pickling()
    payload = coder.encode(Trapped(1), ID)
    assert refused(coder, payload, key_id="2025-07")


def test_the_same_key_under_another_id_is_another_key() -> None:
    payload = pickling(keys={"a": b"same"}).encode(Trapped(1), ID)
    assert refused(pickling(keys={"b": b"same", "a": b"same"}), payload, key_id="b")


@pytest.mark.parametrize("key_id", [None, "", "2024-01", "2026-01 ", "\0", "é"])
def test_an_unknown_key_is_refused_by_its_id_with_nothing_decoded(key_id: str | None, canaries: list[str]) -> None:
    coder = pickling()
    with pytest.raises(PayloadError) as refusal:
        coder.decode(coder.encode(Trapped(1), ID), ID, key_id)
    assert f"is signed with key {key_id!r}, which Settings.secret_keys does not have" in str(refusal.value)
    assert canaries == []


def test_no_byte_moves_from_the_key_id_into_the_body_under_one_signature() -> None:
    """What is signed is told apart by its lengths: "ab" and "c" are not "a" and "bc"."""
    keys = {"2026N": b"same", "2026": b"same"}  # N is None in a pickle
    coder = pickling(keys=keys)
    payload = coder.encode(Trapped(1), ID)
    assert refused(coder, payload[:32] + b"N" + payload[32:], key_id="2026")


def test_a_payload_does_not_pass_as_a_result_nor_a_result_as_a_payload(canaries: list[str]) -> None:
    coder = pickling()
    payload, result = coder.encode(Trapped(1), ID), coder.encode_result(Trapped(1), ID)
    assert result is not None
    with pytest.raises(PayloadError, match="nothing was decoded"):
        coder.decode_result(b"2026-01\0" + payload, ID)
    assert refused(coder, result.partition(b"\0")[2])
    assert canaries == []


def test_neither_key_nor_body_is_told_in_a_refusal() -> None:
    coder = pickling(Loose)
    payload = bytearray(coder.encode(Loose(text="confidential"), ID))
    payload[-1] ^= 1
    with pytest.raises(PayloadError) as refusal:
        coder.decode(bytes(payload), ID, "2026-01")
    assert str(UUID(bytes=ID)) in str(refusal.value)
    assert "first key" not in str(refusal.value)
    assert "confidential" not in str(refusal.value)


def test_a_changed_result_is_refused_with_nothing_decoded(canaries: list[str]) -> None:
    coder, chance = pickling(), random.Random(2026)
    result = coder.encode_result([Canary()], ID)
    assert result is not None
    assert coder.decode_result(result, ID)
    canaries.clear()
    changes = [result[:length] for length in range(len(result))]
    for _ in range(500):
        flipped = bytearray(result)
        place = chance.randrange(len(result) * 8)
        flipped[place // 8] ^= 1 << place % 8
        changes.append(bytes(flipped))
    for changed in changes:
        with pytest.raises(PayloadError):
            coder.decode_result(changed, ID)
    with pytest.raises(PayloadError):
        coder.decode_result(result, OTHER_ID)
    assert canaries == []


# cloudpickle: keys that change, names that change, processes that change


def test_the_first_key_signs() -> None:
    assert pickling().key_id == "2026-01"
    assert pickling(keys=dict(reversed(KEYS.items()))).key_id == "2025-07"


def test_after_a_rotation_the_old_key_still_verifies_and_the_new_one_signs() -> None:
    old, rotated = pickling(Wave, keys={"old": b"o"}), pickling(Wave, keys={"new": b"n", "old": b"o"})
    assert rotated.decode(old.encode(Wave(1j), ID), ID, "old") == Wave(1j)
    assert rotated.decode_result(old.encode_result(Wave(1j), ID), ID) == Wave(1j)
    assert rotated.key_id == "new"
    assert pickling(Wave, keys={"new": b"n"}).decode(rotated.encode(Wave(2j), ID), ID, "new") == Wave(2j)


def test_a_removed_key_is_refused_by_its_id(canaries: list[str]) -> None:
    old, without = pickling(keys={"old": b"o"}), pickling(keys={"new": b"n"})
    missing = re.escape("signed with key 'old', which Settings.secret_keys does not have")
    with pytest.raises(PayloadError, match=missing):
        without.decode(old.encode(Trapped(1), ID), ID, "old")
    with pytest.raises(PayloadError, match=missing):
        without.decode_result(old.encode_result(Trapped(1), ID), ID)
    assert canaries == []


def test_a_replaced_key_under_the_same_id_does_not_verify() -> None:
    payload = pickling(keys={"old": b"o"}).encode(Trapped(1), ID)
    assert refused(pickling(keys={"old": b"other"}), payload, key_id="old")


def test_keys_are_taken_when_the_system_is_built() -> None:
    keys = {"old": b"o"}
    coder = pickling(Wave, keys=keys)
    payload = coder.encode(Wave(1j), ID)
    keys.clear()
    assert coder.decode(payload, ID, "old") == Wave(1j)


def test_what_was_stored_under_an_earlier_name_can_still_be_read() -> None:
    """`aliases`: names under which tasks of this type were stored earlier."""
    before, after = pickling(Wave, task_name="old.Wave"), pickling(Wave, task_name="new.Wave", aliases=("old.Wave",))
    assert after.decode(before.encode(Wave(1j), ID), ID, "2026-01") == Wave(1j)
    assert after.decode_result(before.encode_result(Wave(2j), ID), ID) == Wave(2j)


@task(codec="cloudpickle")
def shift(by: complex) -> complex:
    return by


def test_the_task_of_a_function_can_be_pickled() -> None:
    assert through(codec_for(specify([shift])[0], KEYS, LIMIT), shift.task(1j)) == shift.task(1j)


PROGRAM = """
import pathlib, sys
from dataclasses import dataclass
from everact.storage.codec import codec_for
from everact.tasks.handler import TaskHandler
from everact.tasks.registration import specify
from everact.tasks.task import task

@dataclass
class Wave:
    amplitude: complex

class WaveHandler(TaskHandler[Wave]):
    codec = "cloudpickle"
    def handle(self, task, ctx): ...

@task(codec="cloudpickle")
def shift(by: complex) -> complex:
    return by

handler, made = {"class": (WaveHandler, Wave(1j)), "function": (shift, shift.task(1j))}[sys.argv[1]]
codec, file = codec_for(specify([handler])[0], {"k": b"key"}, 4096), pathlib.Path(sys.argv[1])
if file.exists():
    assert codec.decode(file.read_bytes(), bytes(16), "k") == made
else:
    file.write_bytes(codec.encode(made, bytes(16)))
"""


@pytest.mark.parametrize("kind", ["class", "function"])
def test_a_script_reads_after_a_restart_what_it_has_pickled_before(kind: str, tmp_path: Path) -> None:
    """Its classes live in `__main__`, which cloudpickle carries by value: a copy is not the registered class."""
    (tmp_path / "waves.py").write_text(PROGRAM)
    command = [sys.executable, "waves.py", kind]
    for _ in ("first start", "second start"):
        ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
