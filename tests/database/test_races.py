"""Two or more connections at once: nothing counted twice, nothing lost, no hole in the numbers, frames in order."""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

if TYPE_CHECKING:
    from tests.database.conftest import Database, Room


def user() -> str:
    """A new user id."""
    return str(uuid.uuid4())


def message(content: str = "hola") -> dict[str, str]:
    """A message with a new UUIDv7."""
    stamp = int(time.time() * 1000).to_bytes(6, "big")
    raw = bytearray(stamp + random.randbytes(10))
    raw[6] = 0x70 | raw[6] & 0x0F
    raw[8] = 0x80 | raw[8] & 0x3F
    return {"id": str(uuid.UUID(bytes=bytes(raw))), "content": content}


async def outcomes(*calls: Any) -> list[Any]:
    """Runs calls at once; a refusal's code stands for its answer."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException) and not hasattr(result, "code"):
            raise result
    return [getattr(result, "code", result) if isinstance(result, BaseException) else result for result in results]


async def assert_dense(room: Room) -> None:
    """The log has every number once, and frames cover it in order without a hole."""
    seqs = await room.seqs()
    assert seqs == list(range(1, len(seqs) + 1))
    frames = await room.frames()
    assert frames[0][0] == 1
    assert frames[-1][1] == seqs[-1]
    assert all(second[0] == first[1] + 1 for first, second in pairwise(frames))


async def somebody_waits(room: Room, function: str) -> None:
    """Returns once a call of the function waits for a lock, which it does for two seconds at most."""
    waiting = "select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%' || $1 || '%'"
    deadline = time.monotonic() + 2
    while not await room.fetch(waiting, function):
        assert time.monotonic() < deadline, f"no call of {function} waits"


async def test_votes_on_one_song_add_up(room: Room) -> None:
    """The tally equals the rows after 200 concurrent votes and retractions."""
    song = (await room.command(room.dj, "enqueue_song", p_title="One"))["item"]["song_id"]
    users = [user() for _ in range(15)]

    async def vote() -> None:
        who, value = random.choice(users), random.choice([-1, 0, 1])
        if value:
            await room.command(who, "cast_vote", p_song_id=song, p_value=value)
        else:
            await room.command(who, "retract_vote", p_song_id=song)

    await asyncio.gather(*(vote() for _ in range(200)))

    rows = await room.fetch("select value from public.votes where session_id = $1", room.id)
    tally = (await room.fetch("select up, down from public.song_tallies where session_id = $1", room.id))[0]
    assert tally["up"] == sum(row["value"] == 1 for row in rows)
    assert tally["down"] == sum(row["value"] == -1 for row in rows)
    await assert_dense(room)


async def test_one_vote_key_votes_once(room: Room) -> None:
    """The same call from ten connections is one event with one answer."""
    song = (await room.command(room.dj, "enqueue_song", p_title="One"))["item"]["song_id"]
    ana, key = user(), str(uuid.uuid4())

    replies = await asyncio.gather(
        *(room.call(ana, "cast_vote", p_session_id=room.id, p_song_id=song, p_value=1, p_key=key) for _ in range(10))
    )

    assert len({reply["seq"] for reply in replies}) == 1
    votes = await room.fetch("select 1 from public.session_events where session_id = $1 and kind = 'vote'", room.id)
    assert len(votes) == 1
    await assert_dense(room)


async def test_one_tip_key_is_one_tip(room: Room) -> None:
    """Ten sends of one key make one row, ten confirmations one event."""
    ana, key = user(), str(uuid.uuid4())

    sent = await asyncio.gather(
        *(
            room.call(ana, "send_tip", p_session_id=room.id, p_amount=500, p_currency="EUR", p_key=key)
            for _ in range(10)
        )
    )
    tip = sent[0]["tip"]["id"]
    confirmed = await asyncio.gather(*(room.call(None, "confirm_tip", p_tip_id=tip) for _ in range(10)))

    assert {reply["tip"]["id"] for reply in sent} == {tip}
    assert sum(not reply["duplicate"] for reply in sent) == 1
    assert sum(not reply["duplicate"] for reply in confirmed) == 1
    snapshot = await room.call(ana, "session_snapshot", p_session_id=room.id)
    assert snapshot["tips"] == {"totals": {"EUR": 500}, "count": 1}
    await assert_dense(room)


async def test_one_key_in_two_sessions_is_used_once(room: Room) -> None:
    """A key raced in two sessions makes one tip; the other call is told of the mismatch."""
    other, ana, key = str(uuid.uuid4()), user(), str(uuid.uuid4())
    await room.call(room.dj, "create_session", p_title="Other", p_id=other)

    results = await outcomes(
        *(
            room.call(ana, "send_tip", p_session_id=where, p_amount=5, p_currency="EUR", p_key=key)
            for where in (room.id, other)
        )
    )

    assert sum(result == "idempotency_mismatch" for result in results) == 1
    assert len(await room.fetch("select 1 from public.tips where key = $1", key)) == 1


async def test_confirmed_and_refunded_at_once_ends_refunded_or_confirmed_first(room: Room) -> None:
    """Racing settlements leave a state that the totals agree with."""
    ana = user()
    tips = [(await room.command(ana, "send_tip", p_amount=100, p_currency="EUR"))["tip"]["id"] for _ in range(8)]

    await outcomes(
        *(
            room.call(None, "confirm_tip", p_tip_id=tip, p_status=status)
            for tip in tips
            for status in ("confirmed", "refunded")
        )
    )

    rows = await room.fetch("select status, amount from public.tips where session_id = $1", room.id)
    counted = sum(row["amount"] for row in rows if row["status"] == "confirmed")
    snapshot = await room.call(ana, "session_snapshot", p_session_id=room.id)
    assert snapshot["tips"]["totals"].get("EUR", 0) == counted
    assert {row["status"] for row in rows} == {"refunded"}
    await assert_dense(room)


async def test_concurrent_moves_lose_no_item(room: Room) -> None:
    """Stale moves conflict with the order as it is; every item stays, once."""
    items = [(await room.command(room.dj, "enqueue_song", p_title=str(n)))["item"] for n in range(6)]

    async def move() -> Any:
        item, anchor = random.sample(items, 2)
        known = await room.fetch("select version from public.queue_items where id = $1", item["id"])
        return await room.command(
            room.dj,
            "move_queue_item",
            p_item_id=item["id"],
            p_before=anchor["id"],
            p_expected_version=known[0]["version"],
        )

    results = await outcomes(*(move() for _ in range(60)))

    assert {result for result in results if isinstance(result, str)} <= {"queue_conflict"}
    snapshot = await room.call(room.dj, "session_snapshot", p_session_id=room.id)
    assert sorted(item["id"] for item in snapshot["queue"]) == sorted(item["id"] for item in items)
    last = next(
        result
        for result in sorted(
            (result for result in results if isinstance(result, dict)), key=lambda reply: -reply["seq"]
        )
    )
    assert [item["id"] for item in snapshot["queue"]] == last["order"]
    await assert_dense(room)


async def test_one_of_many_advances_wins(room: Room) -> None:
    """Ten who all see nothing playing start one song; the others conflict."""
    for n in range(5):
        await room.command(room.dj, "enqueue_song", p_title=str(n))

    results = await outcomes(*(room.command(room.dj, "advance_queue", p_expected_item_id=None) for _ in range(10)))

    assert sum(isinstance(result, dict) for result in results) == 1
    assert results.count("queue_conflict") == 9
    playing = await room.fetch("select 1 from public.queue_items where session_id = $1 and status = 'playing'", room.id)
    assert len(playing) == 1
    await assert_dense(room)


async def test_a_batch_sent_many_times_is_stored_once(room: Room) -> None:
    """Every message of overlapping batches is stored by exactly one of them, rolled back ones by none."""
    ana = user()
    messages = [message(str(n)) for n in range(30)]

    async def send(attempt: int) -> list[Any]:
        some = random.sample(messages, 20)
        results = await room.say(ana, *some, rollback=attempt % 5 == 0)
        return [] if attempt % 5 == 0 else results

    batches = await asyncio.gather(*(send(attempt) for attempt in range(30)))
    final = await room.say(ana, *messages)

    results = [result for batch in [*batches, final] for result in batch]
    stored = [result["id"] for result in results if result["status"] == "stored"]
    assert sorted(stored) == sorted(entry["id"] for entry in messages)
    assert {result["status"] for result in results} == {"stored", "duplicate"}
    by_id: dict[str, set[int]] = {}
    for result in results:
        by_id.setdefault(result["id"], set()).add(result["seq"])
    assert all(len(seqs) == 1 for seqs in by_id.values())
    await assert_dense(room)


async def test_one_id_in_two_sessions_is_stored_once(room: Room) -> None:
    """An author's id raced in two sessions lands in one; the loser is told so, at once or at the next try."""
    other, ana = str(uuid.uuid4()), user()
    await room.call(room.dj, "create_session", p_title="Other", p_id=other)

    for _ in range(20):
        one = message()

        async def store(where: str, one: dict[str, str] = one) -> str:
            while True:
                try:
                    reply = await room.call(ana, "insert_messages", p_session_id=where, p_messages=[one])
                except Exception as error:
                    if getattr(error, "code", None) != "busy":
                        raise
                    continue
                result = reply["results"][0]
                return str(result["reason"] or result["status"])

        assert sorted(await asyncio.gather(store(room.id), store(other))) == ["id_conflict", "stored"]
    await assert_dense(room)


