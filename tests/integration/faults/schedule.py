"""What breaks when: seeded schedules as pure data, so that a run is told by one number and can be had again."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

#: Seconds of traffic. The plain drop comes first and alone, so that its recovery is measured undisturbed.
TRAFFIC = 4.5
_PLAIN_AT = 0.3
_REST_FROM = 1.9
#: Seconds of the long outage. The official client's five attempts to come back are over after fifteen.
OUTAGE = 20.0
_FAULTS = 4
_MORE = 1


class Kind(StrEnum):
    """The ways to break."""

    RST = "rst"
    FIN = "fin"
    BLACK_HOLE = "black hole"
    DELAY = "delay"
    REFUSE = "refuse"
    LOST_RESPONSE = "lost response"
    SERVER_ERROR = "5xx"
    RATE_LIMIT = "429"
    KICK = "kick"
    AUTH_OUTAGE = "auth outage"
    REALTIME_RESTART = "realtime restart"
    POSTGRES_KILL = "postgres kill -9"
    STACK_RESTART = "stack restart"
    TOKEN_REFUSED = "token refused"
    FRAMES_LOST = "frames lost"
    PROCESS_KILL = "process kill -9"


#: The calls that faults of HTTP hit.
PATHS = tuple(
    f"/rest/v1/rpc/{name}"
    for name in ("insert_messages", "send_tip", "cast_vote", "enqueue_song", "events_since", "session_snapshot", "", "")
)

#: How the events of a session reach a client: by the database's frames, or by Postgres Changes.
FEEDS = ("frames", "changes")

#: What Realtime says before it ends a channel.
WORDS = (
    "Too many messages per second",
    "Token has expired 1 seconds ago",
    "Server requested disconnect",
    "Unable to subscribe to changes with given parameters",
)


@dataclass(frozen=True, slots=True)
class Step:
    """One fault.

    Attributes:
        at: seconds after traffic begins.
        kind: what breaks.
        seconds: how long, for what lasts.
        target: place of the client whose link breaks; None for all of them.
        path: prefix of the requests it hits.
        status: the HTTP status answered.
        times: how many requests it hits.
        words: what the server says.
        plain: whether nothing else is broken meanwhile, so that it tells how fast a plain drop is made good.
    """

    at: float
    kind: Kind
    seconds: float = 0.0
    target: int | None = None
    path: str = "/"
    status: int = 503
    times: int = 1
    words: str = ""
    plain: bool = False

    @property
    def ends(self) -> float:
        """When it is over, in seconds after traffic begins."""
        return self.at + self.seconds


@dataclass(frozen=True, slots=True)
class Schedule:
    """All faults of one run.

    Attributes:
        seed: what it was made from.
        steps: the faults, in order of time.
        feeds: how the session's events reach each client, by their places.
        traffic: seconds of traffic.
    """

    seed: int
    steps: tuple[Step, ...]
    feeds: tuple[str, ...]
    traffic: float = TRAFFIC

    def has(self, kind: Kind) -> bool:
        """Whether a kind of fault is among the steps."""
        return any(step.kind is kind for step in self.steps)


def make_schedule(seed: int, clients: int, feed: str = "mixed") -> Schedule:
    """Makes the schedule of a seed.

    Every four seeds (0 to 3, 4 to 7 …) share out all kinds anew, and some come up once more by chance, so that few
    seeds see every kind and many see them together in every way.

    Args:
        seed: which.
        clients: how many links there are to break.
        feed: how events reach the clients; ``mixed``: as the seed decides, client by client.
    """
    chance = random.Random(seed)
    plain = Step(_PLAIN_AT, chance.choice((Kind.RST, Kind.FIN)), target=chance.randrange(clients), plain=True)
    block, turn = divmod(seed, -(-len(Kind) // _FAULTS))
    dealt = random.Random(-1 - block).sample(tuple(Kind), len(Kind))
    kinds = dealt[turn * _FAULTS : (turn + 1) * _FAULTS] + chance.choices(tuple(Kind), k=chance.randint(0, _MORE))
    # Every seed loses answers: nothing else makes a client that tries again store something twice.
    kinds.append(Kind.LOST_RESPONSE)
    steps = [_draw(chance, kind, clients) for kind in kinds]
    return Schedule(seed, (plain, *sorted(steps, key=lambda step: step.at)), _feeds(seed, clients, feed))


def make_outage(seed: int, clients: int, feed: str = "mixed") -> Schedule:
    """Makes a schedule with one fault: for a while nobody reaches the project; a little later the traffic ends.

    Args:
        seed: decides the feeds.
        clients: how many there are.
        feed: how events reach the clients; ``mixed``: as the seed decides, client by client.
    """
    outage = Step(1.0, Kind.REFUSE, OUTAGE)
    return Schedule(seed, (outage,), _feeds(seed, clients, feed), traffic=outage.ends + 3.0)


def _feeds(seed: int, clients: int, feed: str) -> tuple[str, ...]:
    if feed != "mixed":
        return (feed,) * clients
    # Both in every room, so that what one feed says of an event is held against the other; and by a chance of their
    # own, so that the faults of a seed are the same for every feed.
    feeds = [FEEDS[place % len(FEEDS)] for place in range(clients)]
    random.Random(f"feeds {seed}").shuffle(feeds)
    return tuple(feeds)


def _draw(chance: random.Random, kind: Kind, clients: int) -> Step:
    at = round(chance.uniform(_REST_FROM, TRAFFIC - 0.6), 2)
    target = chance.choice((None, chance.randrange(clients)))
    seconds = round(chance.uniform(0.3, TRAFFIC - at), 2)
    match kind:
        case Kind.RST | Kind.FIN:
            return Step(at, kind, target=target)
        case Kind.DELAY | Kind.REFUSE:
            return Step(at, kind, seconds, target)
        case Kind.BLACK_HOLE:
            # Long enough for heartbeats to find out, now and then.
            return Step(_REST_FROM, kind, round(chance.uniform(0.5, TRAFFIC - _REST_FROM), 2), target)
        case Kind.LOST_RESPONSE:
            return Step(at, kind, path=chance.choice(PATHS), times=chance.randint(2, 12))
        case Kind.SERVER_ERROR:
            status = chance.choice((500, 502, 503, 504))
            return Step(at, kind, path=chance.choice((*PATHS, "/")), status=status, times=chance.randint(1, 12))
        case Kind.RATE_LIMIT:
            return Step(at, kind, path=chance.choice(PATHS), status=429, times=chance.randint(1, 8))
        case Kind.KICK:
            return Step(at, kind, words=chance.choice(WORDS))
        case Kind.AUTH_OUTAGE:
            return Step(_REST_FROM, kind, TRAFFIC - _REST_FROM, path="/auth/v1/token", status=503)
        case Kind.REALTIME_RESTART | Kind.POSTGRES_KILL | Kind.PROCESS_KILL:
            return Step(at, kind, round(chance.uniform(0.0, 0.8), 2))
        case Kind.STACK_RESTART:
            return Step(at, kind, round(chance.uniform(1.0, 3.0), 2))
        case Kind.TOKEN_REFUSED:
            return Step(at, kind, path=chance.choice(PATHS), status=401, times=chance.randint(1, 8))
        case Kind.FRAMES_LOST:
            return Step(at, kind, seconds)
