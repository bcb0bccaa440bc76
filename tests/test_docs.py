"""The docs say what the code does: their examples run, their links lead somewhere, their lists are complete."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import whatssound
from whatssound import Session, WhatsSound, config, errors
from whatssound.core import wire
from whatssound.local import LocalStack
from whatssound.models import Message, Presence

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
READMES = [ROOT / "README.md", ROOT / "README.es.md"]
PAGES = [*READMES, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
REFERENCE = DOCS / "reference"

_BLOCK = re.compile(r"<!-- runnable(?:: (?P<how>[^ ]+))? -->\n```python\n(?P<code>.*?)```\n", re.DOTALL)
_LINK = re.compile(r"(?<!`)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"^```.*?^```\n|`[^`\n]*`", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A python block of a page that says it can be run."""

    page: Path
    line: int
    how: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def _blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start("code")) + 1
            yield Block(page, line, match["how"] or "script", match["code"])


BLOCKS = list(_blocks())


def _blocks_to(how: str) -> list[Block]:
    return [block for block in BLOCKS if block.how == how]


# --- examples run ---------------------------------------------------------------------------------


def _environment(stack: LocalStack) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SUPABASE")}
    return {**clean, "SUPABASE_URL": stack.url, "SUPABASE_ANON_KEY": stack.anon_key, "PYTHONWARNINGS": "error"}


