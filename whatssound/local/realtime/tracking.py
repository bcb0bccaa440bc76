"""The presence of one channel: its budget, what it tracks, and what it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid1

from . import json_text, terms
from .codec import Blob, Push, UserPayload
from .counters import PresenceWindow

if TYPE_CHECKING:
    from .channel import Channel
    from .hub import Hub


class ChannelCrashError(Exception):
    """What a client sent makes the real server's channel crash."""


class Tracking:
    """Serves the presence pushes of a channel.

    Args:
        channel: The channel.
        hub: Where presences are kept.
    """

    def __init__(self, channel: Channel, hub: Hub) -> None:
        self._channel = channel
        self._hub = hub
        limits = hub.limits
        self.enabled = channel.config.presence or limits.presence_enabled
        self._key = channel.config.presence_key or str(uuid1())
        self._window = PresenceWindow(limits.presence_calls, limits.presence_window)
        self._tracked: bytes | None = None

    def tell_state(self) -> None:
        """Tells the client who is present, if it may know."""
        channel = self._channel
        if channel.closed or not channel.sees_presence:
            return
        if self._quota_used():
            channel.shutdown("Too many presence messages per second")
            return
        self._hub.usage.messages += 1
        channel.tell("presence_state", self._hub.presence_state(channel.topic))

    def receive(self, push: Push) -> None:
        """Serves a presence push.

        Args:
            push: The push.

        Raises:
            ChannelCrashError: The real server does not get over it.
        """
        channel, payload = self._channel, push.payload
        if not isinstance(payload, dict) or "event" not in payload:
            channel.answer(push, "ok")
            return
        if not isinstance(payload["event"], str):
            raise ChannelCrashError
        if not self._window.take():
            channel.shutdown("Client presence rate limit exceeded")
            return
        match payload["event"].lower():
            case "track":
                self._track(push, payload.get("payload", {}))
            case "untrack":
                self._tracked = None
                channel.answer(push, "ok")
                self._hub.untrack(channel)
            case _:
                channel.answer(push, "error")

    def _track(self, push: Push, meta: Any) -> None:
        channel = self._channel
        if channel.policies is not None and channel.policies.presence_write is not True:
            channel.answer(push, "error")
            return
        if not isinstance(meta, dict):
            channel.answer(push, "error", b'{"reason":"Presence track payload must be a map"}')
            return
        text = json_text.render(meta)
        if text == self._tracked:
            channel.answer(push, "ok")
        elif too_large(push, self._hub.limits.payload_bytes, meta):
            channel.shutdown("Track message size exceeded")
        elif self._quota_used():
            channel.shutdown("Too many presence messages per second")
        else:
            self._tracked = text
            self.enabled = True
            self._hub.usage.messages += 1
            channel.answer(push, "ok")
            self._hub.track(channel, self._key, meta)

    def _quota_used(self) -> bool:
        counter = self._hub.presence_events
        if counter.average > self._hub.limits.max_presence_events_per_second:
            return True
        counter.add()
        return False


def too_large(push: Push, limit: int, value: Any = None) -> bool:
    """Whether a payload is over the tenant's limit.

    Args:
        push: The push.
        limit: The limit in bytes of the external term format.
        value: What is measured, if it is not the whole payload.
    """
    # A value's external form is at most five times its JSON: most frames need no closer look.
    if push.size * 5 < limit:
        return False
    payload = push.payload if value is None else value
    match payload:
        case UserPayload(event=event, data=data, meta=meta):
            return terms.external_size((event, "json", data, meta)) > limit
        case Blob(data=data):
            return terms.external_size(("binary", data)) > limit
        case _:
            return terms.external_size(payload) > limit
