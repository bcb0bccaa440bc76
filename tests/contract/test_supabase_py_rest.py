"""supabase-py, unchanged, against the local REST and Auth through one URL: its async and its sync client."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import pytest
import pytest_asyncio
from aiohttp import web
from postgrest.exceptions import APIError
from postgrest.types import CountMethod, ReturnMethod
from supabase.lib.client_options import SyncClientOptions
from supabase_auth.errors import AuthApiError, AuthWeakPasswordError

from supabase import AsyncClient, AsyncClientOptions, Client, create_async_client, create_client
from whatssound.local.auth import AuthService
from whatssound.local.ports import Service
from whatssound.local.postgres import PostgresServer
from whatssound.local.rest import RestService
from whatssound.local.tokens import Keyring

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEYRING = Keyring()
SCHEMA = """
create table public.songs (
  id int primary key, title text not null, plays int not null default 0, tags text[] not null default '{}',
  facts jsonb not null default '{}', during int4range, owner uuid default auth.uid()
);
alter table public.songs enable row level security;
create policy everybody_reads on public.songs for select using (true);
create policy owners_write on public.songs for all to authenticated
  using (owner = auth.uid()) with check (owner = auth.uid());
grant select on public.songs to anon;
grant select, insert, update, delete on public.songs to authenticated, service_role;
create function public.plus(a int, b int default 1) returns int language sql immutable as 'select a + b';
create function public.most(variadic numbers int[]) returns int language sql immutable
  as 'select max(n) from unnest(numbers) n';
create function public.titles() returns setof text language sql stable as 'select title from songs order by id';
create function public.songs_after(p_id int) returns setof public.songs language sql stable
  as 'select * from songs where id > p_id';
insert into public.songs (id, title, plays, tags, facts, during, owner) values
  (1, 'Cumbia sobre el mar', 3, '{cumbia,slow}', '{"bpm": 90, "mood": {"calm": true}}', '[1,5)', null),
  (2, 'Temazo', 10, '{techno}', '{"bpm": 140}', '[5,9)', null),
  (3, 'La noche', 0, '{}', '{}', null, null);
"""


@pytest.fixture(scope="module")
def own_dir() -> Iterator[Path]:
    """Not below pytest's directory: another pytest that starts meanwhile closes that to the user Postgres runs as."""
    with tempfile.TemporaryDirectory(prefix="whatssound-") as directory:
        yield Path(directory)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(own_dir: Path) -> AsyncIterator[str]:
    async with PostgresServer(own_dir / "py", durable=False) as server:
        owner = await asyncpg.connect(server.dsn())
        await owner.execute(SCHEMA)
        await owner.close()
        services: list[Service] = [RestService(server.dsn, KEYRING), AuthService(server.dsn, KEYRING)]
        app = web.Application()
        for service in services:
            service.mount(app)
            await service.start()
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()
        for service in services:
            await service.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def client(url: str) -> AsyncIterator[AsyncClient]:
    # The client makes and forgets one HTTP client at each change of user; one of our own can be closed.
    async with httpx.AsyncClient() as http:
        yield await create_async_client(url, KEYRING.anon_key, AsyncClientOptions(httpx_client=http))


def email() -> str:
    return f"{uuid.uuid4().hex}@example.com"


async def ids(query: Any) -> list[int]:
    return [row["id"] for row in await rows(query.order("id"))]


async def rows(query: Any) -> list[dict[str, Any]]:
    found = (await query.execute()).data
    assert isinstance(found, list)
    return found