async def test_many_flushers_make_one_frame(room: Room) -> None:
    """With a tick, clients told to flush at once send one frame between them, and frames stay in order."""
    await room.call(room.dj, "update_session", p_session_id=room.id, p_settings={"tick_ms": 60000})
    for _ in range(5):
        await room.say(user(), message())
        await room.fetch(
            "update public.session_clock set framed_at = now() - interval '2 minutes' where session_id = $1", room.id
        )
        before = len(await room.frames())
        replies = await asyncio.gather(*(room.call(room.dj, "flush_frame", p_session_id=room.id) for _ in range(10)))
        assert sum(reply["sent"] for reply in replies) == 1
        assert len(await room.frames()) == before + 1
    await assert_dense(room)


async def test_a_held_lock_is_busy_after_two_seconds(room: Room) -> None:
    """A writer gives up with a retryable refusal; readers and flushes do not wait at all."""
    async with room.pool.acquire() as holder, holder.transaction():
        await holder.execute("select 1 from public.session_clock where session_id = $1 for update", room.id)
        started = time.monotonic()
        results = await outcomes(
            room.say(user(), message()), room.command(room.dj, "enqueue_song", p_title="x"),
            room.call(room.dj, "set_slow_mode", p_session_id=room.id, p_seconds=1),
        )  # fmt: skip
        assert results == ["busy"] * 3
        assert 1.9 < time.monotonic() - started < 8
        started = time.monotonic()
        await room.call(room.dj, "session_snapshot", p_session_id=room.id)
        await room.call(room.dj, "flush_frame", p_session_id=room.id)
        await room.call(room.dj, "heartbeat", p_session_id=room.id)
        assert time.monotonic() - started < 1.5


