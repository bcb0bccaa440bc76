from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.errors import ConfigurationError
from whatssound.planning.activity import Activity, coming_and_going
from whatssound.planning.bill import bill, loads, usage
from whatssound.planning.latency import latency
from whatssound.planning.phases import PHASES, phase_of
from whatssound.planning.traffic import traffic, writes_per_second
from whatssound.planning.workload import Workload, per_second, read_trace, worst_minute
from whatssound.quotas import ENTERPRISE, FREE, PLANS, PRO, PRO_NO_CAP, TEAM

TRACE = Path(__file__).parents[2] / "data" / "livechat.csv"
QUIET = Workload(
    listeners=1_000,
    messages_per_second=5.0,
    seconds=3 * 3600,
    votes_per_listener_hour=0,
    tips_per_listener_hour=0,
    songs_per_hour=0,
    crew=0,
)


# --- counting


def test_chat_of_five_a_second_to_a_thousand_costs_what_the_arithmetic_says() -> None:
    """5 messages/s to 1,000 others, 3 h, each 1 + 1,000, and a frame to nobody for each that is stored."""
    sent = traffic(replace(QUIET, listeners=1_001), "changes", TEAM)
    tick = 0.501
    to_nobody = sent.frames
    assert sent.messages - to_nobody == pytest.approx(54_054_000)
    assert to_nobody == pytest.approx(10_800 / (tick + math.exp(-5 * tick) / 5))
    assert sent.broadcasts == 54_000


def test_frames_of_a_busy_room_come_once_a_tick() -> None:
    """1,000 listeners at 500 ms: 2 frames a second, 21.6 million messages in 3 h."""
    sent = traffic(replace(QUIET, messages_per_second=100.0), "frames", TEAM)
    assert (sent.tick_ms, sent.chat_path) == (500, "stored")
    assert sent.frames == pytest.approx(21_600)
    assert sent.messages == pytest.approx(21_600 * 1_001)
    assert sent.events_in_busiest_minute <= 0.8 * TEAM.events_per_second * 1.002
    assert bill(QUIET, sent, TEAM).beyond["messages"] == 42_500


def test_a_small_room_sends_each_write_at_once_and_broadcasts_chat() -> None:
    sent = traffic(replace(QUIET, listeners=20, messages_per_second=1.0), "frames", TEAM)
    assert (sent.tick_ms, sent.chat_path) == (0, "broadcast")
    assert sent.in_busiest_minute.messages == 1 + 19 + 1 + 20  # heard, stored, confirmed


def test_rooms_share_the_plan() -> None:
    one = traffic(QUIET, "frames", TEAM)
    four = traffic(replace(QUIET, rooms=4), "frames", TEAM)
    assert (one.tick_ms, four.tick_ms) == (500, 2_000)
    total = 4 * four.events_in_busiest_minute
    assert total <= 0.8 * TEAM.events_per_second * 1.002


def test_everybody_comes_and_goes_in_presence_only_in_small_rooms() -> None:
    assert coming_and_going(1) == 3  # the list, the word, the word to oneself; nobody is left to hear of the departure
    assert coming_and_going(3) == (3 + 0) + (4 + 1) + (5 + 2)
    assert traffic(replace(QUIET, listeners=300), "frames", TEAM).present == 300
    assert traffic(replace(QUIET, listeners=301, crew=3), "frames", TEAM).present == 3


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_activity_adds_up(members: int, listeners: int, said: int, rows: int, frames: int) -> None:
    """Each delivery one by one."""
    deliveries = said * max(0, members - 1) + rows * members + frames * listeners
    activity = Activity(members=members, frame_listeners=listeners, broadcasts=said, rows_changed=rows, frames=frames)
    assert activity.messages == said + frames + deliveries


@given(st.integers(1, 20_000), st.floats(0, 60), st.sampled_from(sorted(PLANS)))
def test_frames_never_overrun_the_plan(listeners: int, chat: float, name: str) -> None:
    """With a tick 80 % and the frames themselves; without one 60 %, although chat is heard twice there."""
    plan = PLANS[name]
    sent = traffic(replace(QUIET, listeners=listeners, messages_per_second=chat), "frames", plan)
    if sent.tick_ms:
        longest = sent.tick_ms == 60_000
        assert longest or sent.events_in_busiest_minute <= 0.8 * plan.events_per_second + 1000 / sent.tick_ms + 1e-6
    else:
        assert sent.events_in_busiest_minute <= 0.6 * plan.events_per_second + 2 * chat + 1


# --- the trace


def test_the_trace_is_read() -> None:
    chat, characters = read_trace(TRACE)
    assert sum(chat) == 28_013
    assert 20 < characters < 40
    assert max(chat) >= 40


@pytest.mark.parametrize(
    "text", ["", "offset_ms,length\n", "offset_ms,length\nx,1\n", "a,b\n1,2\n", "offset_ms,length\n-5,1\n"]
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match="trace"):
        read_trace(file)


def test_a_missing_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")


@given(st.lists(st.integers(0, 100_000), max_size=50))
def test_no_message_is_lost_in_counting(offsets: list[int]) -> None:
    counts = per_second(offsets)
    assert sum(counts) == len(offsets)


def test_the_worst_minute_is_looked_for_in_steps() -> None:
    events = [0.0] * 60 + [10.0] * 60 + [0.0] * 60
    assert worst_minute(events) == 10.0
    assert worst_minute([4.0, 0.0]) == 2.0
    # A minute that begins between two looks is never seen whole.
    assert worst_minute([0.0] * 62 + [10.0] * 60 + [0.0] * 60) == pytest.approx(10 * 58 / 60)


