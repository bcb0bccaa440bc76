-- Songs and the queue of a session.
--
-- Every event touches exactly one queue item, and every change of an item's row is one event: action and seq are columns,
-- so a subscriber to row changes sees the same as a reader of the log.

create table public.songs (
  id uuid primary key default gen_random_uuid(),
  title text not null,
  artist text,
  duration_ms integer,
  source_url text,
  added_by uuid not null references public.profiles (user_id),
  created_at timestamptz not null default now(),
  -- The same song added by two people is one song, so that its votes add up over sessions.
  fingerprint text not null generated always as (lower(btrim(title)) || E'\n' || lower(btrim(coalesce(artist, '')))) stored,
  constraint songs_title check (char_length(title) between 1 and 200 and whatssound.is_clean_name(title)),
  constraint songs_artist check (char_length(artist) between 1 and 200 and whatssound.is_clean_name(artist)),
  constraint songs_duration check (duration_ms between 1 and 86400000),
  constraint songs_source_url check (char_length(source_url) <= 1000 and source_url ~ '^https?://[^\s]+$')
);
comment on table public.songs is 'Songs that have been put in a queue.';
create index idx_songs_fingerprint on public.songs (fingerprint);
alter table public.songs enable row level security;
revoke all on public.songs from public, anon, authenticated, service_role;
grant select (id, title, artist, duration_ms, source_url, created_at) on public.songs to anon, authenticated;
grant select on public.songs to service_role;

create table public.queue_items (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.sessions (id) on delete cascade,
  song_id uuid not null references public.songs (id),
  title text not null,
  artist text,
  duration_ms integer,
  source_url text,
  rank double precision not null,
  status text not null default 'queued',
  version integer not null default 1,
  added_by uuid not null references public.profiles (user_id),
  action text not null default 'added',
  seq bigint not null,
  started_at timestamptz,
  created_at timestamptz not null default now(),
  constraint queue_items_status check (status in ('queued', 'playing', 'played', 'skipped', 'removed')),
  constraint queue_items_action check (action in ('added', 'moved', 'removed', 'started', 'finished', 'skipped')),
  constraint queue_items_version check (version > 0),
  constraint queue_items_started check ((status in ('playing', 'played', 'skipped')) = (started_at is not null))
);
comment on table public.queue_items is 'The queue: what waits, plays and has played. rank orders what waits; version counts changes.';
create unique index queue_items_one_playing on public.queue_items (session_id) where status = 'playing';
create index idx_queue_items_waiting on public.queue_items (session_id, rank, id) where status = 'queued';
create index idx_queue_items_song on public.queue_items (session_id, song_id);
create index idx_queue_items_song_sessions on public.queue_items (song_id);
alter table public.queue_items enable row level security;
revoke all on public.queue_items from public, anon, authenticated, service_role;
grant select on public.queue_items to anon, authenticated, service_role;
create policy queue_items_select_readers on public.queue_items for select to anon, authenticated
  using (whatssound.can_read(session_id));
create policy songs_select_readers on public.songs for select to anon, authenticated
  using (exists (select from public.queue_items q where q.song_id = songs.id));

create function whatssound.item_json(p_item public.queue_items)
returns jsonb
language sql stable
set search_path = ''
as $$
  select case when p_item.id is not null then to_jsonb(p_item) end
$$;
comment on function whatssound.item_json(public.queue_items) is 'A queue item as the API shows it: all its columns.';
revoke all on function whatssound.item_json(public.queue_items) from public, anon, authenticated, service_role;

create function whatssound.queue_order(p_session_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(q.id order by q.rank, q.id), '[]') from public.queue_items q
  where q.session_id = p_session_id and q.status = 'queued'
$$;
comment on function whatssound.queue_order(uuid) is 'The ids of what waits, in order.';
revoke all on function whatssound.queue_order(uuid) from public, anon, authenticated, service_role;

create function whatssound.refuse_queue_conflict(p_session_id uuid, p_version integer default null)
returns void
language plpgsql volatile
set search_path = ''
as $$
begin
  perform whatssound.refuse('queue_conflict', jsonb_build_object(
    'version', p_version, 'order', whatssound.queue_order(p_session_id),
    'now_playing', (select q.id from public.queue_items q where q.session_id = p_session_id and q.status = 'playing')));
