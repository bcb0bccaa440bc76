"""`whatssound cost`: what a room will need of a plan: messages, latency, money, and which limit comes first."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

from ...errors import ConfigurationError
from ...planning.workload import Workload, read_trace
from ...quotas import PLANS, Plan, plan_named
from .estimate import estimates
from .plot import render
from .report import as_json, as_text


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the subcommand."""
    parser = subparsers.add_parser("cost", help="what a room will need and cost", description=__doc__)
    parser.add_argument("--listeners", type=int, default=1000, help="people in a room (default: 1000)")
    chat = parser.add_mutually_exclusive_group()
    chat.add_argument(
        "--messages-per-second", type=float, default=13.0, help="chat in a room, all senders together (default: 13)"
    )
    chat.add_argument("--trace", type=Path, help="a recorded chat instead: CSV with the columns offset_ms and length")
    parser.add_argument("--hours", type=float, help="how long a session lasts (default: 3, or as long as the trace)")
    parser.add_argument("--rooms", type=int, default=1, help="rooms at the same time (default: 1)")
    parser.add_argument("--sessions", type=int, default=1, help="such sessions a month in each room (default: 1)")
    parser.add_argument("--votes-per-listener-hour", type=float, default=6.0, help="default: 6")
    parser.add_argument("--tips-per-listener-hour", type=float, default=0.05, help="default: 0.05")
    parser.add_argument("--songs-per-hour", type=float, default=17.0, help="default: 17")
    parser.add_argument("--plan", choices=sorted(PLANS), help="one plan instead of all")
    parser.add_argument("--events-per-second", type=int, help="what the plan allows, where more was agreed on")
    parser.add_argument("--connections", type=int, help="likewise")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw cost and latency against listeners")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    try:
        workload, plans = _workload(arguments), _plans(arguments)
        found = estimates(workload, plans)
        if arguments.plot is not None:
            drawn = plans[0] if arguments.plan else plan_named("team")
            arguments.plot.write_text(render(workload, drawn), encoding="utf-8")
    except ConfigurationError as error:
        print(f"whatssound: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"whatssound: {arguments.plot} cannot be written: {error.strerror}", file=sys.stderr)
        return 1
    print(json.dumps(as_json(workload, found), indent=2) if arguments.json else as_text(workload, found))
    return 0


def _workload(arguments: argparse.Namespace) -> Workload:
    chat: tuple[int, ...] = ()
    rate, characters = arguments.messages_per_second, 28.0
    seconds = (3.0 if arguments.hours is None else arguments.hours) * 3600
    if arguments.trace is not None:
        chat, characters = read_trace(arguments.trace)
        rate = sum(chat) / len(chat)
        seconds = float(len(chat)) if arguments.hours is None else seconds
    return Workload(
        listeners=arguments.listeners,
        messages_per_second=rate,
        seconds=seconds,
        rooms=arguments.rooms,
        sessions=arguments.sessions,
        votes_per_listener_hour=arguments.votes_per_listener_hour,
        tips_per_listener_hour=arguments.tips_per_listener_hour,
        songs_per_hour=arguments.songs_per_hour,
        characters=characters,
        chat=chat,
    )


def _plans(arguments: argparse.Namespace) -> list[Plan]:
    plans = [plan_named(arguments.plan)] if arguments.plan else list(PLANS.values())
    for name in ("events_per_second", "connections"):
        value = getattr(arguments, name)
        if value is None:
            continue
        if value < 1:
            raise ConfigurationError(name, "must be at least 1")
        if not arguments.plan:
            raise ConfigurationError("plan", f"name the plan whose {name} you have agreed on")
        plans = [replace(plan, **{name: value}) for plan in plans]
    return plans
