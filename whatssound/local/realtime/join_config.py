"""What a join asks for. Wrong types fall back to the defaults, as on the real server; few things fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .inspect import inspect

if TYPE_CHECKING:
    from collections.abc import Mapping

_PREFIX: Final = "realtime:"


class JoinCrashError(Exception):
    """The join makes the real server's code fail; the text is what it answers."""


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """The settings of one channel.

    Attributes:
        private: Whether policies decide who reads and writes; None where the client sent null, which makes a
            channel that hears but whose own messages are dropped.
        ack: Whether broadcasts are acknowledged.
        self_broadcast: Whether one's own broadcasts come back.
        presence: Whether presence was asked for.
        presence_key: The presence key, or None if the server is to make one.
        replication_ready: Whether to say when messages of the database arrive.
        mentions_replay: Whether the join names a replay in any form, which a public channel refuses.
        replay: The replay wanted; None if it was not asked for as an object.
        bindings: The change bindings as sent.
        old_form: Whether the payload had no `config`, so that changes arrive as events of their own.
    """

    private: bool | None
    ack: bool
    self_broadcast: bool
    presence: bool
    presence_key: str | None
    replication_ready: bool
    mentions_replay: bool
    replay: dict[str, Any] | None
    bindings: tuple[dict[str, Any], ...]
    old_form: bool


def parse_join(name: str, payload: Mapping[str, Any]) -> JoinConfig:
    """Reads the payload of a join.

    Args:
        name: The channel's name without its prefix; in the old form it says which table is meant.
        payload: The payload, an object.

    Raises:
        JoinCrashError: Something has a type that the real server does not get over.
    """
    config = payload.get("config")
    broadcast = _access(config, "broadcast")
    ready = _access(broadcast, "replication_ready")
    members = _object(config)
    broadcast_members = _object(broadcast)
    presence_members = _object(members.get("presence"))
    replay = broadcast_members.get("replay")
    return JoinConfig(
        private=_flag(members, "private"),
        ack=bool(_flag(broadcast_members, "ack")),
        self_broadcast=bool(_flag(broadcast_members, "self")),
        presence=bool(_flag(presence_members, "enabled")),
        presence_key=_key(presence_members.get("key")),
        # Any value but null and false counts: the real server does not check the type of this one.
        replication_ready=ready is not None and ready is not False,
        mentions_replay="replay" in broadcast_members,
        replay=replay if isinstance(replay, dict) else None,
        bindings=_bindings(name, payload, members),
        old_form="config" not in payload,
    )


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _access(container: Any, key: str) -> Any:
    if container is None:
        return None
    if isinstance(container, list):
        raise JoinCrashError(f"the Access calls for keywords expect the key to be an atom, got: {inspect(key)}")
    if not isinstance(container, dict):
        raise JoinCrashError("no function clause matching in Access.get/3")
    return container.get(key)


def _flag(members: Mapping[str, Any], name: str) -> bool | None:
    value = members.get(name, False)
    if value is None or isinstance(value, bool):
        return value
    return isinstance(value, str) and value.lower() == "true"


def _key(value: Any) -> str | None:
    if value is None or value == "":
        return None
    return value if isinstance(value, str) else inspect(value)


def _bindings(name: str, payload: Mapping[str, Any], members: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    if "config" not in payload:
        return (dict(zip(("schema", "table", "filter"), name.split(":", 2), strict=False)),)
    wanted = members.get("postgres_changes")
    if not isinstance(wanted, list):
        return ()
    bindings = [binding for binding in wanted if binding is not None]
    for binding in bindings:
        if not isinstance(binding, dict):
            raise JoinCrashError(f"expected a map, got: {inspect(binding)}")
    return tuple(bindings)


def channel_name(topic: str) -> str | None:
    """The name of a channel without its prefix; None for a topic that is no channel's.

    Args:
        topic: The topic as sent.
    """
    return topic[len(_PREFIX) :] if topic.startswith(_PREFIX) else None