end
$$;
comment on function whatssound.refuse_queue_conflict(uuid, integer) is 'Refuses with queue_conflict, the order as it is now and the item''s version.';
revoke all on function whatssound.refuse_queue_conflict(uuid, integer) from public, anon, authenticated, service_role;

create function whatssound.log_item(p_item public.queue_items)
returns void
language sql volatile
set search_path = ''
set timezone = 'UTC'
as $$
  select whatssound.log_event(p_item.session_id, p_item.seq, 'queue',
    jsonb_build_object('action', p_item.action, 'item', whatssound.item_json(p_item)))
$$;
comment on function whatssound.log_item(public.queue_items) is 'Logs the event of an item''s last change.';
revoke all on function whatssound.log_item(public.queue_items) from public, anon, authenticated, service_role;

create function whatssound.change_item(p_item_id uuid, p_action text, p_status text, p_rank double precision default null)
returns public.queue_items
language plpgsql volatile
set search_path = ''
as $$
declare
  v_item public.queue_items;
begin
  update public.queue_items q
  set action = p_action, status = p_status, rank = coalesce(p_rank, q.rank), version = q.version + 1,
      started_at = case when p_action = 'started' then clock_timestamp() else q.started_at end,
      seq = whatssound.next_seq(q.session_id)
  where q.id = p_item_id
  returning q.* into strict v_item;
  perform whatssound.log_item(v_item);
  return v_item;
end
$$;
comment on function whatssound.change_item(uuid, text, text, double precision) is 'Changes one item and logs its event; call with the clock''s row locked.';
revoke all on function whatssound.change_item(uuid, text, text, double precision) from public, anon, authenticated, service_role;

create function whatssound.queue_reply(p_item public.queue_items, p_session_id uuid, p_previous public.queue_items default null)
returns jsonb
language sql volatile
set search_path = ''
as $$
  select jsonb_build_object(
    'item', whatssound.item_json(p_item), 'previous', whatssound.item_json(p_previous),
    'order', whatssound.queue_order(p_session_id),
    'seq', coalesce(p_item.seq, p_previous.seq, (select c.last_seq from public.session_clock c where c.session_id = p_session_id)))
$$;
comment on function whatssound.queue_reply(public.queue_items, uuid, public.queue_items) is 'What queue calls answer.';
revoke all on function whatssound.queue_reply(public.queue_items, uuid, public.queue_items) from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Adding
------------------------------------------------------------------------------------------------------------------------

create function whatssound.require_song_facts(p_title text, p_artist text, p_duration_ms integer, p_source_url text)
returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  perform whatssound.require_argument(
    char_length(btrim(p_title)) between 1 and 200 and whatssound.is_clean_name(p_title), 'p_title', '1 to 200 characters');
  perform whatssound.require_argument(
    p_artist is null or (char_length(btrim(p_artist)) between 1 and 200 and whatssound.is_clean_name(p_artist)),
    'p_artist', '1 to 200 characters');
  perform whatssound.require_argument(
    p_duration_ms is null or p_duration_ms between 1 and 86400000, 'p_duration_ms', 'from 1 ms to 24 hours');
  perform whatssound.require_argument(
    p_source_url is null or (char_length(p_source_url) <= 1000 and p_source_url ~ '^https?://[^\s]+$'),
    'p_source_url', 'an http or https address of at most 1000 characters');
end
$$;
comment on function whatssound.require_song_facts(text, text, integer, text) is 'Refuses facts of a song that are not valid.';
revoke all on function whatssound.require_song_facts(text, text, integer, text) from public, anon, authenticated, service_role;

create function whatssound.ensure_song(
  p_user_id uuid, p_song_id uuid, p_title text, p_artist text, p_duration_ms integer, p_source_url text)
returns public.songs
language plpgsql volatile
set search_path = ''
as $$
declare
  v_song public.songs;
begin
  if p_song_id is null then
    select s.* into v_song from public.songs s
    where s.fingerprint = lower(btrim(p_title)) || E'\n' || lower(btrim(coalesce(p_artist, '')))
      and s.source_url is not distinct from p_source_url
    order by s.created_at, s.id limit 1;
    if found then
      return v_song;
    end if;
  end if;
  insert into public.songs (id, title, artist, duration_ms, source_url, added_by)
  values (coalesce(p_song_id, gen_random_uuid()), btrim(p_title), btrim(p_artist), p_duration_ms, p_source_url, p_user_id)
  on conflict (id) do nothing
  returning * into v_song;
  if v_song.id is null then
    select s.* into strict v_song from public.songs s where s.id = p_song_id;
  end if;
  return v_song;
