-- Reactions: counted while they wait, carried by the next frame, then forgotten. They are no events: nothing is logged, no
-- seq is taken, and nobody learns who sent them.
--
-- A reaction must not cost what a write costs. Senders never take the session's clock to count: each adds to rows that it
-- hardly shares with others (a shard per connection), so neither writers nor other senders wait. The frame takes what is
-- not being added to at that moment and deletes it in the transaction that sends it: nothing is lost or sent twice.

insert into whatssound.rate_limits (bucket, capacity, per_second) values ('reaction', 120, 20);

create unlogged table whatssound.pending_reactions (
  session_id uuid not null,
  kind text not null,
  shard smallint not null,
  count integer not null,
  primary key (session_id, kind, shard)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table whatssound.pending_reactions is
  'Reactions that wait for a frame, counted by kind; a few shards of each, so that senders do not wait for each other. Unlogged: lost in a crash, as typing would be.';
alter table whatssound.pending_reactions enable row level security;
revoke all on whatssound.pending_reactions from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Frames that carry them
------------------------------------------------------------------------------------------------------------------------

alter table public.session_clock add column bare_frames integer not null default 0;
comment on column public.session_clock.bare_frames is 'Frames without events since rate_at.';

create or replace function whatssound.frame_wait_ms(p_clock public.session_clock)
returns integer
language sql volatile
set search_path = ''
as $$
  select greatest(0, ceil(t.tick_ms - extract(epoch from clock_timestamp() - greatest(p_clock.framed_at, 'epoch')) * 1000))::integer
  from (
    select case
      when p_clock.framed_seq < p_clock.last_seq then p_clock.tick_ms
      -- Reactions alone are worth two frames a second at most, also where every event goes at once.
      when exists (select from whatssound.pending_reactions r where r.session_id = p_clock.session_id)
        then greatest(p_clock.tick_ms, 500)
    end as tick_ms) t
  where p_clock.frames and t.tick_ms is not null
$$;
comment on function whatssound.frame_wait_ms(public.session_clock) is
  'Milliseconds until what waits may go in a frame; 0: now; null: nothing waits.';

create or replace function whatssound.frame_status(p_clock public.session_clock)
returns jsonb
language sql volatile
set search_path = ''
as $$
  select jsonb_build_object('pending', w.wait_ms is not null, 'wait_ms', coalesce(w.wait_ms, 0))
  from (select whatssound.frame_wait_ms(p_clock) as wait_ms) w
$$;
comment on function whatssound.frame_status(public.session_clock) is
  'Whether events or reactions wait for a frame, and how long until it may go.';

create function whatssound.take_reactions(p_session_id uuid)
returns jsonb
language sql volatile
set search_path = ''
as $$
  -- A row that a sender is adding to stays for the next frame, which that sender is told to wait for.
  with taken as (
    select r.kind, r.shard, r.count from whatssound.pending_reactions r
    where r.session_id = p_session_id for update skip locked
  ), cleared as (
    delete from whatssound.pending_reactions r using taken t
    where r.session_id = p_session_id and r.kind = t.kind and r.shard = t.shard
  )
  select coalesce(jsonb_object_agg(k.kind, k.count), '{}')
  from (
    -- More than 50 kinds come only of a race between senders; the least used go unsaid.
    select t.kind, sum(t.count) as count from taken t group by t.kind order by sum(t.count) desc, t.kind limit 50) k
$$;
comment on function whatssound.take_reactions(uuid) is
  'Takes the reactions that wait, as {kind: count}; call with the clock''s row locked, in the transaction that sends them.';
revoke all on function whatssound.take_reactions(uuid) from public, anon, authenticated, service_role;

create function whatssound.send_frame(p_clock public.session_clock)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_clock public.session_clock;
  v_reactions jsonb := whatssound.take_reactions(p_clock.session_id);
  -- Empty when nothing but reactions waits, or when upkeep has already deleted what was never framed; last_seq is told anyway.
  v_events jsonb := coalesce(whatssound.frame_events(p_clock.session_id, p_clock.framed_seq), '[]');
  v_from bigint := (v_events -> 0 ->> 'seq')::bigint;
  v_to bigint := coalesce((v_events -> -1 ->> 'seq')::bigint, p_clock.last_seq);
begin
  perform realtime.send(
    jsonb_build_object(
      'session_id', p_clock.session_id, 'from_seq', v_from, 'to_seq', v_to, 'last_seq', p_clock.last_seq,
      'events', v_events, 'tallies', whatssound.frame_tallies(v_events),
      'occupancy', whatssound.occupancy(p_clock.session_id), 'tick_ms', p_clock.tick_ms, 'server_time', clock_timestamp())
    || case when v_reactions <> '{}' then jsonb_build_object('reactions', v_reactions) else '{}' end,
    'frame', 'session:' || p_clock.session_id || ':frames', true);
  update public.session_clock c
  set framed_seq = v_to, framed_at = clock_timestamp(), bare_frames = c.bare_frames + (v_from is null)::integer
  where c.session_id = p_clock.session_id returning c.* into v_clock;
  return whatssound.frame_status(v_clock) || jsonb_build_object('from_seq', v_from, 'to_seq', v_to);
end
$$;
comment on function whatssound.send_frame(public.session_clock) is
  'Sends the next frame and says what is left; call with the clock as it is under its row lock.';
revoke all on function whatssound.send_frame(public.session_clock) from public, anon, authenticated, service_role;

create or replace function whatssound.send_due_frame(p_session_id uuid)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_clock public.session_clock;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if whatssound.frame_wait_ms(v_clock) = 0 then
    return whatssound.send_frame(v_clock);
  end if;
  return whatssound.frame_status(v_clock);
end
$$;

create or replace function whatssound.try_frame(p_session_id uuid)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_clock public.session_clock;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if whatssound.frame_wait_ms(v_clock) is distinct from 0 then
    return whatssound.frame_status(v_clock);
  end if;
  perform from public.session_clock c where c.session_id = p_session_id for update skip locked;
  if not found then
    -- A writer holds the lock and will send the frame itself.
    return jsonb_build_object('pending', true, 'wait_ms', greatest(v_clock.tick_ms, 100));
  end if;
  return whatssound.send_due_frame(p_session_id);
end
$$;

create or replace function whatssound.send_left_frames()
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session record;
begin
  for v_session in
    select c.session_id from public.session_clock c
    where c.frames and c.framed_at < now() - interval '5 seconds'
      and (c.framed_seq < c.last_seq
           or exists (select from whatssound.pending_reactions r where r.session_id = c.session_id))
  loop
    perform whatssound.try_frame(v_session.session_id);
  end loop;
end
$$;

create or replace function whatssound.apply_clock_settings(p_session public.sessions)
returns void
language sql volatile
set search_path = ''
as $$
  update public.session_clock c
  set frames = (p_session.settings ->> 'frames')::boolean,
      fixed_tick = p_session.settings ->> 'tick_ms' is not null,
      tick_ms = coalesce((p_session.settings ->> 'tick_ms')::integer, case when c.fixed_tick then 0 else c.tick_ms end),
      -- Frames that come on again start with what comes next.
      framed_seq = case when c.frames then c.framed_seq else c.last_seq end
  where c.session_id = p_session.id;
  -- So do reactions: old ones must not appear out of nowhere.
  delete from whatssound.pending_reactions r
  where r.session_id = p_session.id and not (p_session.settings ->> 'frames')::boolean
$$;

------------------------------------------------------------------------------------------------------------------------
-- Sending them
------------------------------------------------------------------------------------------------------------------------

create function whatssound.require_reactions(p_counts jsonb)
returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  perform whatssound.require_argument(jsonb_typeof(p_counts) = 'object', 'p_counts', 'an object of counts by kind');
  perform whatssound.require_argument((select count(*) from jsonb_each(p_counts)) between 1 and 20, 'p_counts', '1 to 20 kinds');
  perform whatssound.require_argument(
    (select bool_and(octet_length(c.key) between 1 and 32 and c.key = btrim(c.key) and whatssound.is_clean_name(c.key))
     from jsonb_each(p_counts) c),
    'p_counts', 'kinds are 1 to 32 bytes of text without control characters, not blank at either end');
  perform whatssound.require_argument(
    (select bool_and(whatssound.is_valid_setting('number', c.value, 1, 50, false)) from jsonb_each(p_counts) c),
    'p_counts', 'counts are whole numbers from 1 to 50');
end
$$;
comment on function whatssound.require_reactions(jsonb) is 'Refuses what is not reactions with invalid_argument.';
revoke all on function whatssound.require_reactions(jsonb) from public, anon, authenticated, service_role;

create function whatssound.require_may_react(p_actor whatssound.actor)
returns void
language plpgsql stable
set search_path = ''
as $$
begin
  perform whatssound.require_live(p_actor.session);
  -- Who may not speak may not react: a kind is free text, and would be a way around.
  if p_actor.muted_until > clock_timestamp() then
    perform whatssound.refuse('muted', jsonb_build_object(
      'muted_until', p_actor.muted_until, 'retry_after', round(extract(epoch from p_actor.muted_until - clock_timestamp()), 3)));
  elsif p_actor.role = 'listener' and ((p_actor.session).settings ->> 'chat_frozen')::boolean then
    perform whatssound.refuse('chat_frozen');
  end if;
  perform whatssound.require_anonymous_may(p_actor, 'anonymous_may_speak');
  if not ((p_actor.session).settings ->> 'frames')::boolean then
    perform whatssound.refuse('not_allowed', jsonb_build_object('setting', 'frames'));
  end if;
end
$$;
comment on function whatssound.require_may_react(whatssound.actor) is
  'Refuses who may not speak now, and everybody where the session has ended or has no frames to carry reactions.';
revoke all on function whatssound.require_may_react(whatssound.actor) from public, anon, authenticated, service_role;

create function whatssound.count_reactions(p_session_id uuid, p_counts jsonb)
returns integer
language sql volatile
set search_path = ''
as $$
  with known as (
    select distinct r.kind from whatssound.pending_reactions r where r.session_id = p_session_id
  ), wanted as (
    select c.key as kind, trunc(c.value::text::numeric)::integer as count, k.kind is not null as known
    from jsonb_each(p_counts) c left join known k on k.kind = c.key
  ), placed as (
    select w.*, row_number() over (partition by w.known order by w.count desc, w.kind) as place from wanted w
  ), counted as (
    insert into whatssound.pending_reactions as r (session_id, kind, shard, count)
    -- In one order for everybody, so that two calls on one shard wait for each other but never in a circle.
    select p_session_id, p.kind, pg_catalog.pg_backend_pid() % 8, p.count from placed p
    where p.known or p.place <= 50 - (select count(*) from known)
    order by p.kind
    on conflict (session_id, kind, shard) do update set count = r.count + excluded.count
    returning r.kind
  )
  select coalesce(sum(w.count), 0)::integer from wanted w where w.kind in (select c.kind from counted c)
$$;
comment on function whatssound.count_reactions(uuid, jsonb) is
  'Adds reactions to those that wait, up to 50 kinds a frame; returns how many were accepted.';
revoke all on function whatssound.count_reactions(uuid, jsonb) from public, anon, authenticated, service_role;

create function public.send_reactions(p_session_id uuid, p_counts jsonb)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('reaction');
  v_total integer;
  v_accepted integer;
  v_frame jsonb;
begin
  -- No clock lock: what is counted needs no order.
  if not exists (select from public.sessions s where s.id = p_session_id) then
    perform whatssound.refuse('session_not_found');
  end if;
  perform whatssound.require_may_react(whatssound.admit(p_session_id, v_user_id));
  perform whatssound.require_reactions(p_counts);
  select sum(c.value::numeric) into v_total from jsonb_each_text(p_counts) c;
  -- Every reaction is a token, paid afterwards: a call counts whole or not at all, and who sends many waits the longer.
  perform whatssound.spend_tokens(v_user_id, 'reaction', v_total);
  v_accepted := whatssound.count_reactions(p_session_id, p_counts);
  v_frame := whatssound.try_frame(p_session_id);
  return jsonb_build_object(
    'accepted', v_accepted, 'dropped', v_total - v_accepted,
    'last_seq', (select c.last_seq from public.session_clock c where c.session_id = p_session_id),
    'server_time', clock_timestamp(), 'frame', v_frame);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.send_reactions(uuid, jsonb) is
  'Signed-in users who may speak in the live session: counts reactions, {"🔥": 3}, for the next frame; not stored. Definer: tables take no direct writes.';
revoke all on function public.send_reactions(uuid, jsonb) from public, anon, authenticated, service_role;
grant execute on function public.send_reactions(uuid, jsonb) to authenticated;