async def test_joining_and_voting_at_once_makes_one_member(room: Room) -> None:
    """First calls of a new user race for profile and membership; all succeed."""
    song = (await room.command(room.dj, "enqueue_song", p_title="One"))["item"]["song_id"]
    for _ in range(10):
        ana = user()
        await asyncio.gather(
            room.call(ana, "join_session", p_session_id=room.id, p_username="ana"),
            room.command(ana, "cast_vote", p_song_id=song, p_value=1),
            room.say(ana, message()),
            room.call(ana, "heartbeat", p_session_id=room.id),
        )
        members = await room.fetch("select 1 from public.session_members where user_id = $1", ana)
        assert len(members) == 1
    await assert_dense(room)


async def test_partitions_are_made_while_messages_arrive(room: Room, wheel: Database) -> None:
    """Two makers at once make each month once; inserts go on, none waits long, none fails."""
    months = [f"20{year}-{month:02d}-01" for year in (71, 72) for month in range(1, 7)]
    stop = asyncio.Event()
    longest = 0.0

    async def insert() -> int:
        nonlocal longest
        stored = 0
        while not stop.is_set():
            started = time.monotonic()
            results = await room.say(user(), message())
            longest = max(longest, time.monotonic() - started)
            stored += results[0]["status"] == "stored"
        return stored

    async def make() -> int:
        connection = await asyncpg.connect(wheel.owner)
        try:
            made = 0
            for month in months:
                made += await connection.fetchval("select whatssound.make_message_partition($1::text::date)", month)
            return made
        finally:
            await connection.close()

    async with asyncio.TaskGroup() as group:
        inserters = [group.create_task(insert()) for _ in range(3)]
        made = sum(await asyncio.gather(make(), make()))
        stop.set()

    assert made == len(months)
    assert sum(task.result() for task in inserters) > 0
    assert longest < 2
    await assert_dense(room)