end
$$;
comment on function whatssound.ensure_song(uuid, uuid, text, text, integer, text) is
  'The song with that id, or the same song as far as title, artist and source say, or a new one. What a known song is called does not change.';
revoke all on function whatssound.ensure_song(uuid, uuid, text, text, integer, text) from public, anon, authenticated, service_role;

create function whatssound.require_queue_room(p_actor whatssound.actor)
returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_limit integer := ((p_actor.session).settings ->> 'max_queue_length')::integer;
begin
  if (select count(*) from public.queue_items q where q.session_id = (p_actor.session).id and q.status = 'queued') >= v_limit then
    perform whatssound.refuse('queue_full', jsonb_build_object('limit', v_limit));
  end if;
end
$$;
comment on function whatssound.require_queue_room(whatssound.actor) is 'Refuses with queue_full.';
revoke all on function whatssound.require_queue_room(whatssound.actor) from public, anon, authenticated, service_role;

create function whatssound.add_item(p_actor whatssound.actor, p_song public.songs, p_duration_ms integer)
returns public.queue_items
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session_id uuid := (p_actor.session).id;
  v_item public.queue_items;
begin
  insert into public.queue_items (session_id, song_id, title, artist, duration_ms, source_url, rank, added_by, seq)
  values (
    v_session_id, p_song.id, p_song.title, p_song.artist, p_duration_ms, p_song.source_url,
    1 + coalesce((select max(q.rank) from public.queue_items q where q.session_id = v_session_id and q.status = 'queued'), 0),
    p_actor.user_id, whatssound.next_seq(v_session_id))
  returning * into v_item;
  perform whatssound.log_item(v_item);
  return v_item;
end
$$;
comment on function whatssound.add_item(whatssound.actor, public.songs, integer) is 'Puts a song at the end of the queue and logs it.';
revoke all on function whatssound.add_item(whatssound.actor, public.songs, integer) from public, anon, authenticated, service_role;

create function public.enqueue_song(
  p_session_id uuid, p_title text, p_artist text default null, p_duration_ms integer default null,
  p_song_id uuid default null, p_source_url text default null, p_key uuid default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_request jsonb := jsonb_build_array(p_session_id, p_title, p_artist, p_duration_ms, p_song_id, p_source_url);
  v_actor whatssound.actor;
  v_song public.songs;
  v_reply jsonb;
begin
  perform whatssound.require_song_facts(p_title, p_artist, p_duration_ms, p_source_url);
  perform whatssound.lock_clock(p_session_id);
  v_reply := whatssound.earlier_reply(v_user_id, p_key, 'enqueue_song', v_request);
  if v_reply is null then
    v_actor := whatssound.admit(p_session_id, v_user_id);
    perform whatssound.require_live(v_actor.session);
    perform whatssound.require_setting(v_actor, 'listeners_may_queue');
    perform whatssound.require_anonymous_may(v_actor, 'anonymous_may_queue');
    perform whatssound.require_queue_room(v_actor);
    v_song := whatssound.ensure_song(v_user_id, p_song_id, p_title, p_artist, p_duration_ms, p_source_url);
    -- How long it plays here is for the caller to say: a stranger may have been first to add the song, with any length.
    v_reply := whatssound.queue_reply(
      whatssound.add_item(v_actor, v_song, case when p_song_id is null then p_duration_ms
                                           else coalesce(p_duration_ms, v_song.duration_ms) end),
      p_session_id);
    perform whatssound.remember_reply(v_user_id, p_key, 'enqueue_song', v_request, v_reply);
    perform whatssound.spend_tokens(v_user_id, 'command', 1);
  end if;
  return whatssound.finish_write(p_session_id, v_reply);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.enqueue_song(uuid, text, text, integer, uuid, text, uuid) is
  'Signed-in users, as the session''s settings allow: puts a song at the end of the queue. Definer: tables take no direct writes.';
revoke all on function public.enqueue_song(uuid, text, text, integer, uuid, text, uuid) from public, anon, authenticated, service_role;
grant execute on function public.enqueue_song(uuid, text, text, integer, uuid, text, uuid) to authenticated;
