"""`RoomState` converges: a snapshot and later events, in any order, equal a later snapshot of the database.

`Room` plays the database: it takes random writes, numbers their events densely, and can be asked for a snapshot.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeVar

from hypothesis import event, given, settings
from hypothesis import strategies as st

from whatssound.core.reducer import RoomState
from whatssound.core.sequence import Sequencer
from whatssound.core.wire import log_event, row_event, stored_message
from whatssound.events import (
    ChatConfirmed,
    ChatMessage,
    ChatUnconfirmed,
    Event,
    MemberChanged,
    MessageDeleted,
    MessageWithdrawn,
    PresenceJoined,
    PresenceLeft,
    QueueChanged,
    ReactionsCounted,
    SessionChanged,
    StatusChanged,
    TipSent,
    TypingStarted,
    TypingStopped,
)
from whatssound.events import Status as ConnectionStatus
from whatssound.models import Member, Message, MessageId, Presence, QueueItem, SessionId, Snapshot, Tip, UserId

SESSION = SessionId("5e551010-0000-4000-8000-000000000000")
START = datetime(2026, 1, 1, tzinfo=UTC)
USERS = [UserId(f"00000000-0000-4000-8000-00000000000{number}") for number in range(3)]
SONGS = [f"50000000-0000-4000-8000-00000000000{number}" for number in range(3)]
ME = USERS[0]
HISTORY = 4
IN_SNAPSHOT = 3

T = TypeVar("T")
Row = tuple[str, dict[str, Any]]
Write = tuple[str, int, int, int]


class Room:
    """What the migrations do, in a few lines of Python."""

    def __init__(self) -> None:
        self.seq = 0
        self.log: list[dict[str, Any]] = []
        self.live: list[dict[str, Any]] = []  # the entries as they were when they were written
        self.rows: list[Row | None] = []
        self.snapshots: list[Snapshot] = []
        self.session: dict[str, Any] = {
            "id": SESSION,
            "title": "Cumbia",
            "dj_id": USERS[1],
            "status": "live",
            "settings": {"slow_mode_seconds": 0},
        }
        self.members = {
            user: {"user_id": user, "username": f"user{at}", "role": "listener", "banned": False, "muted_until": None}
            for at, user in enumerate(USERS)
        }
        self.votes: dict[tuple[str, str], int] = {}
        self.tallies: dict[str, dict[str, Any]] = {}
        self.items: list[dict[str, Any]] = []
        self.tips: list[dict[str, Any]] = []
        self.messages: list[dict[str, Any]] = []
        self.deletions = 0
        self.snapshots.append(self.snapshot())

    def stamp(self) -> str:
        return (START + timedelta(seconds=self.seq)).isoformat()

    def write(self, operation: str, a: int, b: int, c: int) -> None:
        getattr(self, operation)(a, b, c)

    def append(self, kind: str, payload: dict[str, Any], row: Row | None = None) -> None:
        entry = {"seq": self.seq, "kind": kind, "payload": copy.deepcopy(payload), "created_at": self.stamp()}
        self.log.append(entry)
        self.live.append(copy.deepcopy(entry))
        self.rows.append(copy.deepcopy(row))
        self.snapshots.append(self.snapshot())

    def vote(self, a: int, b: int, c: int) -> None:
        user, song, value = USERS[a % 3], SONGS[b % 3], c % 3 - 1
        if self.votes.get((user, song), 0) == value:
            return
        self.seq += 1
        self.votes[user, song] = value
        votes = [voted for (_, about), voted in self.votes.items() if about == song]
        up, down = votes.count(1), votes.count(-1)
        self.tallies[song] = {"up": up, "down": down, "score": up - down, "seq": self.seq}
        vote = {"song_id": song, "user_id": user, "username": self.members[user]["username"], "value": value}
        tally = {name: count for name, count in self.tallies[song].items() if name != "seq"}
        row = {**vote, "session_id": SESSION, "seq": self.seq, "tally_up": up, "tally_down": down}
        self.append("vote", {**vote, "tally": tally}, ("votes", row))

    def change(self, item: dict[str, Any], action: str, **columns: Any) -> None:
        self.seq += 1
        item.update(columns, action=action, seq=self.seq, version=item["version"] + 1)
        self.append("queue", {"action": action, "item": item}, ("queue_items", item))

    def waiting(self) -> list[dict[str, Any]]:
        queued = [item for item in self.items if item["status"] == "queued"]
        return sorted(queued, key=lambda item: (item["rank"], item["id"]))

    def add(self, a: int, b: int, c: int) -> None:
        item: dict[str, Any] = {
            "id": f"17e30000-0000-4000-8000-{len(self.items):012d}",
            "session_id": SESSION,
            "song_id": SONGS[a % 3],
            "title": f"song {a % 3}",
            "artist": None,
            "rank": float(b % 4) / 2,
            "status": "queued",
            "version": 0,
            "added_by": USERS[c % 3],
            "started_at": None,
            "created_at": self.stamp(),
        }
        self.items.append(item)
        self.change(item, "added")

    def move(self, a: int, b: int, _: int) -> None:
        if waiting := self.waiting():
            self.change(waiting[a % len(waiting)], "moved", rank=float(b) / 3)

    def remove(self, a: int, _: int, __: int) -> None:
        if waiting := self.waiting():
            self.change(waiting[a % len(waiting)], "removed", status="removed")

    def advance(self, a: int, _: int, __: int) -> None:
        for item in self.items:
            if item["status"] == "playing":
                status, action = ("skipped", "skipped") if a % 2 else ("played", "finished")
                self.change(item, action, status=status)
        if waiting := self.waiting():
            self.change(waiting[0], "started", status="playing", started_at=self.stamp())

    def tip(self, a: int, b: int, c: int) -> None:
        """Confirms a pending tip, refunds a confirmed one, or gives up a pending one."""
        confirmed = [tip for tip in self.tips if tip["status"] == "confirmed"]
        self.seq += 1
        if c % 3 == 0 and confirmed:
            tip = confirmed[a % len(confirmed)]
            was = tip["status"]
        else:
            tip = {
                "id": f"71900000-0000-4000-8000-{len(self.tips):012d}",
                "session_id": SESSION,
                "tipper_id": USERS[a % 3],
                "dj_id": USERS[1],
                "amount": 100 * (1 + b % 3),
                "currency": ("EUR", "COP")[a % 2],
                "note": None,
                "username": "user",
                "created_at": self.stamp(),
            }
            self.tips.append(tip)
            was = "pending"
        tip.update(seq=self.seq, status="refunded" if was == "confirmed" or c % 3 == 1 else "confirmed")
        if tip["status"] == "confirmed":
            self.append("tip", {"tip": tip}, ("tips", tip))
        else:
            self.append("tip_refunded", {"tip": tip, "was": was}, ("tips", tip))

    def member(self, a: int, b: int, c: int) -> None:
        member = self.members[USERS[a % 3]]
        self.seq += 1
        action = ("role", "muted", "unmuted", "banned", "unbanned")[b % 5]
        if action == "role":
            member["role"] = ("listener", "moderator")[c % 2]
        elif action.endswith("muted"):
            member["muted_until"] = self.stamp() if action == "muted" else None
        else:
            member["banned"] = action == "banned"
        known = {name: member[name] for name in ("user_id", "username", "role", "muted_until")}
        self.append("member", {"action": action, **known, "by": USERS[1], "reason": None})

    def settings(self, a: int, b: int, _: int) -> None:
        self.seq += 1
        self.session["settings"]["slow_mode_seconds"] = a
        if b == 0:
            self.session.update(status="ended", ended_at=self.stamp())
        self.append("session", {"action": "ended" if b == 0 else "updated", "session": self.session})

    def say(self, a: int, b: int, _: int) -> None:
        self.seq += 1
        message = {
            "id": f"01900000-0000-7000-8000-{len(self.messages):012d}",
            "user_id": USERS[a % 3],
            "username": "user",
            "role": "listener",
            "content": f"hola {b}",
            "created_at": self.stamp(),
        }
        self.messages.append({"seq": self.seq, "deleted": False, "payload": message})
        self.append("message", message)

    def delete(self, a: int, b: int, _: int) -> None:
        standing = [message for message in self.messages if not message["deleted"]]
        if not standing:
            return
        message = standing[a % len(standing)]
        self.seq += 1
        message["deleted"] = True
        self.deletions += 1
        self.log[message["seq"] - 1]["payload"].update(content="", deleted=True)
        payload = message["payload"]
        author = payload["user_id"] if b % 2 else None
        self.append("message_deleted", {"id": payload["id"], "user_id": author, "by": USERS[1]})

    def standing(self) -> tuple[Message, ...]:
        return tuple(
            stored_message(message["payload"], SESSION, message["seq"])
            for message in self.messages
            if not message["deleted"]
        )

    def snapshot(self) -> Snapshot:
        confirmed = [tip for tip in self.tips if tip["status"] == "confirmed"]
        totals: dict[str, int] = {}
        for tip in confirmed:
            totals[tip["currency"]] = totals.get(tip["currency"], 0) + tip["amount"]
        return Snapshot.model_validate(
            {
                "session": copy.deepcopy(self.session),
                "me": dict(self.members[ME]),
                "seq": self.seq,
                "now_playing": next((dict(item) for item in self.items if item["status"] == "playing"), None),
                "queue": [dict(item) for item in self.waiting()],
                "tallies": copy.deepcopy(self.tallies),
                "my_votes": {song: value for (user, song), value in self.votes.items() if user == ME and value},
                "tips": {"totals": totals, "count": len(confirmed)},
                "messages": self.standing()[-IN_SNAPSHOT:],
                "server_time": self.stamp(),
            }
        )

    def events(self, chance: Random) -> list[Event]:
        """All events; each heard live, fetched later, or (where there is one) read from a row."""
        sources = chance.choices("lfr", k=self.seq)
        found: list[Event] = []
        for source, live, fetched, row in zip(sources, self.live, self.log, self.rows, strict=True):
            heard = row_event(*row) if source == "r" and row is not None else None
            entry = fetched if source == "f" else live
            found.append(heard or log_event(entry, SESSION, me=ME, recovered=source == "f"))
        return found


NUMBERS = st.integers(0, 5)
# One subject at a time meets itself far more often than all of them together.
QUEUE = ("add", "add", "move", "remove", "advance")
SUBJECTS = (("vote",), QUEUE, ("tip",), ("member",), ("settings",), ("say", "say", "say", "delete"))
ALL = tuple(operation for subject in SUBJECTS for operation in subject)


def writes_about(operations: tuple[str, ...]) -> st.SearchStrategy[list[Write]]:
    return st.lists(st.tuples(st.sampled_from(operations), NUMBERS, NUMBERS, NUMBERS), min_size=8, max_size=60)


WRITES = st.sampled_from((*SUBJECTS, ALL, ALL)).flatmap(writes_about)
# Hypothesis chooses what is written (and makes it smaller when it fails); orders are shuffles, which mix far more.
CHANCE = st.integers(0, 2**32).map(Random)


def shuffled(things: Sequence[T], chance: Random) -> list[T]:
    return chance.sample(things, len(things))


def room_after(writes: list[Write]) -> Room:
    room = Room()
    for write in writes:
        room.write(*write)
    return room


def assert_equals_the_database(state: RoomState, room: Room) -> None:
    snapshot = room.snapshot()
    assert state.seq == snapshot.seq
    assert state.session == snapshot.session
    assert state.me == snapshot.me
    assert state.now_playing == snapshot.now_playing
    assert state.queue == snapshot.queue
    assert state.tallies == snapshot.tallies
    assert state.my_votes == snapshot.my_votes
    assert state.tips == snapshot.tips
    standing = room.standing()
    held = state.messages
    assert held == standing[len(standing) - len(held) :]
    # What is deleted leaves room that only a fetch of older messages could fill.
    assert len(held) >= min(IN_SNAPSHOT, len(standing)) - room.deletions


@settings(max_examples=400)
@given(writes=WRITES, chance=CHANCE)
def test_a_snapshot_and_later_events_in_any_order_equal_a_later_snapshot(writes: list[Write], chance: Random) -> None:
    room = room_after(writes)
    first = chance.randint(0, room.seq)
    state = RoomState(ME, HISTORY)
    state.load(room.snapshots[first])
    for happened in shuffled(room.events(chance)[first:], chance):
        state.apply(happened)
    assert_equals_the_database(state, room)


@settings(max_examples=400)
@given(writes=WRITES, chance=CHANCE)
def test_snapshots_may_come_at_any_time_between_the_events(writes: list[Write], chance: Random) -> None:
    """As a session does it: the sequencer admits each event once and learns what a snapshot contains."""
    room = room_after(writes)
    first = chance.randint(0, room.seq)
    state, sequencer = RoomState(ME, HISTORY), Sequencer(first)
    state.load(room.snapshots[first])
    resyncs = chance.choices(room.snapshots[first:], k=chance.randint(0, 3))
    for step in shuffled([*room.events(chance)[first:], *resyncs], chance):
        if isinstance(step, Snapshot):
            event("older than the state" if step.seq < state.seq else "newer than the state")
            state.load(step)
            sequencer.skip_to(step.seq)
        elif step.seq is not None and sequencer.admit(step.seq):
            state.apply(step)
            state.reached(sequencer.watermark)
        assert state.seq == sequencer.watermark
    assert_equals_the_database(state, room)


@given(writes=WRITES, chance=CHANCE)
def test_events_that_a_snapshot_contains_change_nothing(writes: list[Write], chance: Random) -> None:
    room = room_after(writes)
    state = RoomState(ME, HISTORY)
    state.load(room.snapshot())
    for happened in shuffled(room.events(chance), chance):
        state.apply(happened)
    assert_equals_the_database(state, room)
    assert state.messages == room.snapshot().messages


@given(writes=WRITES)
def test_the_state_never_goes_backwards(writes: list[Write]) -> None:
    room = room_after(writes)
    state = RoomState(ME, HISTORY)
    for snapshot in [*room.snapshots, *reversed(room.snapshots)]:
        before = state.seq
        state.load(snapshot)
        assert state.seq == max(before, snapshot.seq)
    assert_equals_the_database(state, room)


# --- what only lives on the wire --------------------------------------------------------------------------------------


def message(number: int, *, user: UserId = USERS[1], seq: int | None = None, content: str = "hola") -> Message:
    return Message(
        id=MessageId(f"01900000-0000-7000-8000-{number:012d}"),
        session_id=SESSION,
        user_id=user,
        content=content,
        created_at=START,
        seq=seq,
        confirmed=seq is not None,
    )


def fresh_state(seq: int = 0, messages: tuple[Message, ...] = ()) -> RoomState:
    state = RoomState(ME, HISTORY)
    snapshot = Room().snapshot()
    state.load(snapshot.model_copy(update={"seq": seq, "messages": messages}))
    return state


def test_a_claim_is_shown_after_what_is_stored_and_takes_its_place_once_confirmed() -> None:
    state = fresh_state()
    claim = message(1)
    state.apply(ChatMessage(message=claim))
    state.apply(ChatMessage(message=message(2, seq=1), seq=1))
    assert state.messages == (message(2, seq=1), claim)
    state.apply(ChatConfirmed(message=message(1, seq=2), seq=2))
    assert state.messages == (message(2, seq=1), message(1, seq=2))
    state.apply(ChatMessage(message=claim))
    assert state.messages == (message(2, seq=1), message(1, seq=2))


def test_claims_that_end_otherwise_disappear() -> None:
    state = fresh_state()
    for number in range(4):
        state.apply(ChatMessage(message=message(number)))
    state.apply(ChatUnconfirmed(message_id=message(0).id, user_id=USERS[1]))
    state.apply(MessageWithdrawn(message_id=message(1).id, user_id=USERS[1], reason="author"))
    state.apply(MessageDeleted(message_id=message(2).id, user_id=USERS[1], seq=1))
    assert state.messages == (message(3),)
    state.apply(ChatMessage(message=message(2)))
    assert state.messages == (message(3),)


def test_a_flood_of_claims_is_bounded_and_never_evicts_what_is_stored_from_memory() -> None:
    state = fresh_state()
    state.apply(ChatMessage(message=message(1, seq=1), seq=1))
    for number in range(2, 50):
        state.apply(ChatMessage(message=message(number)))
    assert len(state.messages) == HISTORY
    for number in range(2, 50):
        state.apply(ChatUnconfirmed(message_id=message(number).id, user_id=USERS[1]))
    assert state.messages == (message(1, seq=1),)


def test_deleting_one_authors_message_spares_another_with_the_same_id() -> None:
    state = fresh_state()
    state.apply(ChatMessage(message=message(1, user=USERS[1], seq=1), seq=1))
    state.apply(ChatMessage(message=message(1, user=USERS[2], seq=2), seq=2))
    state.apply(MessageDeleted(message_id=message(1).id, user_id=USERS[2], seq=3))
    assert state.messages == (message(1, user=USERS[1], seq=1),)


def test_a_claim_that_a_snapshot_settled_ends_with_it() -> None:
    state = fresh_state()
    state.apply(ChatMessage(message=message(1)))
    state.apply(ChatMessage(message=message(2)))
    stored = tuple(message(number, seq=number) for number in (2, 3, 4))
    state.load(fresh_snapshot(4, stored))
    assert state.messages == (*stored, message(1))
    state.apply(ChatConfirmed(message=message(1, seq=1), seq=1))
    assert state.messages == stored


def fresh_snapshot(seq: int, messages: tuple[Message, ...]) -> Snapshot:
    return Room().snapshot().model_copy(update={"seq": seq, "messages": messages})


def test_a_confirmation_from_the_outbox_alone_is_enough() -> None:
    state = fresh_state()
    state.apply(ChatMessage(message=message(1)))
    state.apply(ChatConfirmed(message=message(1, seq=7)))
    assert state.messages == (message(1, seq=7),)
    assert state.seq == 0


def test_a_ban_clears_what_its_target_shows_on_the_wire() -> None:
    state = fresh_state()
    for user in USERS:
        state.apply(PresenceJoined(member=Presence(user_id=user)))
        state.apply(TypingStarted(user_id=user, username="x"))
        state.apply(ChatMessage(message=message(1, user=user)))
    state.apply(MemberChanged(action="banned", member=Member(user_id=USERS[2], banned=True), seq=1))
    assert set(state.presence) == set(state.typing) == {USERS[0], USERS[1]}
    assert {shown.user_id for shown in state.messages} == {USERS[0], USERS[1]}


def test_a_late_older_message_never_stands_beside_a_hole() -> None:
    state = fresh_state()
    for seq in (9, 8, 7, 6, 5, 4, 3, 2, 10, 1):
        state.apply(ChatMessage(message=message(seq, seq=seq), seq=seq))
    for seq in (10, 9, 8):
        state.apply(MessageDeleted(message_id=message(seq).id, user_id=USERS[1], seq=seq + 10))
    assert [shown.seq for shown in state.messages] == [7]


def test_a_receipt_does_not_bring_back_what_a_snapshot_has_left_out() -> None:
    """A batch sent again after an outage is answered with the place its message had long ago."""
    state = fresh_state()
    state.apply(ChatMessage(message=message(1)))
    state.load(fresh_snapshot(4, (message(4, seq=4),)))
    state.apply(ChatConfirmed(message=message(1, seq=2)))
    assert state.messages == (message(4, seq=4),)


def test_a_place_in_the_log_that_nobody_could_read_does_not_hold_up_the_rest() -> None:
    state = fresh_state()
    for seq in (3, 5):
        state.apply(ChatMessage(message=message(seq, seq=seq), seq=seq))
    state.reached(2)
    assert state.seq == 3
    state.reached(1)
    assert state.seq == 3
    state.reached(4)
    assert state.seq == 5
    state.load(fresh_snapshot(5, ()))
    assert state.messages == ()


def test_what_is_remembered_of_things_gone_is_bounded() -> None:
    state = fresh_state()
    gone = QueueItem.model_validate(
        {
            "id": "i",
            "session_id": SESSION,
            "song_id": SONGS[0],
            "title": "song",
            "rank": 1,
            "status": "played",
            "version": 2,
        }
    )
    for seq in range(1, 2102):
        item = gone.model_copy(update={"id": f"item{seq}", "seq": seq})
        state.apply(QueueChanged(action="finished", item=item, seq=seq))
        state.apply(MessageDeleted(message_id=message(seq).id, user_id=USERS[1]))
    assert len(state._gone) == len(state._deleted) == 2000
    assert len(state._ahead) == 0


def test_somebody_elses_ban_or_an_older_word_on_ones_own_changes_nothing_of_oneself() -> None:
    state = fresh_state()
    before = state.me
    state.apply(MemberChanged(action="banned", member=Member(user_id=USERS[1], banned=True), seq=1))
    assert state.me == before
    state.apply(MemberChanged(action="unbanned", member=Member(user_id=ME), seq=3))
    state.apply(MemberChanged(action="banned", member=Member(user_id=ME, banned=True), seq=2))
    assert state.me is not None
    assert not state.me.banned


def test_presence_and_typing_come_and_go() -> None:
    state = fresh_state()
    state.apply(PresenceJoined(member=Presence(user_id=USERS[1], username="eva")))
    state.apply(TypingStarted(user_id=USERS[1], username="eva"))
    assert state.presence[USERS[1]].username == "eva"
    assert state.typing == {USERS[1]: "eva"}
    state.apply(PresenceLeft(member=Presence(user_id=USERS[1])))
    state.apply(TypingStopped(user_id=USERS[1]))
    assert (state.presence, state.typing) == ({}, {})


def test_events_of_the_connection_change_nothing() -> None:
    state = fresh_state()
    state.apply(StatusChanged(status=ConnectionStatus.LIVE))
    assert_equals_the_database(state, Room())


def test_recent_tips_are_kept_up_to_fifty() -> None:
    state = fresh_state()
    tip = Tip.model_validate(
        {
            "id": "71900000-0000-4000-8000-000000000000",
            "session_id": SESSION,
            "tipper_id": ME,
            "dj_id": USERS[1],
            "amount": 100,
            "currency": "EUR",
            "status": "confirmed",
            "created_at": START,
        }
    )
    for seq in range(1, 61):
        state.apply(TipSent(tip=tip, seq=seq))
    assert [tip.seq for tip in state.recent_tips] == list(range(11, 61))
    assert (state.tips.totals, state.tips.count) == ({"EUR": 6000}, 60)


def test_an_older_change_of_the_session_does_not_undo_a_newer_one() -> None:
    state = fresh_state()
    session = Room().snapshot().session
    state.apply(SessionChanged(action="ended", session=session.model_copy(update={"status": "ended"}), seq=2))
    state.apply(SessionChanged(action="updated", session=session, seq=1))
    assert state.session is not None
    assert state.session.status == "ended"


def test_reactions_add_up_and_the_rarest_kind_makes_way() -> None:
    state = RoomState(ME, HISTORY)
    for number in range(100):
        state.apply(ReactionsCounted(counts={f"r{number}": 2 + (number != 7)}))
    state.apply(ReactionsCounted(counts={"r0": 5}))
    assert state.reactions["r0"] == 8
    state.apply(ReactionsCounted(counts={"new": 1}))
    assert len(state.reactions) == 100
    assert "r7" not in state.reactions
    assert state.reactions["new"] == 1
