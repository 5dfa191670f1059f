"""Task ids: UUIDv7 in 16 bytes, and what the public API takes for one."""

import uuid
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.tasks.ids import id_bytes, uuid7_bytes

MILLISECONDS = st.integers(0, 2**48 - 1)
USED = 0x0FFF_3FFF_FFFF_FFFF_FFFF
RANDOMNESS = st.integers(0, 2**80 - 1).map(lambda number: number & USED)


@given(MILLISECONDS, RANDOMNESS)
def test_an_id_is_a_uuid_of_version_7_and_of_the_rfc_variant(milliseconds: int, randomness: int) -> None:
    made = uuid7_bytes(milliseconds, randomness)
    assert len(made) == 16
    assert UUID(bytes=made).version == 7
    assert UUID(bytes=made).variant == uuid.RFC_4122


@given(MILLISECONDS, RANDOMNESS)
def test_time_and_all_74_random_bits_can_be_read_back_from_an_id(milliseconds: int, randomness: int) -> None:
    number = UUID(bytes=uuid7_bytes(milliseconds, randomness)).int
    assert number >> 80 == milliseconds
    assert number & USED == randomness
    assert USED.bit_count() == 74


@given(st.tuples(MILLISECONDS, RANDOMNESS), st.tuples(MILLISECONDS, RANDOMNESS))
def test_ids_sort_by_their_time_and_then_by_their_randomness(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert (uuid7_bytes(*one) < uuid7_bytes(*other)) == (one < other)


@given(MILLISECONDS, RANDOMNESS, st.integers(0, 2**90))
def test_random_bits_in_the_place_of_version_and_variant_and_beyond_are_ignored(
    milliseconds: int, randomness: int, others: int
) -> None:
    assert uuid7_bytes(milliseconds, others & ~USED | randomness) == uuid7_bytes(milliseconds, randomness)


@given(st.uuids())
def test_every_way_to_write_an_id_means_the_same_record(given_id: UUID) -> None:
    forms = (given_id, str(given_id), given_id.hex, given_id.urn, f"{{{given_id}}}", str(given_id).upper())
    assert {id_bytes(form) for form in forms} == {given_id.bytes}


@pytest.mark.parametrize("text", ["", "order-7", "00000000-0000-0000-0000", "é" * 36])
def test_text_that_is_no_uuid_is_refused_and_shown(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        id_bytes(text)
    assert str(refusal.value) == f"{text!r} is not a task id; pass the UUID that dispatch() returned, or its text"


@pytest.mark.parametrize("value", [None, 7, bytes(16), ["id"]])
def test_what_is_neither_text_nor_uuid_is_refused_with_the_remedy(value: Any) -> None:
    with pytest.raises(TypeError, match=f"not {type(value).__name__}; pass handle.id"):
        id_bytes(value)
