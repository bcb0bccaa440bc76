"""Who is present on a topic: keys, their metas, and the diffs that tell the others."""

from __future__ import annotations

import base64
import itertools
import os
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from . import json_text

Owner = TypeVar("Owner")
_counter = itertools.count(int.from_bytes(os.urandom(6), "big"))


def _new_ref() -> str:
    # Opaque to clients; the real ones look alike.
    return base64.urlsafe_b64encode(next(_counter).to_bytes(12, "big")).decode()


@dataclass(frozen=True, slots=True)
class Meta:
    """What one member says about himself.

    Attributes:
        key: The presence key.
        ref: The ref of this state.
        previous: The ref of the state it replaced.
        payload: The tracked object.
    """

    key: str
    ref: str
    previous: str | None
    payload: dict[str, Any]

    def text(self) -> bytes:
        """The meta as JSON text: the server's own members come first."""
        own = b'"phx_ref":%b' % json_text.string(self.ref)
        if self.previous is not None:
            own += b',"phx_ref_prev":%b' % json_text.string(self.previous)
        user = json_text.render(self.payload)
        return b"{%b%b}" % (own, b"," + user[1:-1] if self.payload else b"")


class PresenceBook(Generic[Owner]):
    """The presences of one topic.

    One owner (a channel) has at most one meta; owners may share a key.
    """

    def __init__(self) -> None:
        self._metas: dict[Owner, Meta] = {}

    def __bool__(self) -> bool:
        return bool(self._metas)

    def track(self, owner: Owner, key: str, payload: dict[str, Any]) -> bytes:
        """Adds or replaces an owner's meta and answers the diff as JSON text.

        Args:
            owner: Whose meta it is.
            key: The presence key.
            payload: What is tracked.
        """
        old = self._metas.get(owner)
        new = Meta(key, _new_ref(), old.ref if old is not None else None, payload)
        self._metas[owner] = new
        return diff([new], [old] if old is not None else [])

    def untrack(self, owner: Owner) -> bytes | None:
        """Removes an owner's meta; the diff as JSON text, or None if there was nothing.

        Args:
            owner: Whose meta it is.
        """
        old = self._metas.pop(owner, None)
        return diff([], [old]) if old is not None else None

    def state(self) -> bytes:
        """Everybody, as the JSON text of a `presence_state`."""
        return _grouped(list(self._metas.values()))


def diff(joins: list[Meta], leaves: list[Meta]) -> bytes:
    """The JSON text of a `presence_diff`.

    Args:
        joins: Metas that came.
        leaves: Metas that went.
    """
    return b'{"joins":%b,"leaves":%b}' % (_grouped(joins), _grouped(leaves))


def _grouped(metas: list[Meta]) -> bytes:
    by_key: dict[str, list[bytes]] = {}
    for meta in metas:
        by_key.setdefault(meta.key, []).append(meta.text())
    members = (b'%b:{"metas":[%b]}' % (json_text.string(key), b",".join(by_key[key])) for key in sorted(by_key))
    return b"{" + b",".join(members) + b"}"