async def test_every_filter(client: AsyncClient) -> None:
    songs = client.table("songs")
    assert await ids(songs.select("id").eq("id", 2)) == [2]
    assert await ids(songs.select("id").neq("id", 2)) == [1, 3]
    assert await ids(songs.select("id").gt("plays", 3)) == [2]
    assert await ids(songs.select("id").gte("plays", 3)) == [1, 2]
    assert await ids(songs.select("id").lt("plays", 3)) == [3]
    assert await ids(songs.select("id").lte("plays", 3)) == [1, 3]
    assert await ids(songs.select("id").is_("during", None)) == [3]
    assert await ids(songs.select("id").not_.is_("during", None)) == [1, 2]
    assert await ids(songs.select("id").like("title", "%maz%")) == [2]
    assert await ids(songs.select("id").ilike("title", "LA*")) == [3]
    assert await ids(songs.select("id").like_any_of("title", "%maz%,%noche%")) == [2, 3]
    assert await ids(songs.select("id").like_all_of("title", "%e%,%maz%")) == [2]
    assert await ids(songs.select("id").ilike_any_of("title", "TEM%,LA%")) == [2, 3]
    assert await ids(songs.select("id").ilike_all_of("title", "TEM%,%ZO")) == [2]
    assert await ids(songs.select("id").in_("id", [1, 3, 9])) == [1, 3]
    assert await ids(songs.select("id").in_("id", [])) == []
    assert await ids(songs.select("id").in_("title", ["La noche", 'a,"b"'])) == [3]
    assert await ids(songs.select("id").contains("tags", ["cumbia"])) == [1]
    assert await ids(songs.select("id").contains("facts", {"bpm": 140})) == [2]
    assert await ids(songs.select("id").contained_by("tags", ["techno", "house"])) == [2, 3]
    assert await ids(songs.select("id").ov("tags", ["slow", "techno"])) == [1, 2]
    assert await ids(songs.select("id").contains("during", "[2,3)")) == [1]
    assert await ids(songs.select("id").range_gt("during", (1, 5))) == [2]
    assert await ids(songs.select("id").range_gte("during", (3, 9))) == [2]
    assert await ids(songs.select("id").range_lt("during", (5, 9))) == [1]
    assert await ids(songs.select("id").range_lte("during", (1, 6))) == [1]
    assert await ids(songs.select("id").range_adjacent("during", (4, 9))) == [1]
    assert await ids(songs.select("id").or_("id.eq.1,and(plays.gt.5,title.like.Tem*)")) == [1, 2]
    assert await ids(songs.select("id").not_.or_("id.eq.1,id.eq.2")) == [3]
    assert await ids(songs.select("id").fts("title", "noche")) == [3]
    assert await ids(songs.select("id").plfts("title", "la noche")) == [3]
    assert await ids(songs.select("id").phfts("title", "la noche")) == [3]
    assert await ids(songs.select("id").wfts("title", "noche or temazo")) == [2, 3]
    assert await ids(songs.select("id").match({"id": 1, "plays": 3})) == [1]
    assert await ids(songs.select("id").filter("facts->>bpm", "eq", "140")) == [2]
    assert await ids(songs.select("id").filter("facts->mood->calm", "eq", "true")) == [1]


async def test_shape_order_and_count(client: AsyncClient) -> None:
    songs = client.table("songs")
    page = (
        await songs.select("name:title,bpm:facts->bpm,plays::text", count=CountMethod.exact)
        .order("plays", desc=True)
        .execute()
    )
    assert page.count == 3
    assert page.data[0] == {"name": "Temazo", "bpm": 140, "plays": "10"}
    assert await ids(songs.select("id").range(1, 1)) == [2]
    assert (await songs.select("*", count=CountMethod.exact, head=True).execute()).count == 3
    assert (await songs.select("*", count=CountMethod.planned).execute()).count is not None
    ordered = await rows(songs.select("id").order("during", desc=True, nullsfirst=True))
    assert [row["id"] for row in ordered] == [3, 2, 1]
    assert (await songs.select("id").eq("id", 1).single().execute()).data == {"id": 1}
    assert await songs.select("id").eq("id", 99).maybe_single().execute() is None
    stripped = await songs.select("id,during").eq("id", 3).strip_nulls().execute()
    assert stripped.data == [{"id": 3}]


async def test_refusals_reach_the_client(client: AsyncClient) -> None:
    with pytest.raises(APIError) as caught:
        await client.table("songs").select("id,owner(name)").execute()
    assert caught.value.code == "PGRST127"
    assert "embedding" in str(caught.value.details)
    with pytest.raises(APIError) as caught:
        await client.table("songs").select("*").csv().execute()
    assert caught.value.code == "PGRST127"
    with pytest.raises(APIError) as caught:
        await client.table("songs").select("id").single().execute()
    assert caught.value.code == "PGRST116"


async def test_functions(client: AsyncClient) -> None:
    assert (await client.rpc("plus", {"a": 4}).execute()).data == 5
    assert (await client.rpc("plus", {"a": 4, "b": 3}, get=True).execute()).data == 7
    assert (await client.rpc("most", {"numbers": [3, 9, 4]}).execute()).data == 9
    assert (await client.rpc("titles").execute()).data == ["Cumbia sobre el mar", "Temazo", "La noche"]
    later = client.rpc("songs_after", {"p_id": 1}).select("id").order("id", desc=True).limit(1)
    assert (await later.execute()).data == [{"id": 3}]
    with pytest.raises(APIError) as caught:
        await client.rpc("pluss", {"a": 1}).execute()
    assert caught.value.code == "PGRST202"


