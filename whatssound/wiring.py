"""Makes the parts of one open session and tells each what it needs of the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .budget import Counted, Meter, RoomView
from .config import SessionConfig
from .connection import Connection
from .core.identifiers import Uuid7Source
from .core.reducer import RoomState
from .errors import MessageRejectedError, WhatsSoundError
from .events import Event, MessageWithdrawn, StatusChanged
from .features import Features
from .feed import Feed
from .gateway import Gateway
from .models import Member, SessionId, StoredRow
from .outbox import MessageReceipt, Outbox
from .ports import Clock, LinkFactory, TokenSource
from .room import Room
from .spool import Spool
from .state import ServerTime


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a session brings to its parts.

    Attributes:
        session_id: the session.
        config: its settings.
        gateway: calls the database.
        tokens: who we are.
        links: makes generations of the channel.
        clock: time.
        chance: draws a uniform random number in [0, 1).
        publish: called with each event, after it has been applied to the state.
        report: called with what went wrong in reading, which never stops the session.
        status_changed: called with each change of the connection's status.
        lost: called when the session may not be read any more.
        spool: keeps chat over restarts; open, if there is one.
        meter: counts what the client sends and receives.
    """

    session_id: SessionId
    config: SessionConfig
    gateway: Gateway
    tokens: TokenSource
    links: LinkFactory
    clock: Clock
    chance: Callable[[], float]
    publish: Callable[[Event], None]
    report: Callable[[Exception], None]
    status_changed: Callable[[StatusChanged], None]
    lost: Callable[[WhatsSoundError], None]
    spool: Spool | None = None
    meter: Meter


def make_features(around: Surroundings, me: Member | None) -> Features:
    """Makes the parts of a session, none of them running yet.

    Args:
        around: what the session brings.
        me: the user's place in the session; None without a user.
    """
    config, user_id = around.config, around.tokens.user_id
    state = RoomState(user_id, config.history)
    state.me = me
    server_time = ServerTime(around.clock.unix_ms)

    async def who_asks() -> str | None:
        await around.tokens.token()  # an app's own client may have signed in or out since
        return around.tokens.user_id

    def settled(receipt: MessageReceipt, outcome: StoredRow | MessageRejectedError) -> None:
        if isinstance(outcome, StoredRow):
            feed.stored(receipt.message, outcome)
        elif receipt.spooled and outcome.reason != "spooled":
            # Said in an earlier run: nothing of it is shown here that could be taken back, but the app must hear of it.
            message = receipt.message
            around.publish(MessageWithdrawn(message_id=message.id, user_id=message.user_id, reason=outcome.reason))
        elif outcome.reason != "spooled":
            feed.rejected(receipt.message, outcome.reason)

    def rejoined() -> None:
        features.presence.joined()

    def synced() -> None:
        connection.live()

    def switched() -> None:
        connection.set_joins(feed.switch.joins())
        outbox.set_eager(feed.switch.mode.chat_path == "stored")

    def look() -> RoomView | None:
        mode, info = feed.switch.mode, feed.switch.info
        if not features.room.is_open:
            return None
        return RoomView(
            people=features.state.occupancy,
            rate=info.rate,
            feed=mode.feed,
            chat_path=mode.chat_path,
            tick_ms=mode.tick_ms,
            events_per_second=info.events_per_second,
            budget=info.budget,
        )

    feed = Feed(
        around.session_id,
        me=user_id,
        gateway=around.gateway,
        room=state,
        server_time=server_time,
        config=config,
        clock=around.clock,
        publish=around.publish,
        report=around.report,
        rejoined=rejoined,
        synced=synced,
        switched=switched,
        lost=around.lost,
        chance=around.chance,
    )
    outbox = Outbox(
        around.session_id,
        around.gateway,
        config.outbox,
        around.clock,
        chance=around.chance,
        settled=settled,
        heard=feed.heard_reply,
        author=who_asks,
        spool=around.spool,
        user_id=user_id,
    )
    spending = around.meter.open(around.session_id, look)
    connection = Connection(
        feed.switch.joins(),
        around.links,
        around.tokens,
        config.connection,
        around.clock,
        listener=Counted(feed, spending),
        changed=around.status_changed,
        chance=around.chance,
        sent=spending.sent,
        pace=spending.pace,
    )
    features = Features(
        Room(
            session_id=around.session_id,
            gateway=around.gateway,
            connection=connection,
            outbox=outbox,
            feed=feed,
            state=state,
            config=config,
            tokens=around.tokens,
            clock=around.clock,
            server_time=server_time,
            ids=Uuid7Source(random.SystemRandom().getrandbits),
        )
    )
    return features
