"""The two versions of the wire protocol: text objects (1.0.0), text arrays and binary frames (2.0.0)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal

from . import json_text

Version = Literal["1.0.0", "2.0.0"]
Encoding = Literal["json", "binary"]

_KIND_PUSH: Final = 0
_KIND_BROADCAST: Final = 2
_KIND_USER_PUSH: Final = 3
_KIND_USER_BROADCAST: Final = 4
_LONGEST: Final = 255


class UnencodableError(Exception):
    """A message has no form in a listener's protocol version; it takes the sender's channel down."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The payload of a plain binary push.

    Attributes:
        data: Its bytes.
    """

    data: bytes


@dataclass(frozen=True, slots=True)
class UserPayload:
    """The payload of a binary broadcast push.

    Attributes:
        event: The user's event.
        encoding: How `data` is to be read.
        data: The inner payload as it came.
        meta: Metadata of the push; the server drops it.
    """

    event: str
    encoding: Encoding
    data: bytes
    meta: Any


@dataclass(frozen=True, slots=True)
class Push:
    """A message from a client.

    Attributes:
        join_ref: The ref of the join it belongs to, as sent.
        ref: Its own ref, as sent.
        topic: The channel's topic; anything but text matches no channel.
        event: The channel event.
        payload: A JSON value, a `Blob` or a `UserPayload`.
        size: Bytes of the frame it came in.
    """

    join_ref: Any
    ref: Any
    topic: Any
    event: Any
    payload: Any
    size: int = 0


def decode(version: Version, data: str | bytes) -> Push | None:
    """Reads a frame of a client; None where the real server drops it in silence.

    Args:
        version: The protocol version of the socket.
        data: A text or a binary frame.
    """
    try:
        if version == "1.0.0":
            return _decode_object(data)
        return _decode_binary(data) if isinstance(data, bytes) else _decode_array(data)
    except (ValueError, RecursionError):
        return None


def _decode_object(data: str | bytes) -> Push | None:
    value = json_text.parse(data)
    if not isinstance(value, dict) or not value.keys() >= {"topic", "event", "payload", "ref"}:
        return None
    return Push(value.get("join_ref"), value["ref"], value["topic"], value["event"], value["payload"], len(data))


def _decode_array(data: str) -> Push | None:
    value = json_text.parse(data)
    if not isinstance(value, list) or len(value) < 5:
        return None
    join_ref, ref, topic, event, payload = value[:5]
    return Push(join_ref, ref, topic, event, payload, len(data))


def _decode_binary(data: bytes) -> Push | None:
    if not data:
        return None
    if data[0] == _KIND_PUSH:
        parts = _split(data, 5, (1, 2, 3, 4))
        if parts is None:
            return None
        join_ref, ref, topic, event, rest = parts
        return Push(join_ref.decode(), ref.decode(), topic.decode(), event.decode(), Blob(rest), len(data))
    if data[0] == _KIND_USER_PUSH:
        parts = _split(data, 7, (1, 2, 3, 4, 5))
        if parts is None:
            return None
        join_ref, ref, topic, event, meta, rest = parts
        payload = UserPayload(
            event.decode(), "json" if data[6] else "binary", rest, json_text.parse(meta) if meta else {}
        )
        return Push(join_ref.decode(), ref.decode(), topic.decode(), "broadcast", payload, len(data))
    return None


def _split(data: bytes, head: int, sizes: tuple[int, ...]) -> list[bytes] | None:
    if len(data) < head:
        return None
    parts = []
    at = head
    for position in sizes:
        size = data[position]
        if at + size > len(data):
            return None
        parts.append(data[at : at + size])
        at += size
    parts.append(data[at:])
    return parts


def message(version: Version, *, join_ref: Any, ref: Any, topic: Any, event: str, payload: bytes) -> bytes:
    """A text message of the server.

    Args:
        version: The protocol version of the socket.
        join_ref: Shown in 2.0.0 only.
        ref: The ref; in 1.0.0 `phx_close` and `phx_error` carry the join's.
        topic: The topic as the client wrote it.
        event: The channel event.
        payload: The payload as JSON text.
    """
    topic_text = json_text.render(topic)
    event_text = json_text.string(event)
    ref_text = json_text.render(ref)
    if version == "1.0.0":
        return b'{"ref":%b,"event":%b,"payload":%b,"topic":%b}' % (ref_text, event_text, payload, topic_text)
    return b"[%b,%b,%b,%b,%b]" % (json_text.render(join_ref), ref_text, topic_text, event_text, payload)


def reply(version: Version, *, join_ref: Any, ref: Any, topic: Any, status: str, response: bytes) -> bytes:
    """The answer to a push.

    Args:
        version: The protocol version of the socket.
        join_ref: The channel's ref, or None where no channel answers.
        ref: The push's ref.
        topic: The push's topic.
        status: `ok` or `error`.
        response: The response as JSON text.
    """
    payload = b'{"status":"%b","response":%b}' % (status.encode(), response)
    return message(version, join_ref=join_ref, ref=ref, topic=topic, event="phx_reply", payload=payload)


def system_payload(message_text: str, status: str, extension: str, channel: str | None) -> bytes:
    """The payload of a `system` message.

    Args:
        message_text: What it says.
        status: `ok` or `error`.
        extension: Who says it.
        channel: The channel's name without its prefix, left out where None.
    """
    text = b'{"message":%b,"status":"%b","extension":"%b"' % (
        json_text.string(message_text),
        status.encode(),
        extension.encode(),
    )
    return text + (b',"channel":%b}' % json_text.string(channel) if channel is not None else b"}")


@dataclass(slots=True)
class Broadcast:
    """A message to every member of a topic, encoded once per protocol version.

    Attributes:
        topic: The topic with its prefix.
        event: The channel event.
        payload: A JSON value, a `Blob`, or JSON text as bytes.
        id: The id of a message that may be replayed.
    """

    topic: str
    event: str
    payload: Any
    id: str | None = None
    _frames: dict[Version, bytes] = field(default_factory=dict)

    def frame(self, version: Version) -> bytes | None:
        """The WebSocket frame for listeners of a version.

        Args:
            version: Their protocol version.

        Raises:
            UnencodableError: The payload has no form in that version.
        """
        known = self._frames.get(version)
        if known is None:
            known = self._frames[version] = self._encode(version)
        return known

    def _encode(self, version: Version) -> bytes:
        if isinstance(self.payload, Blob):
            if version == "1.0.0":
                raise UnencodableError("1.0.0 has no binary frames")
            topic, event = self.topic.encode(), self.event.encode()
            head = bytes((_KIND_BROADCAST, _size(topic), _size(event)))
            return binary_frame(head + topic + event + self.payload.data)
        if version == "2.0.0" and not isinstance(self.payload, dict | bytes):
            raise UnencodableError("2.0.0 broadcasts objects only")
        payload = self.payload if isinstance(self.payload, bytes) else json_text.render(self.payload)
        return text_frame(
            message(version, join_ref=None, ref=None, topic=self.topic, event=self.event, payload=payload)
        )


@dataclass(slots=True)
class UserBroadcast:
    """A broadcast of bytes or unread JSON: binary for 2.0.0, text for 1.0.0 if it is JSON.

    Attributes:
        topic: The topic with its prefix.
        event: The user's event.
        encoding: How `payload` is to be read.
        payload: The inner payload.
        id: The id that becomes `meta.id`.
        meta_text: Metadata as JSON text, if it is not just the id.
    """

    topic: str
    event: str
    encoding: Encoding
    payload: bytes
    id: str | None = None
    meta_text: bytes | None = None
    _frames: dict[Version, bytes | None] = field(default_factory=dict)

    def frame(self, version: Version) -> bytes | None:
        """The WebSocket frame for listeners of a version; None if they cannot be told.

        Args:
            version: Their protocol version.

        Raises:
            UnencodableError: A name is too long for the frame's head.
        """
        if version not in self._frames:
            self._frames[version] = self._binary() if version == "2.0.0" else self._text()
        return self._frames[version]

    def _meta(self) -> bytes | None:
        if self.meta_text is None and self.id is not None:
            return b'{"id":%b}' % json_text.string(self.id)
        return self.meta_text

    def _binary(self) -> bytes:
        topic, event = self.topic.encode(), self.event.encode()
        meta = self._meta() or b""
        encoding = 1 if self.encoding == "json" else 0
        head = bytes((_KIND_USER_BROADCAST, _size(topic), _size(event), _size(meta), encoding))
        return binary_frame(head + topic + event + meta + self.payload)

    def _text(self) -> bytes | None:
        if self.encoding == "binary":
            return None
        known = self._meta()
        meta = b'"meta":%b,' % known if known is not None else b""
        payload = b'{"event":%b,%b"payload":%b,"type":"broadcast"}' % (
            json_text.string(self.event),
            meta,
            self.payload,
        )
        return text_frame(
            message("1.0.0", join_ref=None, ref=None, topic=self.topic, event="broadcast", payload=payload)
        )


def _size(data: bytes) -> int:
    if len(data) > _LONGEST:
        raise UnencodableError(f"a part of a binary frame's head has at most {_LONGEST} bytes")
    return len(data)


def text_frame(data: bytes) -> bytes:
    """A whole WebSocket text frame of a server.

    Args:
        data: The text, UTF-8.
    """
    return _frame(0x81, data)


def binary_frame(data: bytes) -> bytes:
    """A whole WebSocket binary frame of a server.

    Args:
        data: The bytes.
    """
    return _frame(0x82, data)


def _frame(first: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 1 << 16:
        return bytes((first, 126)) + size.to_bytes(2, "big") + data
    return bytes((first, 127)) + size.to_bytes(8, "big") + data
