"""`whatssound bench` against the local stack: what it counts, and what it says of losses."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.integration.lab import Lab
from whatssound.cli import main

TITLE = "whatssound bench"
VOTES = """
select count(*) from public.votes v join public.sessions s on s.id = v.session_id
where s.status = 'live' and s.title = $1
"""


async def bench(lab: Lab, *options: str) -> int:
    where = ["--url", lab.url, "--key", lab.anon_key]
    return await asyncio.to_thread(main, ["bench", *where, "--yes", *options])


@pytest.mark.parametrize("feed", ["frames", "changes"])
async def test_everything_arrives_once(
    lab: Lab, feed: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUPABASE_SERVICE_ROLE_KEY", lab.service_key)
    code = await bench(
        lab, "--listeners", "8", "--seconds", "2", "--messages-per-second", "6", "--votes-per-second", "2",
        "--tips-per-second", "1", "--feed", feed, "--json",
    )  # fmt: skip
    found = json.loads(capsys.readouterr().out)
    assert code == 0, found
    assert {kind: row["delivered"] for kind, row in found["kinds"].items()} == {"chat": 96, "vote": 32, "tip": 16}
    assert found["listeners"]["feeds"] == {feed: 8}
    assert found["realtime_messages"] > 96
    assert await lab.count("select count(*) from public.sessions where title = $1 and status <> 'ended'", TITLE) == 0


async def test_what_is_lost_is_a_failure(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    async def deafen() -> None:
        # From the first vote on nobody hears from the database any more, and its log is not to be had either.
        while not await lab.count(VOTES, TITLE):  # noqa: ASYNC110 - another process' doing has no event
            await asyncio.sleep(0.05)
        await lab.switch(lambda stack: stack.faults.lose_sent())
        await lab.switch(lambda stack: stack.faults.answer("/rest/v1/rpc/events_since", 503))

    options = ("--listeners", "3", "--seconds", "3", "--feed", "frames", "--votes-per-second", "3", "--patience", "2")
    async with asyncio.TaskGroup() as group:
        group.create_task(deafen())
        running = group.create_task(bench(lab, *options))
    assert running.result() == 1
    told = capsys.readouterr().out
    assert "NOT everything arrived once" in told
