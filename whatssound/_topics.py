"""The topics of one socket: which are wanted, which are joined, and what the server has said of each. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .ports import JoinSpec, pushed_to

_PREFIX = "realtime:"


@dataclass(slots=True, eq=False)
class Topic:
    """One join of a topic, from the moment it is wanted; joining the same topic again makes another.

    Attributes:
        spec: how it is joined.
        ref: names this join in what the server says about it.
        token: the access token that the server has for it.
        is_joined: whether the join was accepted.
        error: what the server's last ``system`` error said, until it is over.
    """

    spec: JoinSpec
    ref: str
    token: str = ""
    is_joined: bool = False
    error: str = ""
    _awaited: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.spec.changes:
            self._awaited.add("changes")
        if self.spec.replication:
            self._awaited.add("replication")

    @property
    def name(self) -> str:
        """The topic, as the application names it."""
        return self.spec.topic

    @property
    def wire_name(self) -> str:
        """The topic, as frames name it."""
        return _PREFIX + self.spec.topic

    def join_payload(self) -> dict[str, Any]:
        """What the join asks for."""
        spec = self.spec
        broadcast = {"ack": False, "self": False}
        if spec.replication:
            broadcast["replication_ready"] = True
        return {
            "config": {
                "broadcast": broadcast,
                "presence": {"key": spec.presence_key or "", "enabled": spec.presence_key is not None},
                "private": spec.private,
                "postgres_changes": [
                    {"event": binding.event, "schema": binding.schema, "table": binding.table, "filter": binding.filter}
                    for binding in spec.changes
                ],
            },
            "access_token": self.token,
        }

    def accept(self) -> bool:
        """Notes that the join was accepted; returns whether all it carries flows already."""
        self.is_joined = True
        return not self._awaited

    def heard(self, payload: Mapping[str, Any]) -> bool:
        """Takes a ``system`` message; returns whether what the topic carries flows from now on."""
        text = str(payload.get("message") or "")
        if payload.get("status") == "error":
            # For Postgres Changes the server keeps the channel and tries again by itself; for all else phx_close
            # follows.
            self.error = text
            return False
        if not self.is_joined:
            return False  # good news before the join's answer is about an earlier join of the same topic
        if payload.get("extension") == "postgres_changes":
            self.error = ""
            self._awaited.discard("changes")
        elif "disconnect" in text.lower():
            self.error = text
            return False
        elif self.spec.replication and "replication" in text.lower():
            # Extension and status are those of any other word of the server: only the text tells.
            self._awaited.discard("replication")
        else:
            return False
        return not self._awaited


@dataclass(frozen=True, slots=True)
class Step:
    """What to send for a change of the wanted topics.

    Attributes:
        topic: whose.
        joins: whether to join it; else it is to be left.
        is_gone: whether it is left for good, and not to be joined anew.
    """

    topic: Topic
    joins: bool
    is_gone: bool = False


class Topics:
    """The wanted topics of one socket.

    Args:
        new_ref: makes a reference that no frame on this socket has had.
    """

    def __init__(self, new_ref: Callable[[], str]) -> None:
        self._new_ref = new_ref
        self._by_wire_name: dict[str, Topic] = {}
        self._pushed_to: str | None = None

    def __iter__(self) -> Iterator[Topic]:
        return iter(tuple(self._by_wire_name.values()))

    def __contains__(self, topic: Topic) -> bool:
        return self._by_wire_name.get(topic.wire_name) is topic

    def get(self, wire_name: object) -> Topic | None:
        """The topic of a frame, if we want it."""
        return self._by_wire_name.get(wire_name) if isinstance(wire_name, str) else None

    def by_ref(self, ref: str) -> Topic | None:
        """The topic whose current join has this reference."""
        return next((topic for topic in self if topic.ref == ref), None)

    @property
    def session(self) -> Topic | None:
        """The topic that is pushed to, if there is one."""
        return self.get(self._pushed_to)

    @property
    def joined(self) -> list[Topic]:
        """Those that are joined."""
        return [topic for topic in self if topic.is_joined]

    @property
    def are_joined(self) -> bool:
        """Whether all are."""
        return all(topic.is_joined for topic in self)

    @property
    def error(self) -> str:
        """What the server complained of last on any topic, if that is not over."""
        return next((topic.error for topic in self if topic.error), "")

    def want(self, specs: Sequence[JoinSpec]) -> list[Step]:
        """Takes what is wanted from now on, and returns what to send for it, in this order."""
        wanted = {_PREFIX + spec.topic: spec for spec in specs}
        steps: list[Step] = []
        for wire_name, topic in tuple(self._by_wire_name.items()):
            if wanted.get(wire_name) != topic.spec:
                del self._by_wire_name[wire_name]
                steps.append(Step(topic, joins=False, is_gone=wire_name not in wanted))
        for wire_name, spec in wanted.items():
            if wire_name not in self._by_wire_name:
                topic = self._by_wire_name[wire_name] = Topic(spec, self._new_ref())
                steps.append(Step(topic, joins=True))
        chosen = pushed_to(specs)
        self._pushed_to = _PREFIX + chosen.topic if chosen is not None else None
        return steps