def test_a_trace_peaks_higher_than_its_mean() -> None:
    chat, characters = read_trace(TRACE)
    workload = replace(
        QUIET, chat=chat, characters=characters, messages_per_second=sum(chat) / len(chat), seconds=len(chat)
    )
    sent = traffic(workload, "changes", TEAM)
    mean = sent.messages / workload.seconds
    assert sent.events_in_busiest_second > 2 * sent.events_in_busiest_minute > 2 * mean
    assert sent.broadcasts == sum(chat)


def test_what_comes_after_a_trace_goes_on_at_its_mean() -> None:
    workload = replace(QUIET, chat=(2, 4), messages_per_second=3.0, seconds=10)
    assert traffic(workload, "changes", TEAM).broadcasts == pytest.approx(30)
    assert traffic(replace(workload, seconds=1), "changes", TEAM).broadcasts == 2


# --- bills


def test_the_bill_names_what_breaks_first_and_what_the_plan_stops_at() -> None:
    workload = replace(QUIET, messages_per_second=13.0, crew=3)
    found = bill(workload, traffic(workload, "changes", PRO), PRO)
    assert not found.fits
    assert found.mills is None
    assert found.loads[0].what.startswith("messages a second")
    assert "messages" in found.stops
    assert "peak connections" in found.stops
    team = bill(workload, traffic(workload, "frames", TEAM), TEAM)
    assert team.fits
    assert team.mills == 599_000 + 42_500 + 10_000 + team.beyond["egress"]  # type: ignore[operator]
    assert bill(workload, traffic(workload, "frames", ENTERPRISE), ENTERPRISE).mills is None


@given(st.integers(1, 10_000), st.floats(0, 50), st.integers(1, 60))
def test_more_never_costs_less(listeners: int, chat: float, sessions: int) -> None:
    def price(workload: Workload) -> int:
        mills = bill(workload, traffic(workload, "changes", PRO_NO_CAP), PRO_NO_CAP).mills
        assert mills is not None
        return mills

    less = replace(QUIET, listeners=listeners, messages_per_second=chat, sessions=sessions, seconds=600)
    assert price(less) <= price(replace(less, listeners=listeners + 500, sessions=sessions + 1))


def test_a_session_uses_what_its_parts_add_up_to() -> None:
    workload = Workload(listeners=100, messages_per_second=1.0, seconds=3600, sessions=2, rooms=3)
    sent = traffic(workload, "frames", TEAM)
    used = usage(workload, sent)
    assert used.messages == pytest.approx(6 * sent.messages)
    assert used.peak_connections == 300
    assert used.edge_invocations == pytest.approx(6 * 5)
    chat_alone = replace(workload, votes_per_listener_hour=0, tips_per_listener_hour=0, songs_per_hour=0)
    assert usage(chat_alone, traffic(chat_alone, "frames", TEAM)).database_gb == pytest.approx(6 * 3600 * 330 / 1e9)


def test_limits_are_listed_in_the_order_in_which_they_are_reached() -> None:
    sent = traffic(QUIET, "frames", FREE)
    shares = [load.share for load in loads(QUIET, sent, FREE)]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) >= 6


# --- latency


def test_latency_is_that_of_the_measurements_where_there_are_some() -> None:
    workload = Workload(listeners=200, messages_per_second=0.5, seconds=3600, votes_per_listener_hour=0)
    seen = latency(workload, traffic(workload, "frames", TEAM))
    assert (seen.vote_p50, seen.vote_p95, seen.extrapolated) == (0.017, 0.027, False)
    slow = latency(workload, traffic(workload, "changes", TEAM))
    assert (slow.vote_p50, slow.vote_p95) == (0.212, 0.682)


def test_postgres_changes_are_not_given_a_latency_where_they_fell_behind() -> None:
    """500 subscribers × 20 votes/s took seconds, and longer each run."""
    workload = Workload(listeners=500, messages_per_second=0.0, seconds=3600, votes_per_listener_hour=20 * 3600 / 500)
    assert latency(workload, traffic(workload, "changes", TEAM)).vote_p95 is None
    assert latency(workload, traffic(workload, "frames", TEAM)).vote_p95 is not None


def test_a_tick_is_waited_for_and_no_longer() -> None:
    workload = replace(QUIET, messages_per_second=20.0)
    seen = latency(workload, traffic(workload, "frames", TEAM))
    assert seen.extrapolated
    assert seen.vote_p50 is not None
    assert seen.vote_p95 is not None
    assert 0.25 < seen.vote_p50 < 0.35
    assert 0.475 < seen.vote_p95 < 0.5 + 0.2


# --- phases and input


def test_every_number_of_people_has_a_phase() -> None:
    assert [phase_of(people).name for people in (1, 10_000, 10_001, 100_001, 1_000_001)] == [
        "0-10 k",
        "0-10 k",
        "10-100 k",
        "100 k-1 M",
        "1 M+",
    ]
    assert all(phase.plan in PLANS for phase in PHASES)


@pytest.mark.parametrize(
    ("name", "value"),
    [("listeners", 0), ("seconds", 0), ("rooms", -1), ("messages_per_second", -1), ("messages_per_second", math.nan)],
)
def test_impossible_workloads_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigurationError) as raised:
        replace(QUIET, **{name: value})  # type: ignore[arg-type]
    assert raised.value.setting == name


def test_writes_are_everything_that_the_log_tells() -> None:
    workload = Workload(
        listeners=3600, messages_per_second=0, seconds=1, votes_per_listener_hour=2, tips_per_listener_hour=1
    )
    assert writes_per_second(workload, 5.0) == pytest.approx(5 + 2 + 1 + 2 * 17 / 3600)
