"""Reports an event loop that was blocked: for how long, and by what.

A blocked loop hears no music: no frame is read, no heartbeat answered, and nothing in it can say so, as whatever would
say it waits as well. So a thread asks the loop for a sign of life now and then, and looks at what it does when none
comes.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable

_log = logging.getLogger("whatssound")

#: How often the loop is asked within one threshold.
_LOOKS = 4

#: Seconds that a late answer may take before it counts as none. Where the whole process stood still, the loop answers
#: as soon as it goes on, and nothing in it was to blame.
_GRACE = 0.02

Told = Callable[[float, str], None]


class StallWatch:
    """Watches the event loop while anybody wants to be told; the thread ends with the last who does.

    A stall of ``1.25 * threshold`` is always seen, a shorter one than ``threshold`` never.

    Args:
        threshold: seconds without a sign of life that count as a stall.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._told: list[Told] = []
        self._watcher: _Watcher | None = None

    def add(self, told: Told) -> None:
        """From now on calls a function with the seconds and the stack of each stall; call this in the loop."""
        self._told.append(told)
        if self._watcher is None:
            self._watcher = _Watcher(asyncio.get_running_loop(), self._threshold, self._tell)

    def remove(self, told: Told) -> None:
        """Stops calling a function; unknown ones are passed over."""
        if told in self._told:
            self._told.remove(told)
        if not self._told and self._watcher is not None:
            watcher, self._watcher = self._watcher, None
            watcher.stop()

    def _tell(self, seconds: float, stack: str) -> None:
        _log.warning("the event loop was blocked for %.1f s, by:\n%s", seconds, stack)
        for told in list(self._told):
            told(seconds, stack)


class _Watcher:
    """The thread of one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threshold: float, tell: Told) -> None:
        self._loop = loop
        self._threshold = threshold
        self._tell = tell
        self._loop_thread = threading.get_ident()
        self._stop = threading.Event()
        self._alive = threading.Event()
        self._thread = threading.Thread(target=self._run, name="whatssound-stalls", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread; it waits for nothing but these two events, so this takes no time."""
        self._stop.set()
        self._alive.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._threshold / _LOOKS):
            asked = time.monotonic()
            self._alive.clear()
            if self._stop.is_set() or not self._call(self._alive.set):
                return
            if self._alive.wait(self._threshold):
                continue
            stack = self._stack()
            if self._alive.wait(_GRACE):
                continue
            self._alive.wait()
            if not self._stop.is_set() and not self._call(self._tell, time.monotonic() - asked, stack):
                return

    def _call(self, function: Callable[..., None], *arguments: object) -> bool:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False  # the loop is closed, and nobody is left to be told
        return True

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._loop_thread)
        return "".join(traceback.format_stack(frame)) if frame is not None else ""
