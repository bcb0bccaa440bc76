"""The local stack in a process of its own: servers and clients each have an event loop, and a core, to themselves.

The child says where it is in one line of JSON on its standard output, and ends when its standard input does: so it
cannot outlive the demo, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .collector import rare_collections
from .options import Target

#: Seconds for the first start, which makes a database cluster, and for the end.
_STARTING = 120.0
_ENDING = 30.0

#: Realtime messages a second: more than any room here spends.
_EVENTS_PER_SECOND = 1_000_000


class BackstageError(RuntimeError):
    """The local stack did not start; what it said is on standard error."""


@asynccontextmanager
async def open_backstage() -> AsyncIterator[Target]:
    """Runs a local stack, in another process, for the length of the block.

    Raises:
        BackstageError: it did not start.
    """
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the demo, which then lets the stack end in order
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        async with asyncio.timeout(_STARTING):
            line = await child.stdout.readline()
        if not line:
            raise BackstageError(f"the local stack ended with code {await child.wait()} before it was ready")
        yield Target(**json.loads(line))
    except TimeoutError:
        raise BackstageError(f"the local stack was not ready within {_STARTING:g} s") from None
    finally:
        child.stdin.close()
        try:
            async with asyncio.timeout(_ENDING):
                await child.wait()
        except TimeoutError:
            child.kill()
            await child.wait()


async def serve() -> None:
    """Runs the stack until standard input ends."""
    from ...local.stack import LocalStack  # noqa: PLC0415 - an optional extra

    # A limit that the database knows of, too: told nothing, it plans with the smallest plan, and the room would tick.
    async with LocalStack(limits={"max_events_per_second": _EVENTS_PER_SECOND}) as stack:
        place = {
            "url": stack.url,
            "anon_key": stack.anon_key,
            "service_key": stack.service_key,
            "db_url": stack.db_url,
        }
        print(json.dumps(place), flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()


if __name__ == "__main__":
    with rare_collections():
        asyncio.run(serve())