async def test_an_anonymous_user_writes_their_own_rows(client: AsyncClient) -> None:
    signed = await client.auth.sign_in_anonymously({"options": {"data": {"username": "ana"}}})
    assert signed.user is not None
    assert signed.user.is_anonymous
    assert signed.user.user_metadata == {"username": "ana"}
    songs = client.table("songs")
    made = await songs.insert(
        [{"id": 10, "title": "a"}, {"id": 11, "title": "b", "plays": 4}], default_to_null=False, count=CountMethod.exact
    ).execute()
    assert [row["owner"] for row in cast("list[dict[str, Any]]", made.data)] == [signed.user.id] * 2
    assert made.count == 2
    assert (await songs.insert({"id": 12, "title": "c"}, returning=ReturnMethod.minimal).execute()).data == []
    again = await rows(songs.upsert({"id": 12, "title": "changed"}))
    assert again[0]["title"] == "changed"
    ignored = await songs.upsert({"id": 12, "title": "x"}, ignore_duplicates=True).execute()
    assert ignored.data == []
    assert (await rows(songs.update({"plays": 7}).gte("id", 10)))[0]["plays"] == 7
    with pytest.raises(APIError) as caught:
        await songs.update({"plays": 8}).gte("id", 10).max_affected(2).execute()
    assert caught.value.code == "PGRST124"
    assert (await songs.delete().eq("id", 1).execute()).data == []
    assert len((await songs.delete().gte("id", 10).execute()).data) == 3
    assert await ids(songs.select("id")) == [1, 2, 3]


async def test_a_mail_user_signs_up_in_and_out(client: AsyncClient, url: str) -> None:
    address = email()
    signed = await client.auth.sign_up(
        {"email": address, "password": "secret-1", "options": {"data": {"username": "bea"}}}
    )
    assert signed.session is not None
    assert signed.user is not None
    assert signed.user.user_metadata["username"] == "bea"
    assert signed.user.app_metadata == {"provider": "email", "providers": ["email"]}
    with pytest.raises(AuthApiError) as taken:
        await client.auth.sign_up({"email": address, "password": "secret-1"})
    assert taken.value.code == "user_already_exists"
    renewed = await client.auth.refresh_session()
    assert renewed.session is not None
    assert renewed.session.refresh_token != signed.session.refresh_token
    changed = await client.auth.update_user({"password": "secret-2", "data": {"city": "Lima"}})
    assert changed.user.user_metadata["city"] == "Lima"
    claims = await client.auth.get_claims()
    assert claims is not None
    assert claims["claims"]["sub"] == signed.user.id
    await client.auth.sign_out()
    with pytest.raises(AuthApiError) as wrong:
        await client.auth.sign_in_with_password({"email": address, "password": "secret-1"})
    assert wrong.value.code == "invalid_credentials"
    back = await client.auth.sign_in_with_password({"email": address, "password": "secret-2"})
    assert back.user is not None
    assert back.user.id == signed.user.id
    found = await client.auth.get_user()
    assert found is not None
    assert found.user.email == address


async def test_weak_passwords_and_stale_tokens_are_told(client: AsyncClient) -> None:
    with pytest.raises(AuthWeakPasswordError) as weak:
        await client.auth.sign_up({"email": email(), "password": "abc"})
    assert weak.value.reasons == ["length"]
    with pytest.raises(AuthApiError) as unknown:
        await client.auth.refresh_session("unknown-token")
    assert str(unknown.value.code) == "refresh_token_not_found"


async def test_the_service_key_manages_users(url: str) -> None:
    async with httpx.AsyncClient() as http:
        admin = await create_async_client(url, KEYRING.service_key, AsyncClientOptions(httpx_client=http))
        await _manage_users(admin)


async def _manage_users(admin: AsyncClient) -> None:
    address = email()
    made = await admin.auth.admin.create_user(
        {"email": address, "password": "secret-1", "email_confirm": True, "app_metadata": {"plan": "pro"}}
    )
    assert made.user.app_metadata["plan"] == "pro"
    assert address in {user.email for user in await admin.auth.admin.list_users(page=1, per_page=500)}
    changed = await admin.auth.admin.update_user_by_id(made.user.id, {"ban_duration": "1h"})
    assert changed.user.id == made.user.id
    with pytest.raises(AuthApiError) as banned:
        await admin.auth.sign_in_with_password({"email": address, "password": "secret-1"})
    assert banned.value.code == "user_banned"
    await admin.auth.admin.delete_user(made.user.id)
    with pytest.raises(AuthApiError) as gone:
        await admin.auth.admin.get_user_by_id(made.user.id)
    assert gone.value.status == 404


async def test_the_sync_client_does_the_same(url: str) -> None:
    with httpx.Client() as http:
        client = create_client(url, KEYRING.anon_key, SyncClientOptions(httpx_client=http))
        await asyncio.to_thread(_use_sync_client, client)


def _use_sync_client(client: Client) -> None:
    signed = client.auth.sign_in_anonymously()
    assert signed.user is not None
    song = client.table("songs").insert({"id": 20, "title": "sync"}).execute().data[0]
    assert isinstance(song, dict)
    assert song["owner"] == signed.user.id
    assert client.rpc("plus", {"a": 1, "b": 2}).execute().data == 3
    assert client.table("songs").delete().eq("id", 20).execute().data == [song]
    address = email()
    client.auth.update_user({"email": address})
    client.auth.update_user({"password": "secret-3"})
    client.auth.sign_out()
    back = client.auth.sign_in_with_password({"email": address, "password": "secret-3"})
    assert back.user is not None
    assert back.user.id == signed.user.id
    assert not back.user.is_anonymous
