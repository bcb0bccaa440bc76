"""Writes docs/reference/api.md and config.md from signatures and docstrings, so that they say what the code says.

Run: python docs/generate_reference.py [--check]

With --check nothing is written; the exit status is 1 if a file is not current.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import whatssound
from whatssound import events, models
from whatssound.chat import Chat
from whatssound.config import ConnectionConfig, OutboxConfig, RetryConfig, SessionConfig
from whatssound.moderation import Moderation
from whatssound.presence import Presences
from whatssound.queue import Queue
from whatssound.tips import Tips
from whatssound.typing import Typing
from whatssound.votes import Votes

REFERENCE = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate_reference.py; change the docstrings instead. -->\n"

_FEATURES = {
    "session.chat": Chat,
    "session.votes": Votes,
    "session.tips": Tips,
    "session.queue": Queue,
    "session.presence": Presences,
    "session.typing": Typing,
    "session.moderation": Moderation,
}
#: What the parts of the package use among themselves, on classes that users hold.
_INTERNAL = {"settle", "put", "end", "show", "hide", "joined", "run", "learn"}


def config_page() -> str:
    """The text of config.md."""
    lines = [
        "# Settings",
        "",
        NOTE,
        "All are keyword arguments of frozen dataclasses, checked when they are made: a value that cannot work",
        "raises `ConfigurationError`. Times are seconds. Give a `SessionConfig` to `WhatsSound(config=…)` for all its",
        "sessions, or to `sound.session(id, config=…)` for one.",
        "",
        "<!-- runnable -->",
        "```python",
        "from whatssound import OutboxConfig, SessionConfig",
        "",
        'config = SessionConfig(history=50, outbox=OutboxConfig(interval=0.25, policy="reject"))',
        "```",
        "",
    ]
    for kind in (SessionConfig, OutboxConfig, ConnectionConfig, RetryConfig):
        lines += [f"## `{kind.__name__}`", "", _summary(kind), "", "| setting | default | meaning |", "|---|---|---|"]
        described = _section(kind, "Attributes")
        for field in dataclasses.fields(kind):
            lines.append(f"| `{field.name}` | {_default(field)} | {_cell(described[field.name])} |")
        lines.append("")
    lines += [
        "## Environment",
        "",
        "`WhatsSound.from_env()` reads `SUPABASE_URL`, `SUPABASE_ANON_KEY` (or `SUPABASE_KEY`) and, if it is set,",
        "`SUPABASE_ACCESS_TOKEN`.",
    ]
    return "\n".join(lines) + "\n"


def _default(field: dataclasses.Field[Any]) -> str:
    return f"`{field.type}()`" if field.default is dataclasses.MISSING else f"`{field.default!r}`"


def api_page() -> str:
    """The text of api.md."""
    lines = [
        "# API",
        "",
        NOTE,
        "Everything here is imported from `whatssound`. Arguments, units and what each call raises are in the",
        "docstrings: `help(whatssound.Session)`. [Errors](errors.md) and [settings](config.md) are pages of their own.",
        "",
    ]
    doors: tuple[type, ...] = (whatssound.WhatsSound, whatssound.Session)
    for kind in doors:
        lines += _class_part(kind.__name__, kind)
    for name, feature in _FEATURES.items():
        lines += _class_part(name, feature)
    held: tuple[type, ...] = (whatssound.LiveState, whatssound.MessageReceipt, whatssound.EventStream)
    for kind in held:
        lines += _class_part(kind.__name__, kind)
    lines += ["## Events", "", "The union `Event`. All have `seq` and `recovered`.", ""]
    lines += _model_table(
        events, (kind for kind in vars(events).values() if _is_event(kind)), leave={"seq", "recovered"}
    )
    lines += ["", "## Models", "", "Frozen pydantic models.", ""]
    exported = (getattr(whatssound, name) for name in whatssound.__all__)
    lines += _model_table(
        models, (kind for kind in exported if inspect.isclass(kind) and kind.__module__ == models.__name__)
    )
    return "\n".join(lines) + "\n"


def _is_event(kind: object) -> bool:
    return inspect.isclass(kind) and issubclass(kind, events.EventBase) and kind is not events.EventBase


def _model_table(module: Any, kinds: Iterator[Any], leave: frozenset[str] | set[str] = frozenset()) -> list[str]:
    lines = ["| class | members | |", "|---|---|---|"]
    for kind in kinds:
        if not hasattr(kind, "model_fields"):
            continue
        members = ", ".join(f"`{name}`" for name in kind.model_fields if name not in leave)
        lines.append(f"| `{kind.__name__}` | {members} | {_cell(_summary(kind))} |")
    return lines


def _class_part(title: str, kind: type) -> list[str]:
    lines = [f"## `{title}`", "", _summary(kind), "", "| | |", "|---|---|"]
    for name, member in vars(kind).items():
        if name.startswith("_") or name in _INTERNAL:
            continue
        function = member.__func__ if isinstance(member, classmethod) else member
        if isinstance(member, property):
            lines.append(f"| `.{name}` | {_cell(_summary(member))} |")
        elif inspect.isfunction(function):
            call = f"{'await ' if inspect.iscoroutinefunction(function) else ''}.{name}{_arguments(function)}"
            lines.append(f"| `{call}` | {_cell(_summary(function))} |")
    return [*lines, ""]


def _arguments(function: Any) -> str:
    """The arguments as they are written in a call: without annotations."""
    parts: list[str] = []
    bare_star = False
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not bare_star:
            bare_star = True
            parts.append("*")
        default = "" if parameter.default is inspect.Parameter.empty else f"={parameter.default!r}"
        parts.append(parameter.name + default)
    return f"({', '.join(parts)})"


def _summary(thing: Any) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def _section(kind: type, title: str) -> dict[str, str]:
    """A section of a Google-style docstring: name to text."""
    text = (inspect.getdoc(kind) or "").split(f"{title}:\n", 1)[1]
    entries = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: " ".join(body.split()) for name, body in entries}


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("``", "`")


def main(arguments: list[str] | None = None) -> int:
    """Writes or checks both pages; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not current")
    check = parser.parse_args(arguments).check
    stale = 0
    for path, wanted in ((REFERENCE / "config.md", config_page()), (REFERENCE / "api.md", api_page())):
        if path.exists() and path.read_text("utf-8") == wanted:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"{path.name} is not current; run: python docs/generate_reference.py\n")
        else:
            path.write_text(wanted, "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
