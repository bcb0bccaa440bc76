"""Replays every scenario recorded from a real Supabase Realtime against the local one."""

from __future__ import annotations

import asyncio
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from tests.contract.realtime_replay import DifferenceError, Replay, Target
from whatssound.local.migrate import apply_sql
from whatssound.local.postgres import PostgresServer
from whatssound.local.realtime import Limits, RealtimeService
from whatssound.local.tokens import Keyring

WIRE = Path(__file__).parents[1] / "data" / "wire" / "realtime"
SCENARIOS: dict[str, dict[str, Any]] = {
    scenario["name"]: scenario
    for scenario in map(json.loads, (WIRE / "scenarios.jsonl").read_text("utf-8").splitlines())
}
LANES = 4
"""Servers that play the scenarios that need one to themselves."""
AT_ONCE = 24
"""Scenarios that share a server at any moment."""
USERS = {"user1": "11111111-1111-1111-1111-111111111111", "user2": "22222222-2222-2222-2222-222222222222"}

pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("realtime-scenarios")]


def _keep_char(scenario: dict[str, Any]) -> dict[str, Any]:
    text = json.dumps(scenario).replace('"c_char": "c"', '"c_char": "ch   "')
    scenario = json.loads(text)
    for step in scenario["steps"]:
        if "raw" in step:
            step["raw"] = step["raw"].replace('"c_char": "c"', '"c_char": "ch   "')
    return scenario


def _keep_rows(scenario: dict[str, Any]) -> dict[str, Any]:
    """Lets the rows arrive that the real server loses to a filter on an array column."""
    scenario = copy.deepcopy(scenario)
    steps = scenario["steps"]
    at = next(i for i, step in enumerate(steps) if "same transaction" in step.get("sql", ""))
    later = next(step for step in steps if "recv" in step and "later" in json.dumps(step["recv"]))
    first = json.loads(json.dumps(later).replace('"later"', '"same transaction"').replace('"id": 2', '"id": 1'))
    first = json.loads(json.dumps(first).replace("$time1", "$time9"))
    second = next(
        step for other in SCENARIOS["changes/types v2"]["steps"] if "recv" in (step := other) and "INSERT" in str(step)
    )
    row = json.loads(json.dumps(_keep_char({"steps": [second]})["steps"][0]["recv"]).replace("$time1", "$time9"))
    row[2], row[4]["ids"] = first["recv"][2], ["$int2"]
    for step in (first, later):
        step.pop("raw", None)
    steps[at + 1 : at + 1] = [first, {"client": "b", "recv": row}]
    return scenario


DIFFERENCES: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "changes/types v1": (_keep_char, "char(n) keeps its length; the real server cuts it to one character"),
    "changes/types v2": (_keep_char, "char(n) keeps its length; the real server cuts it to one character"),
    "changes/filter on boolean v2": (_keep_char, "char(n) keeps its length; the real server cuts it to one character"),
    "changes/filter on array v2": (
        _keep_rows,
        "a filter on an array column costs nobody else a row; the real server drops every row of that look",
    ),
}
"""Where a plain bug of the real server only hurts: how the scenario reads without it, and why."""


def recorded(name: str) -> dict[str, Any]:
    scenario = SCENARIOS[name]
    return DIFFERENCES[name][0](scenario) if name in DIFFERENCES else scenario


def tokens(keyring: Keyring) -> Callable[[str], str | None]:
    stranger = Keyring("a-secret-of-somebody-else-entirely-32")

    def token(name: str) -> str | None:
        hour = int(time.time()) + 3600
        user = {"role": "authenticated", "sub": USERS["user1"]}
        claims: dict[str, dict[str, Any]] = {
            "user1": {**user, "exp": hour},
            "user1b": {**user, "exp": hour + 60},
            "user2": {"role": "authenticated", "sub": USERS["user2"], "exp": hour},
            "anon": {"role": "anon", "exp": hour},
            "service": {"role": "service_role", "exp": hour},
            "expired": {**user, "exp": hour - 3610},
            "norole": {"sub": USERS["user1"], "exp": hour},
            "noexp": user,
            "badrole": {"role": "nobody_knows", "exp": hour},
        }
        if name in claims:
            return keyring.sign(claims[name])
        if name.startswith("short:"):
            return keyring.sign({**user, "exp": int(time.time()) + int(name[6:])})
        if name == "badsig":
            return stranger.sign(claims["user1"])
        return {"garbage": "not-a-jwt", "publishable": "sb_publishable_0123456789abcdef", "empty": "", "none": None}[
            name
        ]

    return token


