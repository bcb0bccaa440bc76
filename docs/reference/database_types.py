from __future__ import annotations

import datetime
import uuid
from typing import (
    Annotated,
    Any,
    List,
    Literal,
    Optional,
    TypedDict,
)
from typing_extensions import NotRequired, TypeAlias

from pydantic import BaseModel, Field, JsonValue



class PublicMessages(BaseModel):
    content: str = Field(alias="content")
    created_at: datetime.datetime = Field(alias="created_at")
    deleted_at: Optional[datetime.datetime] = Field(alias="deleted_at")
    id: uuid.UUID = Field(alias="id")
    inserted_at: datetime.datetime = Field(alias="inserted_at")
    role: str = Field(alias="role")
    seq: int = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")
    user_id: uuid.UUID = Field(alias="user_id")
    username: str = Field(alias="username")

class PublicMessagesInsert(TypedDict):
    content: Annotated[str, Field(alias="content")]
    created_at: Annotated[datetime.datetime, Field(alias="created_at")]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    id: Annotated[uuid.UUID, Field(alias="id")]
    inserted_at: NotRequired[Annotated[datetime.datetime, Field(alias="inserted_at")]]
    role: Annotated[str, Field(alias="role")]
    seq: Annotated[int, Field(alias="seq")]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    username: Annotated[str, Field(alias="username")]

