"""The read-only view of a room, and the server's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whatssound.core.reducer import RoomState
from whatssound.errors import SessionClosedError
from whatssound.events import Event, PresenceJoined, Status, TipSent, TypingStarted, VoteCast
from whatssound.models import Presence, QueueItem, SessionInfo, Snapshot, SongId, Tally, Tip, TipTotals, UserId
from whatssound.state import LiveState, ServerTime

ID = "5e551010-0000-4000-8000-000000000000"
ANA = UserId("00000000-0000-4000-8000-0000000000aa")
EVE = UserId("00000000-0000-4000-8000-0000000000ee")
SONG = SongId("50000000-0000-4000-8000-000000000001")
EPOCH = datetime(2026, 11, 24, tzinfo=UTC)


def playing(**changes: Any) -> QueueItem:
    return QueueItem.model_validate(
        {
            "id": "17000000-0000-4000-8000-000000000001",
            "session_id": ID,
            "song_id": SONG,
            "title": "Cumbia",
            "rank": 1.0,
            "status": "playing",
            "version": 1,
            "seq": 1,
            "started_at": EPOCH,
            "duration_ms": 200_000,
            **changes,
        }
    )


def view(*events: Event, now: datetime = EPOCH) -> tuple[LiveState, RoomState]:
    room = RoomState(ANA, 200)
    for event in events:
        room.apply(event)
    return LiveState(room, lambda: Status.LIVE, lambda: now), room


def test_before_it_is_loaded_there_is_no_session() -> None:
    state, room = view()
    with pytest.raises(SessionClosedError):
        _ = state.session
    assert (state.me, state.now_playing, state.queue, state.messages, state.seq) == (None, None, (), (), 0)
    assert state.position() is None
    room.session = SessionInfo(id=ID, title="Noche", dj_id=EVE, status="live")  # type: ignore[arg-type]
    assert state.session.title == "Noche"
    assert repr(state) == "<LiveState seq=0 status=live>"


def test_it_follows_the_events() -> None:
    tally = Tally(up=1, score=1, seq=1)
    tip = Tip.model_validate(
        {
            "id": "79000000-0000-4000-8000-000000000001",
            "session_id": ID,
            "tipper_id": EVE,
            "dj_id": ANA,
            "amount": 500,
            "currency": "EUR",
            "status": "confirmed",
            "created_at": EPOCH,
        }
    )
    state, _ = view(
        VoteCast(song_id=SONG, user_id=ANA, value=1, tally=tally, seq=1),
        TipSent(tip=tip, seq=2),
        TypingStarted(user_id=EVE, username="eve"),
        PresenceJoined(member=Presence(user_id=EVE, username="eve")),
    )
    assert dict(state.tallies) == {SONG: tally}
    assert dict(state.my_votes) == {SONG: 1}
    assert state.tips == TipTotals(totals={"EUR": 500}, count=1)
    assert dict(state.typing) == {EVE: "eve"}
    assert state.presence[EVE].username == "eve"
    assert (state.seq, state.status) == (2, Status.LIVE)


def test_views_cannot_be_written() -> None:
    state, _ = view()
    for mapping in (state.tallies, state.my_votes, state.presence, state.typing):
        with pytest.raises(TypeError):
            mapping["x"] = 1  # type: ignore[index]


@pytest.mark.parametrize(("counted", "here", "occupancy"), [(0, 0, 0), (5, 0, 5), (0, 3, 3), (2, 3, 3), (9, 3, 9)])
def test_occupancy_is_the_higher_count(counted: int, here: int, occupancy: int) -> None:
    state, room = view(*(PresenceJoined(member=Presence(user_id=UserId(str(at)))) for at in range(here)))
    room.occupancy = counted
    assert state.occupancy == occupancy


@pytest.mark.parametrize(
    ("item", "after", "position"),
    [
        (playing(), 0, 0.0),
        (playing(), 42.5, 42.5),
        (playing(), 500, 200.0),
        (playing(duration_ms=None), 500, 500.0),
        (playing(), -3, 0.0),
        (playing(started_at=None), 10, None),
        (playing(status="queued"), 10, None),
    ],
)
def test_position_is_the_server_s_and_within_the_song(item: QueueItem, after: float, position: float | None) -> None:
    state, room = view(now=EPOCH + timedelta(seconds=after))
    room.take_item(item)
    assert state.position() == position


def test_a_snapshot_brings_everything() -> None:
    state, room = view()
    room.load(
        Snapshot.model_validate(
            {
                "session": {"id": ID, "title": "Noche", "dj_id": EVE, "status": "live"},
                "me": {"user_id": ANA, "role": "moderator"},
                "seq": 9,
                "now_playing": playing(),
                "queue": [playing(id="17000000-0000-4000-8000-000000000002", status="queued")],
                "occupancy": 4,
                "server_time": EPOCH,
            }
        )
    )
    assert state.seq == 9
    assert state.me is not None
    assert state.me.role == "moderator"
    assert state.now_playing == playing()
    assert len(state.queue) == 1
    assert state.occupancy == 4


# --- the server's clock


@given(
    ours=st.integers(0, 4_000_000_000_000),
    ahead=st.integers(-86_400_000, 86_400_000),
    there=st.integers(0, 5_000),
    back=st.integers(0, 5_000),
    later=st.integers(0, 10_000_000),
)
def test_the_server_s_time_is_off_by_half_the_round_trip_at_most(
    ours: int, ahead: int, there: int, back: int, later: int
) -> None:
    now = ours
    clock = ServerTime(lambda: now)
    server = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ours + there + ahead)
    now = ours + there + back
    clock.learn(server, ours)
    now += later
    error = clock.unix_ms() - (now + ahead)
    assert abs(error) <= (there + back) / 2 + 1
    assert clock.now() == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=clock.unix_ms())


def test_until_it_is_learnt_our_own_time_must_do() -> None:
    assert ServerTime(lambda: 1234).unix_ms() == 1234


def test_a_clock_that_is_set_meanwhile_is_noticed_by_the_next_answer() -> None:
    ours = 1_790_000_000_000
    clock = ServerTime(lambda: ours)
    clock.learn_text(datetime.fromtimestamp(ours / 1000, UTC).isoformat(), ours)
    truth = clock.unix_ms()
    ours += 600_000  # somebody sets our clock ten minutes ahead
    clock.learn_text(datetime.fromtimestamp(truth / 1000, UTC).isoformat(), ours)
    assert abs(clock.unix_ms() - truth) <= 1


@pytest.mark.parametrize("nonsense", [None, 7, "yesterday", "2026-11-24T08:00:00"])
def test_what_is_no_time_teaches_nothing(nonsense: object) -> None:
    clock = ServerTime(lambda: 1234)
    clock.learn_text(nonsense, 1234)
    assert clock.unix_ms() == 1234
