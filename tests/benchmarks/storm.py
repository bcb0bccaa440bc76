"""A storm: everybody in a large room loses the connection in the same moment, in the middle of a chat.

Run: python tests/benchmarks/storm.py --listeners 1000

How long it takes until all are connected again and have heard all that was said meanwhile, and how many calls a second
that asks of the database.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.large_room.crowd import raise_file_limit
from tests.benchmarks.large_room.measure import Room, Setting, open_room
from whatssound.cli.bench.performance import Performance
from whatssound.cli.bench.programme import Say, evenly
from whatssound.cli.demo.collector import rare_collections

#: Calls that read the log or the whole state.
SNAPSHOTS = ("session_snapshot", "events_since")
_LONGEST = 120.0


async def storm(room: Room, *, per_second: float, restart: bool) -> dict[str, Any]:
    """Cuts every socket, goes on chatting, and waits until all are back and up to date.

    Args:
        room: with everybody in it.
        per_second: chat that goes on meanwhile.
        restart: whether Realtime restarts, instead of only losing its sockets.
    """
    performance = Performance(room.speakers)
    talking = asyncio.create_task(performance.play(list(evenly(Say, per_second=per_second, seconds=10.0))))
    await asyncio.sleep(2.0)
    before = (await room.stack.status())["rpc"]["total"]
    cut_at, started = time.time(), time.monotonic()
    if restart:
        await room.stack.act("services/realtime/restart")
    else:
        await room.stack.act("sockets/drop", code=None)
    # Whoever was quick is converged with what was said when they came; the last word counts.
    await talking
    last = await room.last_seq()
    behind = await room.crowd.behind(last)
    while behind and time.monotonic() - started < _LONGEST:
        await asyncio.sleep(0.25)
        behind = await room.crowd.behind(last)
    took = time.monotonic() - started
    rpc = (await room.stack.status())["rpc"]
    seconds = [
        sum(calls.get(name, 0) for name in SNAPSHOTS) for second, calls in rpc["seconds"] if second >= int(cut_at)
    ]
    complete = not await room.crowd.missing(list(performance.sent))
    return {
        "behind": behind,
        "seconds_until_converged": round(took, 1),
        "snapshot_calls_in_busiest_second": max(seconds, default=0),
        "snapshot_calls": sum(rpc["total"].get(name, 0) - before.get(name, 0) for name in SNAPSHOTS),
        "all_heard": complete,
        "befell": (await room.crowd.listening()).as_json(),
    }


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """Fills a room and lets the storm come."""
    setting = Setting(
        listeners=options.listeners, speakers=10, processes=options.processes, plan="team", feed=options.feed
    )
    async with open_room(setting) as room:
        return await storm(room, per_second=options.messages_per_second, restart=options.restart)


def main() -> int:
    """Prints the result; the exit code says whether all converged within 30 s and 60 calls a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listeners", type=int, default=300)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--messages-per-second", type=float, default=5.0)
    parser.add_argument("--feed", choices=("frames", "changes"), default="frames")
    parser.add_argument("--restart", action="store_true", help="restart Realtime, instead of cutting its sockets")
    options = parser.parse_args()
    raise_file_limit()
    with rare_collections():
        found = asyncio.run(run(options))
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    good = not found["behind"] and found["all_heard"] and found["seconds_until_converged"] <= 30
    return 0 if good and found["snapshot_calls_in_busiest_second"] <= 60 else 1


if __name__ == "__main__":
    raise SystemExit(main())
