"""Checksums: every flipped bit of a payload is found before the payload is decoded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everact.storage.checksum import checksum, verify
from everact.tasks.errors import PayloadError
from everact.tasks.record import Record


def record(payload: bytes, sum_of_it: int | None) -> Record:
    return Record(id=bytes(16), type="shop.Pay", payload=payload, due=0, created=0, checksum=sum_of_it)


@given(st.binary(max_size=400))
def test_an_undamaged_payload_passes(payload: bytes) -> None:
    verify(record(payload, checksum(payload)))


@given(st.binary(min_size=1, max_size=400), st.data())
def test_every_flipped_bit_is_found(payload: bytes, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, len(payload) * 8 - 1))
    damaged = bytearray(payload)
    damaged[position // 8] ^= 1 << position % 8
    with pytest.raises(PayloadError, match=r"payload of task .* \(shop.Pay\) is damaged"):
        verify(record(bytes(damaged), checksum(payload)))


def test_a_row_without_a_checksum_is_not_checked() -> None:
    verify(record(b"anything", None))
