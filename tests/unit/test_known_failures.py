"""The known ways in which the official client loses rooms and messages: each has a test here or elsewhere.

A: it goes deaf or dies. B: what is sent is lost, doubled or reordered. C: what is heard is lost or late. P: presence.
A test that covers one has the code in its name; the index below finds them, and fails for a code without a test.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.unit.test_session import ANA, EVE, ID, Stage
from whatssound.core.reasons import Reason
from whatssound.events import PresenceJoined, StateResynced, Status, StatusChanged
from whatssound.models import UserId
from whatssound.testing import run_virtual

#: How many of each kind there are.
KINDS = {"a": 10, "b": 11, "c": 10, "p": 7}

#: What cannot befall us, and why.
NOT_OURS = {
    "b7": "no acknowledgement is asked for: chat is stored by an RPC, whose answer is the acknowledgement",
    "b10": "a unit in a docstring of a method that is not called",
    "b11": "nothing is broadcast over HTTP",
}

_CODES = re.compile(r"(?<=_)([abcp]\d+)(?=_)")


@cache
def codes_with_tests() -> dict[str, list[str]]:
    """Returns code → names of the tests that have it."""
    found: dict[str, list[str]] = {}
    for file in Path(__file__).parents[1].rglob("test_*.py"):
        if "node_modules" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                head = re.match(r"test((?:_[abcp]\d+)+)_", node.name)
                for code in _CODES.findall(head.group(1) + "_") if head else ():
                    found.setdefault(code, []).append(node.name)
    return found


@pytest.mark.parametrize("code", [f"{kind}{number}" for kind, count in KINDS.items() for number in range(1, count + 1)])
def test_each_has_a_test_or_a_reason_why_not(code: str) -> None:
    tests = codes_with_tests().get(code, [])
    assert bool(tests) != (code in NOT_OURS), f"{code}: {tests or 'no test has it in its name'}"


def test_no_test_names_one_that_is_not_in_the_list() -> None:
    listed = {f"{kind}{number}" for kind, count in KINDS.items() for number in range(1, count + 1)}
    assert set(codes_with_tests()) <= listed


def meta(user_id: str, ref: str) -> dict[str, object]:
    return {user_id: {"metas": [{"phx_ref": ref, "user_id": user_id, "username": "eve"}]}}


def test_p3_while_disconnected_the_status_says_so_and_the_view_is_read_only() -> None:
    """It shows the old presence without a word, as a live dict that a caller can break; we say `reconnecting`."""

    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            stage.links.last.listener.presence_state(meta(EVE, "1"))
            assert set(session.state.presence) == {EVE}
            stage.links.last.end(Reason.SILENT, "no heartbeat")
            await session.wait_for(StatusChanged, lambda event: event.status is Status.RECONNECTING, timeout=5)
            assert session.state.status is Status.RECONNECTING
            assert set(session.state.presence) == {EVE}, "people are not gone because we are"
            with pytest.raises(TypeError):
                session.state.presence[UserId(ANA)] = session.state.presence[UserId(EVE)]  # type: ignore[index]

    run_virtual(main)


def test_p6_every_handler_of_a_kind_is_called() -> None:
    """Its second registration silently replaces the first."""

    async def main() -> None:
        stage = Stage()
        first: list[str] = []
        second: list[str] = []
        stage.session.on(PresenceJoined, lambda event: first.append(event.member.user_id))
        stage.session.on(PresenceJoined, lambda event: second.append(event.member.user_id))
        async with stage.session:
            stage.links.last.listener.presence_state(meta(EVE, "1"))
        assert first == second == [EVE]

    run_virtual(main)


def test_p7_presence_is_on_from_the_join_and_known_by_the_user_in_every_generation() -> None:
    """With an empty key the server makes a new one for each join, so one person becomes many."""

    async def main() -> None:
        stage = Stage()
        async with stage.session as session:
            stage.links.last.end(Reason.CLOSED, "gone")
            await session.wait_for(StateResynced, timeout=10)
            assert len(stage.links.made) == 2
            assert {spec.presence_key for link in stage.links.made for spec in link.specs} == {ANA}
            assert all(spec.topic == f"session:{ID}" for link in stage.links.made for spec in link.specs)

    run_virtual(main)
