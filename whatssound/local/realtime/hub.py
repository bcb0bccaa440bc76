"""Everything that the sockets of a tenant share: topics, presences, quotas and what has been counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from .codec import Broadcast, UnencodableError, UserBroadcast
from .counters import RateCounter
from .hooks import RealtimeHooks
from .limits import Limits
from .presence import PresenceBook

if TYPE_CHECKING:
    from .channel import Channel
    from .socket import Socket

TOO_MANY_MESSAGES = "Too many messages per second"


class Topic(NamedTuple):
    """A topic: public and private channels of one name are different ones.

    Attributes:
        private: Whether policies decide on it.
        name: The channel's name without its prefix.
    """

    private: bool
    name: str


@dataclass(slots=True)
class Usage:
    """What hosted Supabase would bill.

    Attributes:
        messages: Messages: one per send and one per receiver.
        peak_connections: The most sockets that were open at once.
    """

    messages: int = 0
    peak_connections: int = 0


class Hub:
    """The shared state of one tenant.

    Args:
        limits: Its quotas.
    """

    def __init__(self, limits: Limits) -> None:
        self.hooks = RealtimeHooks()
        self.usage = Usage()
        self.sockets: dict[Socket, None] = {}
        self.users: set[Socket] = set()
        self._members: dict[Topic, dict[Channel, None]] = {}
        self._presences: dict[Topic, PresenceBook[Channel]] = {}
        self.limits = limits
        self._new_counters()

    def change_limits(self, limits: Limits) -> None:
        """Takes new limits over; the rates start anew.

        Args:
            limits: The new limits.
        """
        self.limits = limits
        self._new_counters()

    def _new_counters(self) -> None:
        self.events = RateCounter(self.limits.max_events_per_second)
        self.changes = RateCounter(self.limits.max_events_per_second)
        self.joins = RateCounter(self.limits.max_joins_per_second)
        self.presence_events = RateCounter(self.limits.max_presence_events_per_second)

    def opened(self, socket: Socket) -> None:
        """Notes a new socket.

        Args:
            socket: It.
        """
        self.sockets[socket] = None
        self.usage.peak_connections = max(self.usage.peak_connections, len(self.sockets))

    def closed(self, socket: Socket) -> None:
        """Forgets a socket.

        Args:
            socket: It.
        """
        self.sockets.pop(socket, None)
        self.users.discard(socket)

    def enter(self, channel: Channel) -> None:
        """Makes a channel a member of its topic.

        Args:
            channel: It.
        """
        self._members.setdefault(channel.topic, {})[channel] = None

    def leave(self, channel: Channel) -> None:
        """Ends a channel's membership; the others hear that its presence is gone.

        Args:
            channel: It.
        """
        members = self._members.get(channel.topic)
        if members is not None:
            members.pop(channel, None)
            if not members:
                del self._members[channel.topic]
        self.untrack(channel)

    def channels(self) -> list[Channel]:
        """All joined channels."""
        return [channel for members in self._members.values() for channel in members]

    def send(self, topic: Topic, broadcast: Broadcast | UserBroadcast, *, but: Channel | None = None) -> None:
        """Delivers a broadcast to the members of a topic and counts every delivery.

        Receivers are closed when the tenant is over its quota, after they got the message.

        Args:
            topic: Where to.
            broadcast: What.
            but: A member who shall not get it.

        Raises:
            UnencodableError: A listener's protocol version cannot express it; those before him have got it.
        """
        members = self._members.get(topic)
        if not members:
            return
        heard = 0
        try:
            for channel in list(members):
                if channel is but or not channel.hears(broadcast):
                    continue
                frame = broadcast.frame(channel.version)
                heard += 1
                if frame is not None:
                    channel.socket.write(frame)
        finally:
            self.events.add(heard)
            self.usage.messages += heard
        if heard and self.events.over:
            for channel in list(members):
                if channel is not but and channel.hears(broadcast):
                    channel.shutdown_soon(TOO_MANY_MESSAGES)

    def send_leniently(self, topic: Topic, broadcast: Broadcast | UserBroadcast) -> None:
        """Delivers what no client sent, so that nobody is to blame if a listener cannot be told.

        Args:
            topic: Where to.
            broadcast: What.
        """
        try:
            self.send(topic, broadcast)
        except UnencodableError:
            return

    def track(self, channel: Channel, key: str, payload: dict[str, object]) -> None:
        """Notes a presence and tells the topic.

        Args:
            channel: Whose presence it is.
            key: Its key.
            payload: What is tracked.
        """
        book = self._presences.setdefault(channel.topic, PresenceBook())
        self._tell_diff(channel, book.track(channel, key, payload))

    def untrack(self, channel: Channel) -> None:
        """Removes a presence and tells the topic, if there was one.

        Args:
            channel: Whose presence it is.
        """
        book = self._presences.get(channel.topic)
        if book is None:
            return
        gone = book.untrack(channel)
        if not book:
            del self._presences[channel.topic]
        if gone is not None:
            self._tell_diff(channel, gone)

    def presence_state(self, topic: Topic) -> bytes:
        """Who is present on a topic, as JSON text.

        Args:
            topic: The topic.
        """
        book = self._presences.get(topic)
        return book.state() if book is not None else b"{}"

    def _tell_diff(self, channel: Channel, diff: bytes) -> None:
        broadcast = Broadcast(channel.wire_topic, "presence_diff", diff)
        told = 0
        for member in list(self._members.get(channel.topic, ())):
            if member.sees_presence:
                frame = broadcast.frame(member.version)
                if frame is not None:
                    member.socket.write(frame)
                told += 1
        self.presence_events.add(told)
        self.usage.messages += told
