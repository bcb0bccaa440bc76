"""The two protocol versions, byte for byte."""

from __future__ import annotations

import json

import pytest

from whatssound.local.realtime import codec, json_text
from whatssound.local.realtime.codec import Blob, Broadcast, Push, UnencodableError, UserBroadcast, UserPayload

EXAMPLE = bytes.fromhex("040f022d01") + (
    b'realtime:room:dev{"id":"8dadb9dd-3abd-40cd-a956-1f493f457b81"}'
    b'{"k": 1, "id": "8dadb9dd-3abd-40cd-a956-1f493f457b81"}'
)


def payload_of(frame: bytes | None) -> bytes:
    """What a short WebSocket frame of the server carries."""
    assert frame is not None
    size, at = frame[1], 2
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
    assert len(frame) == at + size
    return frame[at:]


def test_an_array_is_read_with_what_follows_it_ignored() -> None:
    read = codec.decode("2.0.0", '[null,"1","t","e",{"a":1},"more"]')
    assert read == Push(None, "1", "t", "e", {"a": 1}, 33)


def test_an_object_may_lack_nothing_but_join_ref() -> None:
    whole = {"topic": "t", "event": "e", "payload": None, "ref": 7}
    read = codec.decode("1.0.0", json.dumps(whole))
    assert read is not None
    assert (read.join_ref, read.ref, read.payload) == (None, 7, None)
    for name in whole:
        assert codec.decode("1.0.0", json.dumps({k: v for k, v in whole.items() if k != name})) is None


@pytest.mark.parametrize("text", ["{nope", "5", "null", '["a"]', '{"topic":"t"}', "", "[1,2,3,4]", '"\\ud800"'])
def test_what_is_no_message_is_dropped(text: str) -> None:
    assert codec.decode("2.0.0", text) is None
    assert codec.decode("1.0.0", text) is None


@pytest.mark.parametrize("data", [b"", b"\x09\x01\x02", b"\x03\x01", b"\x03\xff\x00\x00\x00\x00\x01x", b"\x00\x05"])
def test_a_binary_frame_that_is_cut_short_is_dropped(data: bytes) -> None:
    assert codec.decode("2.0.0", data) is None


def test_a_binary_broadcast_push_is_read() -> None:
    head = bytes([3, 1, 2, 1, 3, 7, 1])
    read = codec.decode("2.0.0", head + b"1" + b"22" + b"t" + b"evt" + b'{"m":1}' + b'{"a":1}')
    assert read is not None
    assert (read.join_ref, read.ref, read.topic, read.event) == ("1", "22", "t", "broadcast")
    assert read.payload == UserPayload("evt", "json", b'{"a":1}', {"m": 1})


def test_a_plain_binary_push_is_read() -> None:
    read = codec.decode("2.0.0", bytes([0, 1, 1, 1, 9]) + b"1" + b"5" + b"t" + b"broadcast" + b"\0\1")
    assert read is not None
    assert (read.ref, read.event, read.payload) == ("5", "broadcast", Blob(b"\0\1"))


def test_replies_have_the_order_of_members_of_the_real_server() -> None:
    arguments = {"join_ref": "1", "ref": "2", "topic": "t", "status": "ok", "response": b"{}"}
    assert (
        codec.reply("1.0.0", **arguments)  # type: ignore[arg-type]
        == b'{"ref":"2","event":"phx_reply","payload":{"status":"ok","response":{}},"topic":"t"}'
    )
    assert codec.reply("2.0.0", **arguments) == b'["1","2","t","phx_reply",{"status":"ok","response":{}}]'  # type: ignore[arg-type]


def test_a_user_broadcast_is_the_documented_example() -> None:
    message = UserBroadcast("realtime:room:d", "ev", "json", EXAMPLE[5 + 15 + 2 + 45 :], EXAMPLE[29:65].decode())
    assert payload_of(message.frame("2.0.0")) == EXAMPLE
    assert message.frame("2.0.0") is message.frame("2.0.0")
    text = payload_of(message.frame("1.0.0"))
    assert json.loads(text)["payload"]["meta"] == {"id": "8dadb9dd-3abd-40cd-a956-1f493f457b81"}


def test_bytes_have_no_form_in_the_first_version() -> None:
    assert UserBroadcast("t", "e", "binary", b"\0").frame("1.0.0") is None
    with pytest.raises(UnencodableError):
        Broadcast("t", "broadcast", Blob(b"\0")).frame("1.0.0")
    assert payload_of(Broadcast("t", "broadcast", Blob(b"\0")).frame("2.0.0")) == b"\x02\x01\x09tbroadcast\0"


def test_only_objects_are_broadcast_in_the_second_version() -> None:
    with pytest.raises(UnencodableError):
        Broadcast("t", "broadcast", "x").frame("2.0.0")
    assert json.loads(payload_of(Broadcast("t", "broadcast", "x").frame("1.0.0")))["payload"] == "x"


def test_a_name_must_fit_into_the_head() -> None:
    assert UserBroadcast("t" * 255, "e", "json", b"{}").frame("2.0.0") is not None
    with pytest.raises(UnencodableError):
        UserBroadcast("t" * 256, "e", "json", b"{}").frame("2.0.0")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_all_sizes_say_their_size(size: int) -> None:
    frame = codec.text_frame(b"x" * size)
    length = frame[1]
    head = 2
    if length == 126:
        length, head = int.from_bytes(frame[2:4], "big"), 4
    elif length == 127:
        length, head = int.from_bytes(frame[2:10], "big"), 10
    assert (frame[0], length, len(frame) - head) == (0x81, size, size)


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ('{"b": 1, "a": {"d": [], "c": null}}', '{"a":{"c":null,"d":[]},"b":1}'),
        ("[1.50, 100000.0, 1e22, 0.0001, 1E400]", None),
        ("[1.50, 100000.0, 1e22, 0.0001, -0.0]", "[1.5,1.0e5,1.0e22,0.0001,-0.0]"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ('{"n": 123456789012345678901234567890, "f": 2.0}', '{"f":2.0,"n":123456789012345678901234567890}'),
        ('"\\u001f\\u0001\\n\\u00e9 \\\\u001f"', '"\\u001F\\u0001\\né \\\\u001f"'),
        ('{"é": 1, "z": 2, "": 3}', '{"":3,"z":2,"é":1}'),
    ],
)
def test_json_is_written_as_elixir_writes_it(given: str, written: str | None) -> None:
    if written is None:
        with pytest.raises(ValueError, match=r"out of range|number"):
            json_text.render(json_text.parse(given))
    else:
        assert json_text.render(json_text.parse(given)).decode() == written
