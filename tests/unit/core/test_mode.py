"""The mode follows the database's word, our settings and refusals, and never flaps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.config import ChatPathChoice, FeedChoice
from whatssound.core.mode import Mode, ModeChooser
from whatssound.models import FeedInfo

FRAMES = FeedInfo(frames=True)
TICKING = FeedInfo(frames=True, tick_ms=500, chat_path="stored")


def chooser(feed: FeedChoice = "auto", chat_path: ChatPathChoice = "auto", large_room: int = 100) -> ModeChooser:
    return ModeChooser(feed=feed, chat_path=chat_path, large_room=large_room)


def told(info: FeedInfo = FRAMES, *, may_join: bool = True, feed: FeedChoice = "auto") -> ModeChooser:
    made = chooser(feed)
    made.told(info, may_join=may_join)
    return made


def test_nothing_known_means_changes_by_broadcast() -> None:
    assert chooser().mode == Mode("changes", "broadcast", "small", 0)


@pytest.mark.parametrize(
    ("info", "may_join", "feed", "expected"),
    [
        (FRAMES, True, "auto", "frames"),
        (FRAMES, False, "auto", "changes"),
        (FeedInfo(), True, "auto", "changes"),
        (FRAMES, True, "changes", "changes"),
        (FeedInfo(), False, "frames", "frames"),
    ],
)
def test_the_feed(info: FeedInfo, may_join: bool, feed: FeedChoice, expected: str) -> None:
    assert told(info, may_join=may_join, feed=feed).mode.feed == expected


@pytest.mark.parametrize(
    ("info", "may_join", "refused", "unavailable"),
    [
        (FRAMES, True, False, False),
        (FRAMES, True, True, True),
        (FRAMES, False, False, True),
        (FeedInfo(), True, False, True),
    ],
)
def test_nothing_but_frames_may_be_unavailable(
    info: FeedInfo, may_join: bool, refused: bool, unavailable: bool
) -> None:
    choices: tuple[FeedChoice, ...] = ("frames", "auto", "changes")
    for feed in choices:
        made = told(info, may_join=may_join, feed=feed)
        if refused:
            made.refuse()
        assert made.is_unavailable is (unavailable and feed == "frames")


def test_a_refusal_holds_whatever_the_database_says_later() -> None:
    made = told()
    made.refuse()
    made.told(FRAMES, may_join=True)
    assert made.mode.feed == "changes"


def test_a_heartbeat_does_not_say_who_may_join_and_changes_nothing_there() -> None:
    made = told()
    made.told(TICKING)
    assert made.mode == Mode("frames", "stored", "small", 500)


def test_the_chat_path_is_the_database_s_unless_ours_is_set() -> None:
    paths: tuple[ChatPathChoice, ...] = ("broadcast", "stored")
    for path in paths:
        made = chooser(chat_path=path)
        for info in (FRAMES, TICKING):
            made.told(info, may_join=True)
            assert made.mode.chat_path == path


def test_a_frame_names_the_tick() -> None:
    made = told(TICKING)
    made.ticks(250)
    assert made.mode == Mode("frames", "stored", "small", 250)


def test_listeners_leave_a_large_room_s_writable_topic_and_store_their_chat() -> None:
    made = chooser(chat_path="broadcast")
    made.told(FRAMES, may_join=True)
    made.occupied(101)
    assert not made.keeps_topic
    assert made.mode == Mode("frames", "stored", "large", 0)
    made.crew(True)
    assert made.keeps_topic
    assert made.mode.chat_path == "broadcast"
    made.crew(False)
    made.occupied(79)
    assert made.keeps_topic
    assert made.mode.chat_path == "broadcast"


def test_by_postgres_changes_everybody_keeps_the_topic() -> None:
    made = told(may_join=False)
    made.occupied(10_000)
    assert made.mode == Mode("changes", "broadcast", "large", 0)
    assert made.keeps_topic


@given(st.integers(1, 5_000), st.lists(st.integers(80, 100), min_size=1, max_size=50), st.booleans())
def test_the_room_never_flaps_while_occupancy_jitters_within_a_fifth(
    threshold: int, parts: list[int], starts_large: bool
) -> None:
    made = chooser(large_room=threshold)
    made.occupied(threshold * 2 if starts_large else 0)
    before = made.mode.room
    for part in parts:
        made.occupied(-(-threshold * part // 100))  # rounded up: never below the part
        assert made.mode.room == before


@given(st.integers(1, 5_000), st.integers(0, 20_000))
def test_beyond_the_threshold_the_room_is_large_and_well_below_it_small(threshold: int, count: int) -> None:
    for start in (0, threshold * 2):
        made = chooser(large_room=threshold)
        made.occupied(start)
        made.occupied(count)
        if count > threshold:
            assert made.mode.room == "large"
        if count < 0.8 * threshold:
            assert made.mode.room == "small"


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(0, 0, True), (0, 250, False), (500, 0, False), (500, 590, True), (500, 610, False), (500, 395, False)],
)
def test_a_tick_is_worth_telling_when_it_changed_by_a_fifth(one: int, other: int, same: bool) -> None:
    assert Mode("frames", tick_ms=one).travels_as(Mode("frames", tick_ms=other)) is same


def test_the_size_of_the_room_is_told_apart() -> None:
    assert Mode(room="large").travels_as(Mode(room="small"))
    assert not Mode(chat_path="stored").travels_as(Mode())
    assert not Mode(feed="frames").travels_as(Mode())
