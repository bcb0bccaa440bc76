"""Plays seeds beside each other: each lane is a process with a stack of its own, since most of a run is waiting."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import TypeAdapter

from tests.integration.faults.verdict import Evidence

_ROOT = Path(__file__).parents[3]
_EVIDENCE = TypeAdapter(Evidence)


class LaneError(Exception):
    """A lane ended before its work did; what it said is on the standard error output."""


def play(seeds: Iterable[int], lanes: int, feed: str = "mixed") -> Iterator[tuple[int, Evidence]]:
    """Plays seeds and yields each with its evidence, as they come in.

    Args:
        seeds: which.
        lanes: how many at a time.
        feed: ``frames``, ``changes``, or ``mixed``: as each seed decides.

    Raises:
        LaneError: runs ended by an exception; raised when all others have come in.
    """
    todo: queue.SimpleQueue[int] = queue.SimpleQueue()
    for seed in seeds:
        todo.put(seed)
    done: queue.SimpleQueue[tuple[int, Evidence] | LaneError | None] = queue.SimpleQueue()
    with ThreadPoolExecutor(lanes) as pool:
        for _ in range(lanes):
            pool.submit(_drive, todo, done, feed)
        running = lanes
        failed: list[str] = []
        while running:
            news = done.get()
            if news is None:
                running -= 1
            elif isinstance(news, LaneError):
                failed.append(str(news))
            else:
                yield news
    if failed:
        raise LaneError("; ".join(failed))


def _drive(
    todo: queue.SimpleQueue[int], done: queue.SimpleQueue[tuple[int, Evidence] | LaneError | None], feed: str
) -> None:
    command = [sys.executable, "-m", "tests.integration.faults.lane", feed]
    try:
        with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as lane:
            assert lane.stdin is not None
            assert lane.stdout is not None
            while True:
                try:
                    seed = todo.get_nowait()
                except queue.Empty:
                    break
                lane.stdin.write(f"{seed}\n")
                lane.stdin.flush()
                answer = lane.stdout.readline()
                if not answer:
                    done.put(LaneError(f"seed {seed} ended its lane"))
                    return
                done.put((seed, _EVIDENCE.validate_json(answer)))
            lane.stdin.close()
            lane.wait()
    except OSError as error:
        done.put(LaneError(f"a lane cannot be driven: {error}"))
    finally:
        done.put(None)