async def _run(stack: LocalStack, *arguments: str, cwd: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=cwd,
        env=_environment(stack),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


@pytest.mark.parametrize("block", _blocks_to("script"), ids=str)
async def test_scripts_of_the_docs_run(block: Block, stack: LocalStack, tmp_path: Path) -> None:
    await _run(stack, "-c", block.code, cwd=tmp_path)


@pytest.mark.parametrize("block", _blocks_to("session"), ids=str)
async def test_snippets_of_the_docs_run_in_a_session(block: Block, stack: LocalStack) -> None:
    async with WhatsSound(stack.url, stack.anon_key) as sound:
        await sound.sign_in_anonymously(username="ana")
        info = await sound.create_session("Docs")
        async with sound.session(info.id) as session:
            names = {name: getattr(whatssound, name) for name in whatssound.__all__}
            names |= {"asyncio": asyncio, "uuid": uuid, "stack": stack, "sound": sound, "session": session}
            code = compile(block.code, str(block), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            async with asyncio.timeout(45):
                waiting = eval(code, names)
                if inspect.isawaitable(waiting):
                    await waiting


@pytest.mark.parametrize("block", _blocks_to("pytest"), ids=str)
async def test_tests_of_the_docs_pass(block: Block, stack: LocalStack, tmp_path: Path) -> None:
    (tmp_path / "test_example.py").write_text(block.code, "utf-8")
    settings = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n"
    (tmp_path / "pytest.ini").write_text(settings, "utf-8")
    output = await _run(stack, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path), cwd=tmp_path)
    assert re.search(r"\d+ passed", output), output


def test_every_kind_of_example_is_there() -> None:
    known = {"script", "session", "pytest"}
    for block in BLOCKS:
        assert block.how in known or (ROOT / block.how).is_file(), f"{block}: {block.how}"
    assert len(_blocks_to("script")) >= 3
    assert len(_blocks_to("session")) >= 8


def test_every_python_block_says_how_it_is_run() -> None:
    """An example that nobody runs rots."""
    for page in PAGES:
        text = page.read_text("utf-8")
        assert text.count("```python\n") == len(_BLOCK.findall(text)), page


async def test_the_quickstart_runs(stack: LocalStack, tmp_path: Path) -> None:
    output = await _run(stack, str(ROOT / "examples" / "quickstart.py"), cwd=tmp_path)
    assert "ana: ¡Temazo! 🎶" in output
    assert "now playing: Cumbia sobre el mar by Quantic" in output
    assert "ana voted; the song is at +1" in output


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readme_shows_the_quickstart_as_it_is(page: Path) -> None:
    (block,) = (block for block in BLOCKS if block.page == page)
    assert block.how == "examples/quickstart.py"
    assert block.code == (ROOT / block.how).read_text("utf-8")


class _Example:
    """An example that runs until its session ends; its lines can be waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[str] = []

    async def says(self, part: str) -> str:
        assert self._process.stdout is not None
        async with asyncio.timeout(45):
            while True:
                line = (await self._process.stdout.readline()).decode()
                assert line, f"ended without {part!r}: {self.lines}"
                self.lines.append(line)
                if part in line:
                    return line

    async def ended(self) -> None:
        async with asyncio.timeout(45):
            output, _ = await self._process.communicate()
        assert self._process.returncode == 0, "".join(self.lines) + output.decode()


async def _example(stack: LocalStack, name: str, session: Session, **more: str) -> _Example:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(ROOT / "examples" / name),
        session.id,
        env={**_environment(stack), **more, "PYTHONUNBUFFERED": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return _Example(process)


async def _message(session: Session, stream: whatssound.EventStream, content: str) -> None:
    async with asyncio.timeout(45):
        async for event in stream:
            if isinstance(event, whatssound.ChatMessage) and event.message.content.startswith(content):
                return


async def test_the_chat_bot_answers_and_ends_with_the_session(stack: LocalStack) -> None:
    async with WhatsSound(stack.url, stack.anon_key) as sound:
        await sound.sign_in_anonymously(username="dj")
        info = await sound.create_session("Bot")
        async with sound.session(info.id) as session:
            bot = await _example(stack, "chat_bot.py", session)
            await bot.says("ready")
            stream = session.events()
            await session.queue.add(title="Colegiala")
            await _message(session, stream, "Thanks for Colegiala!")
            await session.chat.send("!next")
            await _message(session, stream, "Next: Colegiala.")
            await session.queue.advance()
            await session.chat.send("!np")
            await _message(session, stream, "Now playing: Colegiala")
            await sound.end_session(info.id)
            await bot.ended()


async def test_the_tip_jar_counts_confirmed_tips(stack: LocalStack) -> None:
    async with (
        WhatsSound(stack.url, stack.anon_key) as sound,
        WhatsSound(stack.url, stack.service_key) as service,
    ):
        await sound.sign_in_anonymously(username="dj")
        info = await sound.create_session("Jar")
        async with sound.session(info.id) as session:
            jar = await _example(stack, "tip_jar.py", session)
            await jar.says("0 tips: nothing yet")
            receipt = await session.tips.send(550, currency="EUR", note="gracias")
            await service.confirm_tip(receipt.tip.id)
            await jar.says("dj gives 5.50 EUR: gracias")
            await jar.says("1 tips: 5.50 EUR")
            await service.confirm_tip(receipt.tip.id, status="refunded")
            await jar.says("went back")
            await jar.says("0 tips")
            await sound.end_session(info.id)
            await jar.ended()


# --- links ----------------------------------------------------------------------------------------


def _anchor(heading: str) -> str:
    """The anchor a heading gets, as on the usual forges."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    return {_anchor(heading) for heading in re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = _CODE.sub("", page.read_text("utf-8"))
    broken = []
    for match in _LINK.finditer(text):
        target, _, anchor = match["target"].partition("#")
        if "://" in target:
            continue
        there = page if not target else (page.parent / target).resolve()
        if not there.exists() or (anchor and anchor not in _anchors(there)):
            broken.append(match["target"])
    assert broken == []


@pytest.mark.parametrize("readme", READMES, ids=lambda page: page.name)
def test_both_readmes_link_to_the_same_pages(readme: Path) -> None:
    ours = {match["target"] for match in _LINK.finditer(readme.read_text("utf-8"))}
    every = {match["target"] for page in READMES for match in _LINK.finditer(page.read_text("utf-8"))}
    assert {target for target in every - ours if "README" not in target and "://" not in target} == set()


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    wanted = [DOCS / "index.md"]
    while wanted:
        page = wanted.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for match in _LINK.finditer(page.read_text("utf-8")):
            there = (page.parent / match["target"].partition("#")[0]).resolve()
            wanted += sorted(there.glob("*.md")) if there.is_dir() else [there] if there.is_file() else []
    assert {page for page in PAGES if page.is_relative_to(DOCS)} - reached == set()


# --- lists are complete ---------------------------------------------------------------------------


def test_the_errors_page_lists_every_class() -> None:
    text = (REFERENCE / "errors.md").read_text("utf-8")
    classes = [
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.WhatsSoundError)
    ]
    assert [name for name in classes if f"`{name}`" not in text] == []
    named = set(re.findall(r"`(\w+Error)`", text)) - {"ValueError"}
    assert named == set(classes)


