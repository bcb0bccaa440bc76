-- Reading: the snapshot, what happened since, history; and heartbeats.
--
-- The reading functions are stable: all their queries see the one moment the call was made at, so a snapshot and its seq
-- agree. Unknown and forbidden sessions answer alike.

create function whatssound.readable_session(p_session_id uuid)
returns public.sessions
language plpgsql stable
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  select s.* into v_session from public.sessions s
  where s.id = p_session_id and (whatssound.is_service() or whatssound.can_read(p_session_id));
  if not found then
    perform whatssound.refuse('session_not_found');
  end if;
  return v_session;
end
$$;
comment on function whatssound.readable_session(uuid) is 'The session if the caller may see it; refuses with session_not_found.';
revoke all on function whatssound.readable_session(uuid) from public, anon, authenticated, service_role;

create function whatssound.oldest_seq(p_session_id uuid, p_last_seq bigint)
returns bigint
language sql stable
set search_path = ''
as $$
  select coalesce(
    (select e.seq from public.session_events e where e.session_id = p_session_id order by e.seq limit 1), p_last_seq + 1)
$$;
comment on function whatssound.oldest_seq(uuid, bigint) is 'The oldest event that is still kept; last_seq + 1 when there is none.';
revoke all on function whatssound.oldest_seq(uuid, bigint) from public, anon, authenticated, service_role;

create function public.events_since(p_session_id uuid, p_after_seq bigint, p_limit integer default 500)
returns jsonb
language plpgsql stable security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_limit integer := greatest(1, least(coalesce(p_limit, 500), 1000));
  v_last_seq bigint;
  v_events jsonb;
begin
  perform whatssound.require_argument(p_after_seq >= 0, 'p_after_seq', '0 or a seq');
  select c.last_seq into strict v_last_seq from public.session_clock c where c.session_id = v_session.id;
  select coalesce(jsonb_agg(jsonb_build_object('seq', e.seq, 'kind', e.kind, 'payload', e.payload, 'created_at', e.created_at)
                            order by e.seq), '[]')
  into v_events
  from (select e.seq, e.kind, e.payload, e.created_at from public.session_events e
        where e.session_id = p_session_id and e.seq > p_after_seq order by e.seq limit v_limit) e;
  return jsonb_build_object(
    'events', v_events, 'last_seq', v_last_seq, 'oldest_seq', whatssound.oldest_seq(p_session_id, v_last_seq),
    'more', coalesce((v_events -> -1 ->> 'seq')::bigint < v_last_seq, false), 'server_time', clock_timestamp());
end
$$;
comment on function public.events_since(uuid, bigint, integer) is
  'Everybody who may see the session: its events after a seq, oldest first, at most 1000. Definer: the log has no grants.';