class PublicMessagesUpdate(TypedDict):
    content: NotRequired[Annotated[str, Field(alias="content")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    deleted_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="deleted_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    inserted_at: NotRequired[Annotated[datetime.datetime, Field(alias="inserted_at")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    username: NotRequired[Annotated[str, Field(alias="username")]]

class PublicModerationLog(BaseModel):
    action: str = Field(alias="action")
    by_user_id: Optional[uuid.UUID] = Field(alias="by_user_id")
    created_at: datetime.datetime = Field(alias="created_at")
    detail: JsonValue = Field(alias="detail")
    id: int = Field(alias="id")
    session_id: uuid.UUID = Field(alias="session_id")
    user_id: Optional[uuid.UUID] = Field(alias="user_id")

class PublicModerationLogInsert(TypedDict):
    action: Annotated[str, Field(alias="action")]
    by_user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="by_user_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    detail: NotRequired[Annotated[JsonValue, Field(alias="detail")]]
    id: NotRequired[Annotated[int, Field(alias="id")]]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]

class PublicModerationLogUpdate(TypedDict):
    action: NotRequired[Annotated[str, Field(alias="action")]]
    by_user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="by_user_id")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    detail: NotRequired[Annotated[JsonValue, Field(alias="detail")]]
    id: NotRequired[Annotated[int, Field(alias="id")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    user_id: NotRequired[Annotated[Optional[uuid.UUID], Field(alias="user_id")]]

class PublicProfiles(BaseModel):
    avatar_url: Optional[str] = Field(alias="avatar_url")
    created_at: datetime.datetime = Field(alias="created_at")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")
    username: str = Field(alias="username")

class PublicProfilesInsert(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    username: Annotated[str, Field(alias="username")]

class PublicProfilesUpdate(TypedDict):
    avatar_url: NotRequired[Annotated[Optional[str], Field(alias="avatar_url")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    username: NotRequired[Annotated[str, Field(alias="username")]]

class PublicQueueItems(BaseModel):
    action: str = Field(alias="action")
    added_by: uuid.UUID = Field(alias="added_by")
    artist: Optional[str] = Field(alias="artist")
    created_at: datetime.datetime = Field(alias="created_at")
    duration_ms: Optional[int] = Field(alias="duration_ms")
    id: uuid.UUID = Field(alias="id")
    rank: float = Field(alias="rank")
    seq: int = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")
    song_id: uuid.UUID = Field(alias="song_id")
    source_url: Optional[str] = Field(alias="source_url")
    started_at: Optional[datetime.datetime] = Field(alias="started_at")
    status: str = Field(alias="status")
    title: str = Field(alias="title")
    version: int = Field(alias="version")

class PublicQueueItemsInsert(TypedDict):
    action: NotRequired[Annotated[str, Field(alias="action")]]
    added_by: Annotated[uuid.UUID, Field(alias="added_by")]
    artist: NotRequired[Annotated[Optional[str], Field(alias="artist")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duration_ms: NotRequired[Annotated[Optional[int], Field(alias="duration_ms")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    rank: Annotated[float, Field(alias="rank")]
    seq: Annotated[int, Field(alias="seq")]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    song_id: Annotated[uuid.UUID, Field(alias="song_id")]
    source_url: NotRequired[Annotated[Optional[str], Field(alias="source_url")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    title: Annotated[str, Field(alias="title")]
    version: NotRequired[Annotated[int, Field(alias="version")]]

class PublicQueueItemsUpdate(TypedDict):
    action: NotRequired[Annotated[str, Field(alias="action")]]
    added_by: NotRequired[Annotated[uuid.UUID, Field(alias="added_by")]]
    artist: NotRequired[Annotated[Optional[str], Field(alias="artist")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duration_ms: NotRequired[Annotated[Optional[int], Field(alias="duration_ms")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    rank: NotRequired[Annotated[float, Field(alias="rank")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    song_id: NotRequired[Annotated[uuid.UUID, Field(alias="song_id")]]
    source_url: NotRequired[Annotated[Optional[str], Field(alias="source_url")]]
    started_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    title: NotRequired[Annotated[str, Field(alias="title")]]
    version: NotRequired[Annotated[int, Field(alias="version")]]

class PublicSessionClock(BaseModel):
    bare_frames: int = Field(alias="bare_frames")
    bare_rate: float = Field(alias="bare_rate")
    budget: Optional[float] = Field(alias="budget")
    chat_rate: float = Field(alias="chat_rate")
    counted: int = Field(alias="counted")
    fixed_tick: bool = Field(alias="fixed_tick")
    framed_at: datetime.datetime = Field(alias="framed_at")
    framed_seq: int = Field(alias="framed_seq")
    frames: bool = Field(alias="frames")
    last_seq: int = Field(alias="last_seq")
    maturing: int = Field(alias="maturing")
    maturing_since: datetime.datetime = Field(alias="maturing_since")
    occupancy: int = Field(alias="occupancy")
    rate: float = Field(alias="rate")
    rate_at: datetime.datetime = Field(alias="rate_at")
    rate_seq: int = Field(alias="rate_seq")
    sampling: int = Field(alias="sampling")
    session_id: uuid.UUID = Field(alias="session_id")
    tick_ms: int = Field(alias="tick_ms")

class PublicSessionClockInsert(TypedDict):
    bare_frames: NotRequired[Annotated[int, Field(alias="bare_frames")]]
    bare_rate: NotRequired[Annotated[float, Field(alias="bare_rate")]]
    budget: NotRequired[Annotated[Optional[float], Field(alias="budget")]]
    chat_rate: NotRequired[Annotated[float, Field(alias="chat_rate")]]
    counted: NotRequired[Annotated[int, Field(alias="counted")]]
    fixed_tick: NotRequired[Annotated[bool, Field(alias="fixed_tick")]]
    framed_at: NotRequired[Annotated[datetime.datetime, Field(alias="framed_at")]]
    framed_seq: NotRequired[Annotated[int, Field(alias="framed_seq")]]
    frames: NotRequired[Annotated[bool, Field(alias="frames")]]
    last_seq: NotRequired[Annotated[int, Field(alias="last_seq")]]
    maturing: NotRequired[Annotated[int, Field(alias="maturing")]]
    maturing_since: NotRequired[Annotated[datetime.datetime, Field(alias="maturing_since")]]
    occupancy: NotRequired[Annotated[int, Field(alias="occupancy")]]
    rate: NotRequired[Annotated[float, Field(alias="rate")]]
    rate_at: NotRequired[Annotated[datetime.datetime, Field(alias="rate_at")]]
    rate_seq: NotRequired[Annotated[int, Field(alias="rate_seq")]]
    sampling: NotRequired[Annotated[int, Field(alias="sampling")]]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    tick_ms: NotRequired[Annotated[int, Field(alias="tick_ms")]]

class PublicSessionClockUpdate(TypedDict):
    bare_frames: NotRequired[Annotated[int, Field(alias="bare_frames")]]
    bare_rate: NotRequired[Annotated[float, Field(alias="bare_rate")]]
    budget: NotRequired[Annotated[Optional[float], Field(alias="budget")]]
    chat_rate: NotRequired[Annotated[float, Field(alias="chat_rate")]]
    counted: NotRequired[Annotated[int, Field(alias="counted")]]
    fixed_tick: NotRequired[Annotated[bool, Field(alias="fixed_tick")]]
    framed_at: NotRequired[Annotated[datetime.datetime, Field(alias="framed_at")]]
    framed_seq: NotRequired[Annotated[int, Field(alias="framed_seq")]]
    frames: NotRequired[Annotated[bool, Field(alias="frames")]]
    last_seq: NotRequired[Annotated[int, Field(alias="last_seq")]]
    maturing: NotRequired[Annotated[int, Field(alias="maturing")]]
    maturing_since: NotRequired[Annotated[datetime.datetime, Field(alias="maturing_since")]]
    occupancy: NotRequired[Annotated[int, Field(alias="occupancy")]]
    rate: NotRequired[Annotated[float, Field(alias="rate")]]
    rate_at: NotRequired[Annotated[datetime.datetime, Field(alias="rate_at")]]
    rate_seq: NotRequired[Annotated[int, Field(alias="rate_seq")]]
    sampling: NotRequired[Annotated[int, Field(alias="sampling")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    tick_ms: NotRequired[Annotated[int, Field(alias="tick_ms")]]

class PublicSessionEvents(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    kind: str = Field(alias="kind")
    payload: JsonValue = Field(alias="payload")
    seq: int = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")

class PublicSessionEventsInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    kind: Annotated[str, Field(alias="kind")]
    payload: Annotated[JsonValue, Field(alias="payload")]
    seq: Annotated[int, Field(alias="seq")]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]

class PublicSessionEventsUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    kind: NotRequired[Annotated[str, Field(alias="kind")]]
    payload: NotRequired[Annotated[JsonValue, Field(alias="payload")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]

class PublicSessionMembers(BaseModel):
    banned: bool = Field(alias="banned")
    joined_at: datetime.datetime = Field(alias="joined_at")
    last_spoke_at: Optional[datetime.datetime] = Field(alias="last_spoke_at")
    muted_until: Optional[datetime.datetime] = Field(alias="muted_until")
    role: str = Field(alias="role")
    session_id: uuid.UUID = Field(alias="session_id")
    user_id: uuid.UUID = Field(alias="user_id")

class PublicSessionMembersInsert(TypedDict):
    banned: NotRequired[Annotated[bool, Field(alias="banned")]]
    joined_at: NotRequired[Annotated[datetime.datetime, Field(alias="joined_at")]]
    last_spoke_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_spoke_at")]]
    muted_until: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="muted_until")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]

class PublicSessionMembersUpdate(TypedDict):
    banned: NotRequired[Annotated[bool, Field(alias="banned")]]
    joined_at: NotRequired[Annotated[datetime.datetime, Field(alias="joined_at")]]
    last_spoke_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="last_spoke_at")]]
    muted_until: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="muted_until")]]
    role: NotRequired[Annotated[str, Field(alias="role")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]

class PublicSessions(BaseModel):
    dj_id: uuid.UUID = Field(alias="dj_id")
    ended_at: Optional[datetime.datetime] = Field(alias="ended_at")
    id: uuid.UUID = Field(alias="id")
    settings: JsonValue = Field(alias="settings")
    started_at: datetime.datetime = Field(alias="started_at")
    status: str = Field(alias="status")
    title: str = Field(alias="title")
    visibility: str = Field(alias="visibility")

class PublicSessionsInsert(TypedDict):
    dj_id: Annotated[uuid.UUID, Field(alias="dj_id")]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    id: Annotated[uuid.UUID, Field(alias="id")]
    settings: Annotated[JsonValue, Field(alias="settings")]
    started_at: NotRequired[Annotated[datetime.datetime, Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    title: Annotated[str, Field(alias="title")]
    visibility: NotRequired[Annotated[str, Field(alias="visibility")]]

class PublicSessionsUpdate(TypedDict):
    dj_id: NotRequired[Annotated[uuid.UUID, Field(alias="dj_id")]]
    ended_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="ended_at")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    settings: NotRequired[Annotated[JsonValue, Field(alias="settings")]]
    started_at: NotRequired[Annotated[datetime.datetime, Field(alias="started_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    title: NotRequired[Annotated[str, Field(alias="title")]]
    visibility: NotRequired[Annotated[str, Field(alias="visibility")]]

class PublicSongTallies(BaseModel):
    down: int = Field(alias="down")
    score: int = Field(alias="score")
    seq: int = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")
    song_id: uuid.UUID = Field(alias="song_id")
    up: int = Field(alias="up")

class PublicSongTalliesInsert(TypedDict):
    down: NotRequired[Annotated[int, Field(alias="down")]]
    score: NotRequired[Annotated[int, Field(alias="score")]]
    seq: Annotated[int, Field(alias="seq")]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    song_id: Annotated[uuid.UUID, Field(alias="song_id")]
    up: NotRequired[Annotated[int, Field(alias="up")]]

class PublicSongTalliesUpdate(TypedDict):
    down: NotRequired[Annotated[int, Field(alias="down")]]
    score: NotRequired[Annotated[int, Field(alias="score")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    song_id: NotRequired[Annotated[uuid.UUID, Field(alias="song_id")]]
    up: NotRequired[Annotated[int, Field(alias="up")]]

class PublicSongs(BaseModel):
    added_by: uuid.UUID = Field(alias="added_by")
    artist: Optional[str] = Field(alias="artist")
    created_at: datetime.datetime = Field(alias="created_at")
    duration_ms: Optional[int] = Field(alias="duration_ms")
    fingerprint: str = Field(alias="fingerprint")
    id: uuid.UUID = Field(alias="id")
    source_url: Optional[str] = Field(alias="source_url")
    title: str = Field(alias="title")

class PublicSongsInsert(TypedDict):
    added_by: Annotated[uuid.UUID, Field(alias="added_by")]
    artist: NotRequired[Annotated[Optional[str], Field(alias="artist")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duration_ms: NotRequired[Annotated[Optional[int], Field(alias="duration_ms")]]
    fingerprint: NotRequired[Annotated[str, Field(alias="fingerprint")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    source_url: NotRequired[Annotated[Optional[str], Field(alias="source_url")]]
    title: Annotated[str, Field(alias="title")]

class PublicSongsUpdate(TypedDict):
    added_by: NotRequired[Annotated[uuid.UUID, Field(alias="added_by")]]
    artist: NotRequired[Annotated[Optional[str], Field(alias="artist")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    duration_ms: NotRequired[Annotated[Optional[int], Field(alias="duration_ms")]]
    fingerprint: NotRequired[Annotated[str, Field(alias="fingerprint")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    source_url: NotRequired[Annotated[Optional[str], Field(alias="source_url")]]
    title: NotRequired[Annotated[str, Field(alias="title")]]

class PublicTips(BaseModel):
    amount: int = Field(alias="amount")
    created_at: datetime.datetime = Field(alias="created_at")
    currency: str = Field(alias="currency")
    dj_id: uuid.UUID = Field(alias="dj_id")
    id: uuid.UUID = Field(alias="id")
    key: uuid.UUID = Field(alias="key")
    note: Optional[str] = Field(alias="note")
    provider_ref: Optional[str] = Field(alias="provider_ref")
    seq: Optional[int] = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")
    settled_at: Optional[datetime.datetime] = Field(alias="settled_at")
    status: str = Field(alias="status")
    tipper_id: uuid.UUID = Field(alias="tipper_id")
    username: str = Field(alias="username")

class PublicTipsInsert(TypedDict):
    amount: Annotated[int, Field(alias="amount")]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    currency: Annotated[str, Field(alias="currency")]
    dj_id: Annotated[uuid.UUID, Field(alias="dj_id")]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    key: Annotated[uuid.UUID, Field(alias="key")]
    note: NotRequired[Annotated[Optional[str], Field(alias="note")]]
    provider_ref: NotRequired[Annotated[Optional[str], Field(alias="provider_ref")]]
    seq: NotRequired[Annotated[Optional[int], Field(alias="seq")]]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    settled_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="settled_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tipper_id: Annotated[uuid.UUID, Field(alias="tipper_id")]
    username: Annotated[str, Field(alias="username")]

class PublicTipsUpdate(TypedDict):
    amount: NotRequired[Annotated[int, Field(alias="amount")]]
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    currency: NotRequired[Annotated[str, Field(alias="currency")]]
    dj_id: NotRequired[Annotated[uuid.UUID, Field(alias="dj_id")]]
    id: NotRequired[Annotated[uuid.UUID, Field(alias="id")]]
    key: NotRequired[Annotated[uuid.UUID, Field(alias="key")]]
    note: NotRequired[Annotated[Optional[str], Field(alias="note")]]
    provider_ref: NotRequired[Annotated[Optional[str], Field(alias="provider_ref")]]
    seq: NotRequired[Annotated[Optional[int], Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    settled_at: NotRequired[Annotated[Optional[datetime.datetime], Field(alias="settled_at")]]
    status: NotRequired[Annotated[str, Field(alias="status")]]
    tipper_id: NotRequired[Annotated[uuid.UUID, Field(alias="tipper_id")]]
    username: NotRequired[Annotated[str, Field(alias="username")]]

class PublicVotes(BaseModel):
    created_at: datetime.datetime = Field(alias="created_at")
    seq: int = Field(alias="seq")
    session_id: uuid.UUID = Field(alias="session_id")
    song_id: uuid.UUID = Field(alias="song_id")
    tally_down: int = Field(alias="tally_down")
    tally_up: int = Field(alias="tally_up")
    updated_at: datetime.datetime = Field(alias="updated_at")
    user_id: uuid.UUID = Field(alias="user_id")
    username: str = Field(alias="username")
    value: int = Field(alias="value")

class PublicVotesInsert(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    seq: Annotated[int, Field(alias="seq")]
    session_id: Annotated[uuid.UUID, Field(alias="session_id")]
    song_id: Annotated[uuid.UUID, Field(alias="song_id")]
    tally_down: Annotated[int, Field(alias="tally_down")]
    tally_up: Annotated[int, Field(alias="tally_up")]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: Annotated[uuid.UUID, Field(alias="user_id")]
    username: Annotated[str, Field(alias="username")]
    value: Annotated[int, Field(alias="value")]

class PublicVotesUpdate(TypedDict):
    created_at: NotRequired[Annotated[datetime.datetime, Field(alias="created_at")]]
    seq: NotRequired[Annotated[int, Field(alias="seq")]]
    session_id: NotRequired[Annotated[uuid.UUID, Field(alias="session_id")]]
    song_id: NotRequired[Annotated[uuid.UUID, Field(alias="song_id")]]
    tally_down: NotRequired[Annotated[int, Field(alias="tally_down")]]
    tally_up: NotRequired[Annotated[int, Field(alias="tally_up")]]
    updated_at: NotRequired[Annotated[datetime.datetime, Field(alias="updated_at")]]
    user_id: NotRequired[Annotated[uuid.UUID, Field(alias="user_id")]]
    username: NotRequired[Annotated[str, Field(alias="username")]]
    value: NotRequired[Annotated[int, Field(alias="value")]]