def test_the_guide_says_what_to_do_about_every_error_and_reason() -> None:
    page = (DOCS / "howto" / "handle-errors.md").read_text("utf-8")
    table = page.split("## Every error, and what to do", 1)[1]
    told = [name for line in table.splitlines() if line.startswith("| `") for name in _names(line)]
    classes = {
        name
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.WhatsSoundError)
    }
    assert len(told) == len(set(told))
    assert {name for name in told if name.endswith("Error")} == classes
    reference = (REFERENCE / "errors.md").read_text("utf-8")
    reasons = re.search(r"`reason` \(a code below, or (.+?)\)", reference)
    assert reasons is not None
    assert {name for name in told if not name.endswith("Error")} == set(re.findall(r"`(\w+)`", reasons[1]))


def _names(row: str) -> list[str]:
    return re.findall(r"`(\w+)`", row.split("|")[1])


def test_the_errors_page_lists_every_code_with_its_status() -> None:
    migration = next((ROOT / "supabase" / "migrations").glob("*_foundations.sql")).read_text("utf-8")
    body = migration.split("function whatssound.refusals()", 1)[1].split("$$", 2)[1]
    raised = dict(re.findall(r"\('(\w+)', (\d{3}),", body))
    page = (REFERENCE / "errors.md").read_text("utf-8").split("## Refusal codes", 1)[1]
    documented = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page, re.MULTILINE))
    assert documented == raised
    assert set(documented) == set(errors.REFUSALS) | {"not_signed_in"}


def test_the_settings_page_lists_every_setting_with_its_default() -> None:
    text = (REFERENCE / "config.md").read_text("utf-8")
    for kind in (config.SessionConfig, config.OutboxConfig, config.ConnectionConfig, config.RetryConfig):
        made = kind()
        for name in kind.__slots__:
            value = getattr(made, name)
            shown = f"{type(value).__name__}()" if type(value).__module__ == config.__name__ else repr(value)
            assert f"| `{name}` | `{shown}` |" in text, f"{kind.__name__}.{name}; run: make docs"


def test_the_api_page_names_every_public_method() -> None:
    text = (REFERENCE / "api.md").read_text("utf-8")
    for kind in (WhatsSound, Session, whatssound.LiveState):
        for name in vars(kind):
            if not name.startswith("_") and not isinstance(vars(kind)[name], int):
                assert re.search(rf"`(await )?\.{name}[`(]", text), f"{kind.__name__}.{name}; run: make docs"


def test_the_wire_page_names_every_function_of_the_database() -> None:
    text = (REFERENCE / "wire.md").read_text("utf-8")
    called = set()
    for path in (ROOT / "whatssound").glob("*.py"):
        called |= set(re.findall(r'"(\w+)", \{\s*"p_', path.read_text("utf-8")))
    assert called
    assert [name for name in sorted(called) if f"`{name}`" not in text] == []


# --- the wire -------------------------------------------------------------------------------------


def test_the_schemas_of_the_wire_are_current() -> None:
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate_wire.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def _conforms(name: str, value: Any) -> None:
    schemas = json.loads((REFERENCE / "wire.schema.json").read_text("utf-8"))["$defs"]
    jsonschema.validate(json.loads(json.dumps(value)), schemas[name], format_checker=jsonschema.FormatChecker())


def test_what_this_sdk_sends_conforms_to_the_schemas() -> None:
    ids = {name: str(uuid.uuid4()) for name in ("id", "session_id", "user_id")}
    message = Message.model_validate({**ids, "username": "ana", "content": "¡Hola!", "created_at": datetime.now(UTC)})
    _conforms("chat", wire.chat_payload(message))
    _conforms("typing", wire.typing_payload(ids["user_id"], "ana", typing=True))
    _conforms("reaction", wire.reaction_payload(ids["user_id"], {"🔥": 3}))
    here = Presence.model_validate({"user_id": ids["user_id"], "username": "ana", "online_at": datetime.now(UTC)})
    _conforms("presence", wire.presence_payload(here))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chat", {"message": {"id": "x"}}),
        ("typing", {"user_id": str(uuid.UUID(int=1)), "username": "ana"}),
        ("votes", {"session_id": str(uuid.UUID(int=1))}),
        ("frame", {"session_id": str(uuid.UUID(int=1)), "from_seq": None, "to_seq": 1, "events": []}),
    ],
)
def test_the_schemas_refuse_what_is_not_so(name: str, value: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        _conforms(name, value)