revoke all on function public.events_since(uuid, bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.events_since(uuid, bigint, integer) to anon, authenticated, service_role;

create function whatssound.message_page(p_session public.sessions, p_before_seq bigint, p_limit integer)
returns table (seq bigint, message jsonb)
language plpgsql stable
set search_path = ''
-- Along (session_id, seq) backwards, stopping after the page; and one plan for all calls, as planning over all partitions
-- takes several times as long as running in one. Left alone, the planner sorts the whole session, and plans every time.
set enable_sort = off
set enable_bitmapscan = off
set plan_cache_mode = force_generic_plan
as $$
begin
  -- A session's messages are dated within its life, give or take the accepted window: only those months are looked at.
  return query
  select m.seq, jsonb_build_object(
    'id', m.id, 'session_id', m.session_id, 'user_id', m.user_id, 'username', m.username, 'role', m.role,
    'content', m.content, 'created_at', m.created_at, 'seq', m.seq)
  from public.messages m
  where m.session_id = p_session.id and m.seq < p_before_seq and m.deleted_at is null
    and m.created_at >= p_session.started_at - interval '7 days'
    and m.created_at <= coalesce(p_session.ended_at, statement_timestamp()) + interval '2 minutes'
  order by m.seq desc limit p_limit;
end
$$;
comment on function whatssound.message_page(public.sessions, bigint, integer) is 'Messages before a seq, newest first.';
revoke all on function whatssound.message_page(public.sessions, bigint, integer) from public, anon, authenticated, service_role;

create function public.message_history(p_session_id uuid, p_before_seq bigint default null, p_limit integer default 50)
returns jsonb
language plpgsql stable security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_limit integer := greatest(1, least(coalesce(p_limit, 50), 500));
  v_messages jsonb;
begin
  -- One more than asked for tells whether there is more.
  select coalesce(jsonb_agg(p.message order by p.seq desc), '[]') into v_messages
  from whatssound.message_page(v_session, coalesce(p_before_seq, 9223372036854775807), v_limit + 1) p;
  return jsonb_build_object(
    'messages', case when jsonb_array_length(v_messages) > v_limit then v_messages - v_limit else v_messages end,
    'more', jsonb_array_length(v_messages) > v_limit,
    'last_seq', (select c.last_seq from public.session_clock c where c.session_id = p_session_id),
    'server_time', clock_timestamp());
end
$$;
comment on function public.message_history(uuid, bigint, integer) is
  'Everybody who may see the session: its messages before a seq, newest first, at most 500; deleted ones are left out. Definer: one check a call rather than one a row.';
revoke all on function public.message_history(uuid, bigint, integer) from public, anon, authenticated, service_role;
grant execute on function public.message_history(uuid, bigint, integer) to anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- The snapshot
------------------------------------------------------------------------------------------------------------------------

create function whatssound.session_tallies(p_session_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(whatssound.tally_json(t.up, t.down) || jsonb_build_object('song_id', t.song_id, 'seq', t.seq)
                            order by t.seq), '[]')
  from public.song_tallies t where t.session_id = p_session_id
$$;
comment on function whatssound.session_tallies(uuid) is 'The tallies of a session.';
revoke all on function whatssound.session_tallies(uuid) from public, anon, authenticated, service_role;

create function whatssound.own_votes(p_session_id uuid, p_user_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_object_agg(v.song_id, v.value), '{}') from public.votes v
  where v.session_id = p_session_id and v.user_id = p_user_id and v.value <> 0
$$;
comment on function whatssound.own_votes(uuid, uuid) is 'A user''s votes in a session by song; those taken back are left out.';
revoke all on function whatssound.own_votes(uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.tip_totals(p_session_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object('totals', coalesce(jsonb_object_agg(t.currency, t.amount), '{}'), 'count', coalesce(sum(t.tips), 0))
  from (
    select t.currency, sum(t.amount) as amount, count(*) as tips from public.tips t
    where t.session_id = p_session_id and t.status = 'confirmed' group by t.currency) t
$$;
comment on function whatssound.tip_totals(uuid) is 'Confirmed tips of a session, added up by currency.';
revoke all on function whatssound.tip_totals(uuid) from public, anon, authenticated, service_role;

create function whatssound.waiting_items(p_session_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(whatssound.item_json(q) order by q.rank, q.id), '[]') from public.queue_items q
  where q.session_id = p_session_id and q.status = 'queued'
$$;
comment on function whatssound.waiting_items(uuid) is 'What waits in the queue, in order.';
revoke all on function whatssound.waiting_items(uuid) from public, anon, authenticated, service_role;

create function whatssound.playing_item(p_session_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select whatssound.item_json(q) from public.queue_items q where q.session_id = p_session_id and q.status = 'playing'
$$;
comment on function whatssound.playing_item(uuid) is 'What plays now, or null.';
revoke all on function whatssound.playing_item(uuid) from public, anon, authenticated, service_role;

create function whatssound.feed_json(p_clock public.session_clock)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'frames', p_clock.frames, 'tick_ms', p_clock.tick_ms, 'framed_seq', p_clock.framed_seq,
    -- In a room that needs ticks, a client broadcast a message would overrun the plan: chat is stored first there.
    'chat_path', case when p_clock.frames and p_clock.tick_ms > 0 then 'stored' else 'broadcast' end,
    'rate', round(p_clock.rate::numeric, 3),
    'events_per_second', (select p.events_per_second from whatssound.project p))
$$;
comment on function whatssound.feed_json(public.session_clock) is 'How the session''s events travel, the same for every client.';
revoke all on function whatssound.feed_json(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.recent_messages(p_session public.sessions, p_limit integer)
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(p.message order by p.seq), '[]')
  from whatssound.message_page(p_session, 9223372036854775807, p_limit) p
$$;
comment on function whatssound.recent_messages(public.sessions, integer) is 'The last messages, oldest first.';
revoke all on function whatssound.recent_messages(public.sessions, integer) from public, anon, authenticated, service_role;

create function public.session_snapshot(p_session_id uuid, p_messages integer default 50)
returns jsonb
language plpgsql stable security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_clock public.session_clock;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  return jsonb_build_object(
    'session', whatssound.session_json(v_session),
    'me', whatssound.me_json(p_session_id, auth.uid()),
    'seq', v_clock.last_seq,
    'last_seq', v_clock.last_seq,
    'oldest_seq', whatssound.oldest_seq(p_session_id, v_clock.last_seq),
    'now_playing', whatssound.playing_item(p_session_id),
    'queue', whatssound.waiting_items(p_session_id),
    'tallies', whatssound.session_tallies(p_session_id),
    'my_votes', whatssound.own_votes(p_session_id, auth.uid()),
    'tips', whatssound.tip_totals(p_session_id),
    'messages', whatssound.recent_messages(v_session, greatest(0, least(coalesce(p_messages, 50), 500))),
    'occupancy', whatssound.occupancy(p_session_id),
    'feed', whatssound.feed_json(v_clock)
      || jsonb_build_object('joinable', v_session.status = 'live' and whatssound.me_json(p_session_id, auth.uid()) is not null),
    'server_time', clock_timestamp());
end
$$;
comment on function public.session_snapshot(uuid, integer) is
  'Everybody who may see the session: its whole state at one moment, with the seq it is true for. Definer: one check a call rather than one a row.';
revoke all on function public.session_snapshot(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.session_snapshot(uuid, integer) to anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Heartbeats and frames on request
------------------------------------------------------------------------------------------------------------------------

create function whatssound.renew_lease(p_session_id uuid, p_user_id uuid)
returns void
language sql volatile
set search_path = ''
as $$
  insert into whatssound.leases as l (session_id, user_id, expires_at)
  values (p_session_id, p_user_id, clock_timestamp() + interval '90 seconds')
  on conflict (session_id, user_id) do update set expires_at = excluded.expires_at
  -- A client that calls too often costs a look, not a write.
  where l.expires_at < excluded.expires_at - interval '5 seconds'
$$;
comment on function whatssound.renew_lease(uuid, uuid) is 'Gives the user a lease of 90 s.';
revoke all on function whatssound.renew_lease(uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.wanted_tick(p_clock public.session_clock, p_rate double precision, p_occupancy integer, p_budget integer)
returns integer
language sql immutable
set search_path = ''
as $$
  -- A frame costs one message a listener. At tick 0 every event is a frame: fine while that stays under 60 % of the plan
  -- (back to it under 40 %, so that a room at the border does not flap); else as many ticks as 80 % of the plan pays for.
  select case
    when p_occupancy * greatest(p_rate, 1) <= p_budget * (case when p_clock.tick_ms = 0 then 0.6 else 0.4 end) then 0
    else least(60000, greatest(250, ceil(1000 * p_occupancy / (0.8 * p_budget)))::integer)
  end
$$;
comment on function whatssound.wanted_tick(public.session_clock, double precision, integer, integer) is
  'The tick (ms) that keeps a room of this size within the plan''s events a second.';
revoke all on function whatssound.wanted_tick(public.session_clock, double precision, integer, integer)
  from public, anon, authenticated, service_role;

create function whatssound.retick(p_session_id uuid)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_clock public.session_clock;
  v_rate double precision;
begin
  -- Looked at without a lock first, and skipped when somebody is writing: the next heartbeat will do it.
  select c.* into v_clock from public.session_clock c
  where c.session_id = p_session_id and c.rate_at < clock_timestamp() - interval '5 seconds';
  if not found then
    return;
  end if;
  select c.* into v_clock from public.session_clock c
  where c.session_id = p_session_id and c.rate_at < clock_timestamp() - interval '5 seconds' for update skip locked;
  if not found then
    return;
  end if;
  v_rate := (v_clock.last_seq - v_clock.rate_seq) / extract(epoch from clock_timestamp() - v_clock.rate_at);
  v_rate := greatest(v_rate, (v_rate + v_clock.rate) / 2);
  update public.session_clock c
  set rate = v_rate, rate_seq = c.last_seq, rate_at = clock_timestamp(),
      tick_ms = case when c.fixed_tick then c.tick_ms else whatssound.wanted_tick(
        v_clock, v_rate, whatssound.occupancy(p_session_id), (select p.events_per_second from whatssound.project p)) end
  where c.session_id = p_session_id;
end
$$;
comment on function whatssound.retick(uuid) is 'Every five seconds at most: measures the room and sets its tick. Rises at once, falls slowly.';
revoke all on function whatssound.retick(uuid) from public, anon, authenticated, service_role;

create function whatssound.try_frame(p_session_id uuid)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_clock public.session_clock;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if not v_clock.frames or v_clock.framed_seq >= v_clock.last_seq or whatssound.frame_wait_ms(v_clock) > 0 then
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
comment on function whatssound.try_frame(uuid) is 'Sends the frame if one is due and nobody is writing; never waits for a lock.';
revoke all on function whatssound.try_frame(uuid) from public, anon, authenticated, service_role;

create function public.heartbeat(p_session_id uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_frame jsonb;
  v_clock public.session_clock;
begin
  if auth.uid() is not null and not whatssound.is_service() and v_session.status = 'live' then
    perform whatssound.renew_lease(p_session_id, auth.uid());
    perform whatssound.retick(p_session_id);
    v_frame := whatssound.try_frame(p_session_id);
  end if;
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  return jsonb_build_object(
    'last_seq', v_clock.last_seq, 'occupancy', whatssound.occupancy(p_session_id), 'server_time', clock_timestamp(),
    'frame', coalesce(v_frame, whatssound.frame_status(v_clock)) - 'from_seq' - 'to_seq', 'feed', whatssound.feed_json(v_clock));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.heartbeat(uuid) is
  'Everybody who may see the session: says what is new; a signed-in caller counts as present for 90 s. Definer: tables take no direct writes.';
revoke all on function public.heartbeat(uuid) from public, anon, authenticated, service_role;
grant execute on function public.heartbeat(uuid) to anon, authenticated, service_role;

create function public.flush_frame(p_session_id uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_frame jsonb := whatssound.try_frame(v_session.id);
begin
  return jsonb_build_object(
    'sent', v_frame ? 'to_seq', 'from_seq', v_frame -> 'from_seq', 'to_seq', v_frame -> 'to_seq',
    'pending', v_frame -> 'pending', 'wait_ms', v_frame -> 'wait_ms',
    'last_seq', (select c.last_seq from public.session_clock c where c.session_id = p_session_id),
    'server_time', clock_timestamp());
end
$$;
comment on function public.flush_frame(uuid) is
  'Signed-in users who may see the session, service role: sends the frame if it is due, else says how long to wait. Definer: tables take no direct writes.';
revoke all on function public.flush_frame(uuid) from public, anon, authenticated, service_role;
grant execute on function public.flush_frame(uuid) to authenticated, service_role;