async def test_upkeep_does_its_other_work_while_a_reader_keeps_an_old_month(room: Room, wheel: Database) -> None:
    """A month that cannot be detached now stays for the next upkeep; what else is due is done; writers go on."""
    upkeep, reader = await asyncpg.connect(wheel.owner), await asyncpg.connect(wheel.owner)
    change = upkeep.transaction()
    try:
        async with reader.transaction():
            await reader.fetch("select 1 from public.messages limit 1")
            await change.start()
            await upkeep.execute("update whatssound.project set message_retention = '31 days'")
            await upkeep.execute(
                "insert into whatssound.idempotency_keys values"
                " (gen_random_uuid(), gen_random_uuid(), 'x', '{}', '{}', now() - interval '80 hours')"
            )
            done = json.loads(await upkeep.fetchval("select whatssound.run_upkeep()"))
            # The lock that it waited for is not held any longer: others write.
            stored = await asyncio.wait_for(room.say(user(), message()), 1)
        again = json.loads(await upkeep.fetchval("select whatssound.run_upkeep()"))
        await change.rollback()
    finally:
        await upkeep.close()
        await reader.close()

    assert (done["partitions_dropped"], done["keys_deleted"]) == (0, 1)
    assert again["partitions_dropped"] > 0
    assert stored[0]["status"] == "stored"


async def test_one_payment_raced_for_two_tips_settles_one(room: Room) -> None:
    """Two sessions' tips claim one payment at once: one has it, the other call is told."""
    other, ana, payment = str(uuid.uuid4()), user(), f"pi_{uuid.uuid4()}"
    await room.call(room.dj, "create_session", p_title="Other", p_id=other)
    tips = []
    for where in (room.id, other):
        key = str(uuid.uuid4())
        sent = await room.call(ana, "send_tip", p_session_id=where, p_amount=5, p_currency="EUR", p_key=key)
        tips.append(sent["tip"]["id"])
    async with asyncio.TaskGroup() as group, room.pool.acquire() as first, first.transaction():
        await first.execute("select public.confirm_tip($1, 'confirmed', $2)", tips[0], payment)
        claim = room.call(None, "confirm_tip", p_tip_id=tips[1], p_provider_ref=payment)
        second = group.create_task(outcomes(claim))
        await somebody_waits(room, "confirm_tip")

    assert second.result() == ["idempotency_mismatch"]
    assert [
        str(row["id"]) for row in await room.fetch("select id from public.tips where provider_ref = $1", payment)
    ] == [tips[0]]


async def test_writers_and_rollbacks_leave_no_hole(room: Room) -> None:
    """Twelve writers of every kind, one in five rolled back: the log is dense and frames cover it."""
    song = (await room.command(room.dj, "enqueue_song", p_title="One"))["item"]["song_id"]

    async def write(turn: int) -> None:
        undone = turn % 5 == 0
        key = str(uuid.uuid4())
        match turn % 3:
            case 0:
                await room.say(user(), message(), message(), rollback=undone)
            case 1:
                await room.call(
                    user(), "cast_vote", p_session_id=room.id, p_song_id=song, p_value=1, p_key=key, rollback=undone
                )
            case _:
                await room.call(
                    user(), "enqueue_song", p_session_id=room.id, p_title=str(turn), p_key=key, rollback=undone
                )

    await asyncio.gather(*(write(turn) for turn in range(150)))

    await assert_dense(room)


@pytest.mark.parametrize("role", ["anon", "authenticated", "service_role"])
async def test_every_partition_made_later_is_shut(room: Room, wheel: Database, role: str) -> None:
    """A partition made by upkeep is as closed as those of the migration."""
    connection = await asyncpg.connect(wheel.owner)
    try:
        await connection.execute("select whatssound.make_message_partition('2080-01-01')")
        await connection.execute(f"set role {role}")
        for statement in ("select 1 from {}", "delete from {}", "insert into {} default values"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement.format("whatssound.messages_2080_01"))
    finally:
        await connection.close()
