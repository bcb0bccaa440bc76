"""What there is to show at one moment, as plain values: the live view and the plain lines are made of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...models import Tally
from ...state import LiveState
from .meter import Latency

_LINES = 21
_SONGS = 8


@dataclass(frozen=True, slots=True)
class Song:
    """A song with its votes; ``position`` and ``duration`` in seconds, where known."""

    title: str
    artist: str
    up: int = 0
    down: int = 0
    position: float | None = None
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A chat message; ``stored`` once the database vouches for it."""

    who: str
    role: str
    text: str
    stored: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """Numbers of the run so far.

    Attributes:
        elapsed: seconds since the start.
        seconds: how long it goes on.
        sent: chat messages sent.
        stored: of these, stored.
        batches: batches the database answered.
        rate: messages a second.
        latency: from sending to seeing, lately.
        votes: votes accepted.
        reconnects: connections lost.
    """

    elapsed: float = 0.0
    seconds: float = 0.0
    sent: int = 0
    stored: int = 0
    batches: int = 0
    rate: float = 0.0
    latency: Latency = field(default_factory=Latency)
    votes: int = 0
    reconnects: int = 0


@dataclass(frozen=True, slots=True)
class Screen:
    """One moment of the room."""

    title: str
    phase: str
    playing: Song | None
    queue: tuple[Song, ...]
    more_songs: int
    chat: tuple[Line, ...]
    tips: dict[str, int]
    tip_count: int
    here: int
    names: tuple[str, ...]
    typing: tuple[str, ...]
    figures: Figures


def take_screen(state: LiveState, phase: str, figures: Figures) -> Screen:
    """Takes a picture of a room.

    Args:
        state: of somebody in it.
        phase: what is going on, in a few words.
        figures: the numbers beside it.
    """
    playing, tallies = state.now_playing, state.tallies
    none = Tally()

    def song(item_title: str, artist: str | None, tally: Tally) -> Song:
        return Song(item_title, artist or "", tally.up, tally.down)

    now = None
    if playing is not None:
        tally = tallies.get(playing.song_id, none)
        length = playing.duration_ms / 1000 if playing.duration_ms is not None else None
        now = Song(playing.title, playing.artist or "", tally.up, tally.down, state.position(), length)
    waiting = state.queue
    return Screen(
        title=state.session.title,
        phase=phase,
        playing=now,
        queue=tuple(song(item.title, item.artist, tallies.get(item.song_id, none)) for item in waiting[:_SONGS]),
        more_songs=max(0, len(waiting) - _SONGS),
        chat=tuple(
            Line(message.username, message.role, message.content, message.confirmed)
            for message in state.messages[-_LINES:]
        ),
        tips=dict(state.tips.totals),
        tip_count=state.tips.count,
        here=state.occupancy,
        names=tuple(sorted(member.username for member in state.presence.values())),
        typing=tuple(sorted(state.typing.values())),
        figures=figures,
    )
