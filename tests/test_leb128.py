from __future__ import annotations

import pytest
from dwarf_writer import sleb, uleb
from hypothesis import given
from hypothesis import strategies as st

from annotate.leb128 import MAX_LENGTH, read_sleb, read_uleb, write_sleb, write_uleb

# DWARF 5, figures 7.2 and 7.3 ("Examples of unsigned / signed LEB128 encodings").
UNSIGNED = [
    (2, "02"),
    (127, "7f"),
    (128, "80 01"),
    (129, "81 01"),
    (130, "82 01"),
    (12857, "b9 64"),
]
SIGNED = [
    (2, "02"),
    (-2, "7e"),
    (127, "ff 00"),
    (-127, "81 7f"),
    (128, "80 01"),
    (-128, "80 7f"),
    (129, "81 01"),
    (-129, "ff 7e"),
]


@pytest.mark.parametrize(("value", "encoded"), UNSIGNED)
def test_unsigned_examples_of_the_specification_are_read(value: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert read_uleb(data, 0) == (value, len(data))


@pytest.mark.parametrize(("value", "encoded"), SIGNED)
def test_signed_examples_of_the_specification_are_read(value: int, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert read_sleb(data, 0) == (value, len(data))


@pytest.mark.parametrize(("value", "encoded"), UNSIGNED)
def test_the_test_writer_encodes_the_unsigned_examples(value: int, encoded: str) -> None:
    assert uleb(value) == bytes.fromhex(encoded)


@pytest.mark.parametrize(("value", "encoded"), SIGNED)
def test_the_test_writer_encodes_the_signed_examples(value: int, encoded: str) -> None:
    assert sleb(value) == bytes.fromhex(encoded)


@given(st.integers(0, 2**64 - 1), st.integers(0, MAX_LENGTH), st.binary(max_size=3), st.binary(max_size=3))
def test_any_64_bit_unsigned_value_is_read_at_any_place_and_padding(
    value: int, length: int, before: bytes, behind: bytes
) -> None:
    encoded = uleb(value, length)
    assert read_uleb(before + encoded + behind, len(before)) == (value, len(before) + len(encoded))


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, MAX_LENGTH), st.binary(max_size=3), st.binary(max_size=3))
def test_any_64_bit_signed_value_is_read_at_any_place_and_padding(
    value: int, length: int, before: bytes, behind: bytes
) -> None:
    encoded = sleb(value, length)
    assert read_sleb(before + encoded + behind, len(before)) == (value, len(before) + len(encoded))


@pytest.mark.parametrize("value", [*range(-200, 200), -(2**13) - 1, -(2**13), 2**13 - 1, 2**13, -(2**63), 2**63 - 1])
def test_a_signed_value_is_written_as_the_test_writer_does(value: int) -> None:
    """Each by a way of its own: one has the bytes of small values in a list."""
    assert write_sleb(value) == sleb(value)


@pytest.mark.parametrize("value", [*range(300), 2**14 - 1, 2**14, 2**63, 2**64 - 1])
def test_an_unsigned_value_is_written_as_the_test_writer_does(value: int) -> None:
    assert write_uleb(value) == uleb(value)


@pytest.mark.parametrize("read", [read_uleb, read_sleb])
@pytest.mark.parametrize("data", [b"", b"\x80", b"\xff\xff", b"\x80" * 9])
def test_a_value_that_the_data_cuts_raises_index_error(read: object, data: bytes) -> None:
    assert callable(read)
    with pytest.raises(IndexError):
        read(data, 0)


@pytest.mark.parametrize("read", [read_uleb, read_sleb])
def test_ten_bytes_are_read_and_eleven_raise_value_error(read: object) -> None:
    assert callable(read)
    assert read(b"\x80" * 9 + b"\x00", 0) == (0, 10)
    with pytest.raises(ValueError, match="ten bytes"):
        read(b"\x80" * 10 + b"\x00", 0)
    with pytest.raises(ValueError, match="ten bytes"):
        read(b"\xff" * 100_000, 0)