class Lane:
    """One database with one Realtime on it."""

    def __init__(self, postgres: PostgresServer, service: RealtimeService, target: Target) -> None:
        self.postgres = postgres
        self.service = service
        self.target = target

    async def play(self, session: aiohttp.ClientSession, name: str) -> str | None:
        scenario = recorded(name)
        if "limits" in scenario:
            self.service.limits = Limits().changed(scenario["limits"])
        try:
            await Replay(self.target, session, scenario).run()
        except (DifferenceError, aiohttp.ClientError, asyncpg.PostgresError, OSError) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            if "limits" in scenario:
                self.service.limits = Limits()
        return None


async def open_lane(stack: AsyncExitStack, data: Path) -> Lane:
    postgres = await stack.enter_async_context(PostgresServer(data, durable=False))
    await apply_sql(postgres.dsn("supabase_admin"), WIRE / "fixture.sql")
    keyring = Keyring()
    service = RealtimeService(postgres.dsn, keyring)
    app = web.Application()
    service.mount(app)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await service.start()
    stack.push_async_callback(service.stop)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    admin = await asyncpg.connect(postgres.dsn("supabase_admin"))
    stack.push_async_callback(admin.close)
    busy = asyncio.Lock()

    async def sql(text: str) -> None:
        async with busy:
            await admin.execute(text)

    port = runner.addresses[0][1]
    return Lane(postgres, service, Target(f"http://127.0.0.1:{port}", service.tenant, tokens(keyring), sql))


async def play(names: list[str], directory: Path) -> dict[str, str | None]:
    results: dict[str, str | None] = {}
    alone = [name for name in names if SCENARIOS[name].get("exclusive")]
    shared = [name for name in names if name not in set(alone)]
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        places = asyncio.Semaphore(AT_ONCE)

        async def one(lane: Lane, name: str) -> None:
            async with places:
                results[name] = await lane.play(session, name)

        async def in_turn(lane: Lane, some: list[str]) -> None:
            for name in some:
                results[name] = await lane.play(session, name)

        async with asyncio.TaskGroup() as group:
            if shared:
                together = await open_lane(stack, directory / "shared")
                # The longest wait of all should not be the last to begin.
                for name in sorted(shared, key=lambda name: "idle" not in name):
                    group.create_task(one(together, name))
            for number in range(min(LANES, len(alone))):
                lane = await open_lane(stack, directory / f"lane{number}")
                group.create_task(in_turn(lane, alone[number::LANES]))
    return results


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """Plays the scenarios that were asked for, side by side, since most of their time is waiting."""
    names = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == "test_the_local_server_answers_as_recorded"
    ]
    return asyncio.run(play(names, tmp_path_factory.mktemp("realtime")))


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_local_server_answers_as_recorded(outcomes: dict[str, str | None], name: str) -> None:
    assert outcomes[name] is None, outcomes[name]


@pytest.mark.parametrize("name", DIFFERENCES)
def test_a_listed_difference_changes_the_recording(name: str) -> None:
    assert recorded(name) != SCENARIOS[name], "a difference that changes nothing should be struck off the list"


def table(results: dict[str, str | None]) -> str:
    """The Realtime part of the conformance table, as Markdown."""
    lines = ["| area | cases | identical | differences |", "|---|---|---|---|"]
    areas: dict[str, list[str]] = {}
    order = {name: place for place, name in enumerate(SCENARIOS)}
    for name in sorted(results, key=lambda name: order.get(name, 0)):
        areas.setdefault(name.partition("/")[0], []).append(name)
    for area, names in areas.items():
        failed = [name for name in names if results[name] is not None]
        listed = [name for name in names if name in DIFFERENCES]
        why = [f"`{name}`: {DIFFERENCES[name][1]}" for name in listed] + [f"`{name}`: **unlisted**" for name in failed]
        lines.append(f"| {area} | {len(names)} | {len(names) - len({*failed, *listed})} | {'; '.join(why)} |")
    return "\n".join(lines)


def test_the_table_counts_listed_and_unlisted_differences() -> None:
    shown = table({"join/x": None, "changes/types v1": None, "changes/y": "differs"})
    assert "| join | 1 | 1 |  |" in shown
    assert "| changes | 2 | 0 | `changes/types v1`: char(n) keeps its length" in shown
    assert "`changes/y`: **unlisted** |" in shown


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        sys.stdout.write(table(asyncio.run(play(list(SCENARIOS), Path(name)))) + "\n")
