"""UUIDv7 by RFC 9562, canonical UUIDs, topics."""

from __future__ import annotations

import random
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.identifiers import Uuid7Source, as_uuid, session_topic, uuid7_unix_ms
from whatssound.errors import InvalidInputError

NOW = 1_764_000_000_000
STEPS = st.lists(st.integers(-200, 200), min_size=1, max_size=60)


def source(seed: int = 7) -> Uuid7Source:
    return Uuid7Source(random.Random(seed).getrandbits)


def rand_part(identifier: str) -> int:
    number = uuid.UUID(identifier).int
    return ((number >> 64 & 0xFFF) << 62) | (number & ((1 << 62) - 1))


@given(steps=STEPS, seed=st.integers(0, 1000))
def test_identifiers_grow_whatever_a_jittery_clock_does(steps: list[int], seed: int) -> None:
    subject, now, made = source(seed), NOW, []
    for step in steps:
        now += step
        made.append(subject.make(now))
    assert made == sorted(made)
    assert len(set(made)) == len(made)


@given(unix_ms=st.integers(0, 2**48 - 1), seed=st.integers(0, 1000))
def test_layout_is_version_7_variant_10_and_carries_the_time(unix_ms: int, seed: int) -> None:
    made = source(seed).make(unix_ms)
    parsed = uuid.UUID(made)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert made == str(parsed)
    assert uuid7_unix_ms(made) == unix_ms
    assert uuid7_unix_ms(made.upper()) == unix_ms


def test_the_time_of_the_rfcs_own_example_is_read() -> None:
    assert uuid7_unix_ms("017F22E2-79B0-7CC3-98C4-DC0C0C07398F") == 1_645_557_742_000


def test_a_clock_that_steps_back_a_little_keeps_the_time_of_the_last_identifier() -> None:
    subject = source()
    first = subject.make(NOW)
    second = subject.make(NOW - 60_000)
    assert second > first
    assert uuid7_unix_ms(second) == NOW


def test_a_clock_put_right_by_more_than_a_minute_is_followed() -> None:
    subject = source()
    subject.make(NOW + 3_600_000)
    assert uuid7_unix_ms(subject.make(NOW)) == NOW


def test_an_exhausted_millisecond_borrows_the_next_one() -> None:
    subject = Uuid7Source(lambda bits: (1 << bits) - 1)
    made = [subject.make(NOW)]
    subject._last_rand = (1 << 74) - 2
    made += [subject.make(NOW), subject.make(NOW)]
    assert made == sorted(made)
    assert len(set(made)) == 3
    assert uuid7_unix_ms(made[-1]) == NOW + 1


def test_a_millisecond_has_room_to_count_up() -> None:
    subject = Uuid7Source(lambda bits: (1 << bits) - 1)
    first = subject.make(NOW)
    assert rand_part(first) < 1 << 73
    assert rand_part(subject.make(NOW)) == rand_part(first) + 1 + 0xFFFF


@given(value=st.uuids())
def test_every_spelling_of_a_uuid_becomes_the_canonical_one(value: uuid.UUID) -> None:
    for spelling in (value, str(value), str(value).upper(), value.hex, f"{{{value}}}", value.urn):
        assert as_uuid(spelling, "song_id") == str(value)


@pytest.mark.parametrize("value", ["", "x", "123", None, 5, b"\0" * 16, ["a"], "0" * 33])
def test_what_is_no_uuid_is_refused_with_its_arguments_name(value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        as_uuid(value, "song_id")  # type: ignore[arg-type]
    assert caught.value.argument == "song_id"


def test_only_version_7_carries_a_time() -> None:
    with pytest.raises(InvalidInputError, match="version 4"):
        uuid7_unix_ms(str(uuid.UUID(int=5, version=4)))


def test_the_topic_is_the_sessions() -> None:
    assert session_topic("8f0e0c6e-0000-4000-8000-000000000001") == "session:8f0e0c6e-0000-4000-8000-000000000001"
