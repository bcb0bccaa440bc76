"""The client: credentials, sign-in, and the sessions made with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from ._auth import AccessToken, GivenToken, SignedIn, SupabaseToken, token_claims
from ._postgrest import PostgrestRpc, make_http_client
from ._realtime import RealtimeLink
from .budget import Budget, Meter
from .config import SessionConfig
from .core.identifiers import as_uuid
from .core.text import storable
from .errors import ConfigurationError, InvalidInputError, NotSignedInError, ProtocolError
from .flushing import FlushReport, flush
from .gateway import Gateway
from .models import LeaderboardEntry, SessionId, SessionInfo, Tip
from .ports import JoinSpec, SystemClock, TokenSource
from .room import parse
from .session import Session
from .spool import Spool, SpooledMessages
from .stalls import StallWatch

if TYPE_CHECKING:
    from supabase import AsyncClient


class WhatsSound:
    """A client of one Supabase project.

    Args:
        url: the project's URL, such as ``https://abc.supabase.co`` or ``http://127.0.0.1:54321``.
        key: its anon (publishable) key; or the service key, for servers that confirm tips or relay.
        access_token: a user's JWT, or a function (sync or async) that returns a fresh one. Without it, sign in.
        config: settings of the sessions made here; each can be given its own.
        plan: the project's plan (`whatssound.quotas.PLANS`), by which broadcasts are paced; by default what the
            database says that it allows (`configure_project`).

    Raises:
        ConfigurationError: the URL or key cannot work, or there is no such plan.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        access_token: AccessToken | None = None,
        config: SessionConfig | None = None,
        plan: str | None = None,
    ) -> None:
        self._url = _checked_url(url)
        self._key = _checked_key(key)
        self._config = config or SessionConfig()
        self._clock = SystemClock()
        self._meter = Meter(self._clock, plan)
        self._http = make_http_client()
        self._signed_in = SignedIn(self._url, self._key, self._http)
        self._tokens: TokenSource = GivenToken(access_token) if access_token is not None else self._signed_in
        self._spools: dict[Path, Spool] = {}
        threshold = self._config.stall_threshold
        self._stalls = StallWatch(threshold) if threshold is not None else None
        self._wire()

    def _wire(self) -> None:
        rpc = PostgrestRpc(self._url, self._key, self._tokens, self._http)
        self._gateway = Gateway(rpc, self._config.retry, self._clock)
        self._gateways = [self._gateway]

    @classmethod
    def from_env(cls, *, config: SessionConfig | None = None) -> Self:
        """Makes a client from the environment.

        Reads ``SUPABASE_URL``, ``SUPABASE_ANON_KEY`` (or ``SUPABASE_KEY``) and, if set, ``SUPABASE_ACCESS_TOKEN``.

        Raises:
            ConfigurationError: a variable is missing.
        """
        url = os.environ.get("SUPABASE_URL")
        key = os.environ.get("SUPABASE_ANON_KEY") or os.environ.get("SUPABASE_KEY")
        if not url or not key:
            missing = "SUPABASE_URL" if not url else "SUPABASE_ANON_KEY"
            raise ConfigurationError(missing, "is not set in the environment")
        return cls(url, key, access_token=os.environ.get("SUPABASE_ACCESS_TOKEN"), config=config)

    @classmethod
    def from_supabase(cls, client: AsyncClient, *, config: SessionConfig | None = None) -> Self:
        """Makes a client that uses an app's own `supabase.AsyncClient`.

        It takes the URL, the key, and whoever is signed in there at any time.
        The app keeps signing in and out; its client is not closed here.
        """
        sound = cls(str(client.supabase_url), client.supabase_key, config=config)
        sound._tokens = SupabaseToken(client)
        sound._wire()
        return sound

    def __repr__(self) -> str:
        return f"<WhatsSound {self._url}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the HTTP connections and the spool. Sessions must be closed before."""
        try:
            for gateway in self._gateways:
                await gateway.aclose()
            await self._http.aclose()
        finally:
            for spool in self._spools.values():
                await spool.aclose()

    # --- who we are

    @property
    def user_id(self) -> str | None:
        """The signed-in user's id; None with a bare key."""
        return self._tokens.user_id

    async def sign_in_anonymously(self, username: str | None = None) -> str:
        """Makes a new anonymous user, signs in as it, and returns its id.

        An anonymous user exists for as long as its sign-in does. With a spool (`OutboxConfig.spool`) the sign-in is
        kept in that file, so that the next run is the same user and may send what this one leaves; `sign_out` ends it.
        Where it no longer works, a new user is made, a warning logged, and what the old one wrote stays to be seen in
        `spooled`.

        Args:
            username: the name others see; 1 to 32 characters.

        Raises:
            ConfigurationError: the project does not allow anonymous sign-ins, or the client brings its own token.
            InvalidKeyError: the API key is wrong.
            UnreachableError: no connection.
            ServerError: for example too many sign-ins (429).
            SpoolError: the spool cannot be opened.
        """
        if username is not None:
            _checked_username(username)
        spool = self._spool_of(self._config)
        if spool is not None:
            await spool.open()
        return await self._own_sign_in().sign_in_anonymously(username, keeper=spool)

    async def sign_in(self, email: str, password: str) -> str:
        """Signs in with e-mail and password and returns the user's id.

        Raises:
            InvalidCredentialsError: they do not match.
            InvalidKeyError: the API key is wrong.
            UnreachableError: no connection.
        """
        return await self._own_sign_in().sign_in(email, password)

    async def sign_up(self, email: str, password: str, *, username: str | None = None) -> str:
        """Makes a user with e-mail and password, signs in, and returns its id.

        Raises:
            NotSignedInError: made, but the address must be confirmed first.
            AuthenticationError: refused, for example because the user exists.
        """
        if username is not None:
            _checked_username(username)
        return await self._own_sign_in().sign_up(email, password, username)

    async def sign_out(self) -> None:
        """Signs out at the server (this sign-in only)."""
        await self._own_sign_in().sign_out()

    def _own_sign_in(self) -> SignedIn:
        if self._tokens is not self._signed_in:
            raise ConfigurationError(
                "access_token", "this client brings its own token; it cannot sign in as somebody else"
            )
        return self._signed_in

    # --- sessions

    def session(self, session_id: str | UUID, *, config: SessionConfig | None = None) -> Session:
        """Makes a `Session`; open it with ``async with``.

        Raises:
            InvalidInputError: no UUID.
        """
        settings = config or self._config
        gateway = self._gateway
        if config is not None:
            gateway = Gateway(PostgrestRpc(self._url, self._key, self._tokens, self._http), config.retry, self._clock)
            self._gateways.append(gateway)

        def link(joins: Sequence[JoinSpec]) -> RealtimeLink:
            return RealtimeLink(self._url, self._key, joins, settings.connection, self._clock)

        return Session(
            SessionId(as_uuid(session_id, "session_id")),
            config=settings,
            gateway=gateway,
            tokens=self._tokens,
            links=link,
            clock=self._clock,
            meter=self._meter,
            spool=self._spool_of(settings),
            stalls=self._stalls,
        )

    # --- messages on disk

    async def spooled(self) -> tuple[SpooledMessages, ...]:
        """Returns what the spool holds of this project, by user and session, the oldest first.

        Raises:
            ConfigurationError: there is no spool.
            SpoolError: it cannot be opened or read.
        """
        return await (await self._open_spool()).waiting()

    async def flush_spool(self, *, seconds: float | None = None) -> FlushReport:
        """Sends what earlier runs left of the signed-in user for any session, without opening the sessions.

        What a session that is open here holds is sent by that. What other users wrote stays.

        Args:
            seconds: after which what is left stays for another time; ``OutboxConfig.drain_timeout`` by default.

        Raises:
            ConfigurationError: there is no spool.
            NotSignedInError: nobody is signed in.
            SpoolError: it cannot be opened or read.
        """
        spool, config = await self._open_spool(), self._config.outbox
        within = config.drain_timeout if seconds is None else seconds
        return await flush(spool, self._gateway, self._tokens, config, self._clock, seconds=within)

    async def discard_spool(self, session_id: str | UUID | None = None, *, user_id: str | None = None) -> int:
        """Removes messages from the spool for good, unless an open session is sending them.

        Args:
            session_id: only those for this session; all by default.
            user_id: whose; the signed-in user by default.

        Returns:
            How many messages that were.

        Raises:
            ConfigurationError: there is no spool.
            NotSignedInError: no ``user_id``, and nobody is signed in.
            SpoolError: it cannot be opened or changed.
        """
        spool = await self._open_spool()
        whose = user_id or self._tokens.user_id
        if whose is None:
            raise NotSignedInError
        session = as_uuid(session_id, "session_id") if session_id is not None else None
        return await spool.discard(whose, session)

    def _spool_of(self, config: SessionConfig) -> Spool | None:
        if config.outbox.spool is None:
            return None
        path = Path(config.outbox.spool).absolute()
        if path not in self._spools:
            limits = config.outbox
            self._spools[path] = Spool(
                path, project=self._url, max_messages=limits.max_messages, max_bytes=limits.max_bytes
            )
        return self._spools[path]

    async def _open_spool(self) -> Spool:
        spool = self._spool_of(self._config)
        if spool is None:
            raise ConfigurationError("spool", "is not set; pass OutboxConfig(spool=path) to keep messages on disk")
        await spool.open()
        return spool

    def budget(self) -> Budget:
        """Returns what this client has sent and received, and what its open sessions spend of the project's plan.

        Broadcasts (chat, typing) that would take more than this client's part of the plan wait for their turn.
        """
        return self._meter.budget()

    async def create_session(
        self, title: str, *, settings: Mapping[str, Any] | None = None, session_id: str | UUID | None = None
    ) -> SessionInfo:
        """Starts a session with the signed-in user as its DJ.

        Args:
            title: what listeners see.
            settings: any of ``visibility`` ("public" or "private"), ``slow_mode_seconds``, ``max_message_length`` …
            session_id: its id, to make the call repeatable; a new one by default.

        Raises:
            NotSignedInError: nobody is signed in.
            RefusedError: a setting the database does not know or take.
        """
        storable(title, "title")
        if self._tokens.user_id is None and "sub" not in token_claims(await self._tokens.token()):
            raise NotSignedInError
        params: dict[str, Any] = {"p_title": title, "p_settings": dict(settings or {})}
        params["p_id"] = as_uuid(session_id, "session_id") if session_id is not None else _new_id()
        answer = await self._gateway.command("create_session", params)
        return parse(SessionInfo, "create_session", answer.get("session"))

    async def end_session(self, session_id: str | UUID) -> SessionInfo:
        """Ends a session (its DJ only). It can still be read.

        Raises:
            NotAllowedError: not the DJ.
            SessionNotFoundError: no such session.
        """
        answer = await self._gateway.command("end_session", {"p_session_id": as_uuid(session_id, "session_id")})
        return parse(SessionInfo, "end_session", answer.get("session"))

    async def confirm_tip(
        self, tip_id: str | UUID, *, status: str = "confirmed", provider_ref: str | None = None
    ) -> Tip:
        """Confirms or refunds a tip, as a payment provider's webhook does. Needs the service key.

        Args:
            tip_id: the tip.
            status: ``confirmed`` or ``refunded``.
            provider_ref: the payment's id at the provider.

        Raises:
            TipError: the tip's state does not permit it.
            NotFoundError: no such tip.
            NotAllowedError: not with the service key.
        """
        if status not in ("confirmed", "refunded"):
            raise InvalidInputError("status", f"must be 'confirmed' or 'refunded', not {status!r}")
        params = {"p_tip_id": as_uuid(tip_id, "tip_id"), "p_status": status, "p_provider_ref": provider_ref}
        answer = await self._gateway.command("confirm_tip", params)
        return parse(Tip, "confirm_tip", answer.get("tip"))

    async def dj_leaderboard(self, currency: str, *, limit: int = 10) -> tuple[LeaderboardEntry, ...]:
        """Returns the DJs with the most confirmed tips in a currency."""
        answer = await self._gateway.read("dj_leaderboard", {"p_currency": currency, "p_limit": limit})
        return _entries("dj_leaderboard", answer)

    async def song_leaderboard(
        self, session_id: str | UUID | None = None, *, limit: int = 10
    ) -> tuple[LeaderboardEntry, ...]:
        """Returns the songs with the best score, of one session or of all public ones."""
        session = as_uuid(session_id, "session_id") if session_id is not None else None
        answer = await self._gateway.read("song_leaderboard", {"p_session_id": session, "p_limit": limit})
        return _entries("song_leaderboard", answer)


def _entries(function: str, answer: Mapping[str, Any]) -> tuple[LeaderboardEntry, ...]:
    entries = answer.get("entries")
    if not isinstance(entries, list):
        raise ProtocolError(f"{function} answered in an unknown shape: no entries")
    return tuple(parse(LeaderboardEntry, function, entry) for entry in entries)


def _new_id() -> str:
    # Made here and not by the database, so that a try whose answer was lost can be repeated.
    return str(uuid4())


def _checked_url(url: str) -> str:
    parts = urlsplit(url.strip()) if isinstance(url, str) else None  # pyright: ignore[reportUnnecessaryIsInstance]
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError("url", f"must look like https://abc.supabase.co, not {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError("url", "must not hold a user, password, query or fragment")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _checked_key(key: str) -> str:
    if not isinstance(key, str) or not key.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError("key", "is empty; copy the anon (publishable) key of the project")
    if not key.isascii() or any(character.isspace() for character in key):
        raise ConfigurationError("key", "holds white space or characters that no key has; copy it again")
    return key


def _checked_username(username: str) -> None:
    storable(username, "username")
    if not 1 <= len(username.strip()) <= 32:
        raise InvalidInputError("username", "must have 1 to 32 characters")
