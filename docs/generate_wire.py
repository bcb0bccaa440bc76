"""Writes the JSON Schemas of docs/reference/wire.md, and wire.schema.json beside it, from the package's own models.

Run: python docs/generate_wire.py [--check]

With --check nothing is written; the exit status is 1 if a file is not current. A schema states what is always there;
more members may come with a newer database, so none forbids others.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, create_model

from whatssound.core import wire
from whatssound.models import (
    Member,
    Message,
    MessageId,
    Presence,
    QueueAction,
    QueueItem,
    SessionId,
    SessionInfo,
    SongId,
    Tally,
    Tip,
    UserId,
)

REFERENCE = Path(__file__).parent / "reference"
PAGE = REFERENCE / "wire.md"
BUNDLE = REFERENCE / "wire.schema.json"

_BLOCK = re.compile(r"(<!-- schema: (?P<name>\w+) -->\n).*?(<!-- /schema -->)", re.DOTALL)
_UUID_NAMES = re.compile(r"^(id|by|added_by|\w+_id)$")
_WIDTH = 110
_SAMPLE_ID = "00000000-0000-4000-8000-000000000001"


def schemas() -> dict[str, dict[str, Any]]:
    """All schemas by name: broadcasts, frames, presence, rows of Postgres Changes, entries of the event log."""
    return {name: _schema(model) for name, model in _models().items()}


def _models() -> dict[str, type[BaseModel]]:
    chat_members = tuple(wire.chat_payload(_sample_message())["message"])
    tally = _pick(Tally, "up", "down", "score", name="Tally")
    session = _pick(SessionInfo)
    tip, item = _pick(Tip), _pick(QueueItem)
    event: Any = _made("Event", seq=int, kind=str, payload=dict[str, Any], created_at=AwareDatetime)
    return {
        "chat": _made("Chat", message=_pick(Message, *chat_members, name="ChatMessage")),
        "typing": _made("Typing", user_id=UserId, username=str, typing=bool),
        "reaction": _made("Reaction", user_id=UserId, counts=dict[str, int]),
        "frame": _made(
            "Frame",
            session_id=SessionId,
            from_seq=int | None,
            to_seq=int,
            last_seq=int,
            events=list[event],
            tallies=list[dict[str, Any]],
            occupancy=int,
            tick_ms=int,
            server_time=AwareDatetime,
        ),
        "presence": _pick(Presence),
        "votes": _made(
            "VotesRow",
            session_id=SessionId,
            song_id=SongId,
            user_id=UserId,
            username=str,
            value=Literal[-1, 0, 1],
            seq=int,
            tally_up=int,
            tally_down=int,
        ),
        "queue_items": item,
        "tips": tip,
        "event": event,
        "event_message": _pick(Message, "id", "user_id", "username", "role", "content", "created_at"),
        "event_message_deleted": _made("MessageDeleted", id=MessageId, user_id=UserId | None, by=UserId | None),
        "event_vote": _made("Vote", song_id=SongId, user_id=UserId, username=str, value=Literal[-1, 0, 1], tally=tally),
        "event_tip": _made("TipEvent", tip=tip, was=Literal["pending", "confirmed"]),
        "event_queue": _made("QueueEvent", action=QueueAction, item=item),
        "event_member": _made(
            "MemberEvent",
            action=str,
            by=UserId | None,
            **{
                name: Member.model_fields[name].annotation
                for name in ("user_id", "username", "role", "banned", "muted_until")
            },
        ),
        "event_session": _made("SessionEvent", action=str, session=session),
    }


def _sample_message() -> Message:
    return Message(
        id=MessageId(_SAMPLE_ID),
        session_id=SessionId(_SAMPLE_ID),
        user_id=UserId(_SAMPLE_ID),
        content="x",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def _made(name: str, **members: Any) -> type[BaseModel]:
    definitions: dict[str, Any] = {member: (kind, ...) for member, kind in members.items()}
    model: type[BaseModel] = create_model(name, **definitions)
    return model


def _pick(model: type[BaseModel], *members: str, name: str = "") -> type[BaseModel]:
    """A model's members, all required: what has a default in Python is always there on the wire."""
    chosen = members or tuple(model.model_fields)
    return _made(name or model.__name__, **{member: _annotation(model, member) for member in chosen})


def _annotation(model: type[BaseModel], member: str) -> Any:
    return model.model_fields[member].rebuild_annotation()


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema: dict[str, Any] = _tidy(model.model_json_schema(mode="validation"))
    inlined: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}))
    return inlined


def _tidy(node: Any, member: str = "") -> Any:
    """Leaves out titles, defaults and docstrings of Python, and says which strings are UUIDs."""
    if isinstance(node, list):
        return [_tidy(entry, member) for entry in node]
    if not isinstance(node, dict):
        return node
    if isinstance(node.get("properties"), dict):
        properties = {name: _tidy(entry, name) for name, entry in node["properties"].items()}
        node = {**node, "properties": properties}
    kept = {
        name: entry if name == "properties" else _tidy(entry, member)
        for name, entry in node.items()
        if name not in ("title", "default", "description")
    }
    if kept.get("type") == "string" and "format" not in kept and "enum" not in kept and _UUID_NAMES.match(member):
        kept["format"] = "uuid"
    return kept


def _inlined(node: Any, definitions: Mapping[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(entry, definitions) for entry in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        return _inlined(definitions[reference.rsplit("/", 1)[-1]], definitions)
    return {name: _inlined(entry, definitions) for name, entry in node.items()}


def bundle(all_schemas: Mapping[str, Any]) -> str:
    """The text of wire.schema.json: one document, each schema under its name."""
    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": all_schemas}
    return json.dumps(document, indent=2) + "\n"


def _compact(node: Any, indent: str = "") -> str:
    """JSON with one member a line only where it does not fit into one."""
    line = json.dumps(node)
    if not isinstance(node, dict) or len(indent) + len(line) <= _WIDTH:
        return line
    deeper = indent + "  "
    members = [f"{deeper}{json.dumps(name)}: {_compact(entry, deeper)}" for name, entry in node.items()]
    return "{\n" + ",\n".join(members) + f"\n{indent}}}"


def page(text: str, all_schemas: Mapping[str, Any]) -> str:
    """The text of wire.md with every block between `<!-- schema: name -->` and `<!-- /schema -->` written anew."""

    def block(match: re.Match[str]) -> str:
        body = _compact(all_schemas[match["name"]])
        return f"{match[1]}```json\n{body}\n```\n{match[3]}"

    return _BLOCK.sub(block, text)


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks both files; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    check = parser.parse_args(arguments).check
    made = schemas()
    stale = 0
    for path, wanted in ((PAGE, page(PAGE.read_text("utf-8"), made)), (BUNDLE, bundle(made))):
        if path.exists() and path.read_text("utf-8") == wanted:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"{path.name} is not current; run: python docs/generate_wire.py\n")
        else:
            path.write_text(wanted, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
