-- Frames: what happened in a session since the last frame, sent to its read-only topic in one broadcast a tick.
--
-- How it works. Every writing RPC holds the clock's row lock and calls send_due_frame before it returns. In a small room
-- (tick 0) the frame goes at once; in a large one only when a tick has passed since the last, else the caller is told
-- how long to wait and calls flush_frame then. Nobody has to live for a frame to go: the next write or heartbeat sends it.
--
-- The lock is taken in one statement and the events are read in a later one: a statement that waits for the lock still
-- sees the database as it was before it waited, and would miss events.

create unlogged table whatssound.leases (
  session_id uuid not null,
  user_id uuid not null,
  expires_at timestamptz not null,
  primary key (session_id, user_id)
) with (fillfactor = 50);
comment on table whatssound.leases is 'Who is in a session: one lease of 90 s a user, renewed by heartbeats. Unlogged: after a crash they are renewed anyway.';
create index idx_leases_expiry on whatssound.leases (session_id, expires_at);
alter table whatssound.leases enable row level security;
revoke all on whatssound.leases from public, anon, authenticated, service_role;

create function whatssound.occupancy(p_session_id uuid)
returns integer
language sql stable
set search_path = ''
as $$
  select count(*)::integer from whatssound.leases l where l.session_id = p_session_id and l.expires_at > statement_timestamp()
$$;
comment on function whatssound.occupancy(uuid) is 'How many users hold a lease: users, not connections.';
revoke all on function whatssound.occupancy(uuid) from public, anon, authenticated, service_role;

create function whatssound.frame_wait_ms(p_clock public.session_clock)
returns integer
language sql volatile
set search_path = ''
as $$
  select greatest(0, ceil(
    p_clock.tick_ms - extract(epoch from clock_timestamp() - greatest(p_clock.framed_at, 'epoch')) * 1000))::integer
$$;
comment on function whatssound.frame_wait_ms(public.session_clock) is 'Milliseconds until the next frame may go; 0: now.';
revoke all on function whatssound.frame_wait_ms(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.frame_status(p_clock public.session_clock)
returns jsonb
language sql volatile
set search_path = ''
as $$
  select case when p_clock.frames and p_clock.framed_seq < p_clock.last_seq
    then jsonb_build_object('pending', true, 'wait_ms', whatssound.frame_wait_ms(p_clock))
    else jsonb_build_object('pending', false, 'wait_ms', 0) end
$$;
comment on function whatssound.frame_status(public.session_clock) is 'Whether events wait for a frame, and how long until it may go.';
revoke all on function whatssound.frame_status(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.frame_events(p_session_id uuid, p_after_seq bigint)
returns jsonb
language sql stable
set search_path = ''
as $$
  -- As many events as fit the payload limit, and always one.
  select jsonb_agg(jsonb_build_object('seq', e.seq, 'kind', e.kind, 'payload', e.payload, 'created_at', e.created_at) order by e.seq)
  from (
    select s.*, row_number() over (order by s.seq) as place,
           sum(octet_length(s.payload::text) + 120) over (order by s.seq) as bytes
    from (
      select e.seq, e.kind, e.payload, e.created_at from public.session_events e
      where e.session_id = p_session_id and e.seq > p_after_seq order by e.seq limit 1000) s) e
  where e.place = 1 or e.bytes <= (select p.frame_max_bytes from whatssound.project p)
$$;
comment on function whatssound.frame_events(uuid, bigint) is 'The events of the next frame, oldest first.';
revoke all on function whatssound.frame_events(uuid, bigint) from public, anon, authenticated, service_role;

create function whatssound.frame_tallies(p_events jsonb)
returns jsonb
language sql immutable
set search_path = ''
as $$
  select coalesce(jsonb_agg(t.tally || jsonb_build_object('song_id', t.song_id, 'seq', t.seq) order by t.seq), '[]')
  from (
    select distinct on (e -> 'payload' ->> 'song_id')
      e -> 'payload' ->> 'song_id' as song_id, e -> 'payload' -> 'tally' as tally, (e ->> 'seq')::bigint as seq
    from jsonb_array_elements(p_events) e
    where e ->> 'kind' = 'vote'
    order by e -> 'payload' ->> 'song_id', (e ->> 'seq')::bigint desc) t
$$;
comment on function whatssound.frame_tallies(jsonb) is 'The last tally of each song that was voted on in these events.';
revoke all on function whatssound.frame_tallies(jsonb) from public, anon, authenticated, service_role;

create function whatssound.send_due_frame(p_session_id uuid)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_clock public.session_clock;
  v_events jsonb;
  v_to bigint;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if not v_clock.frames or v_clock.framed_seq >= v_clock.last_seq or whatssound.frame_wait_ms(v_clock) > 0 then
    return whatssound.frame_status(v_clock);
  end if;
  -- Empty only when upkeep has already deleted what was never framed; the frame then still tells last_seq.
  v_events := coalesce(whatssound.frame_events(p_session_id, v_clock.framed_seq), '[]');
  v_to := coalesce((v_events -> -1 ->> 'seq')::bigint, v_clock.last_seq);
  perform realtime.send(
    jsonb_build_object(
      'session_id', p_session_id, 'from_seq', (v_events -> 0 ->> 'seq')::bigint, 'to_seq', v_to,
      'last_seq', v_clock.last_seq, 'events', v_events, 'tallies', whatssound.frame_tallies(v_events),
      'occupancy', whatssound.occupancy(p_session_id), 'tick_ms', v_clock.tick_ms, 'server_time', clock_timestamp()),
    'frame', 'session:' || p_session_id || ':frames', true);
  update public.session_clock c set framed_seq = v_to, framed_at = clock_timestamp()
  where c.session_id = p_session_id returning c.* into v_clock;
  return whatssound.frame_status(v_clock)
    || jsonb_build_object('from_seq', (v_events -> 0 ->> 'seq')::bigint, 'to_seq', v_to);
end
$$;
comment on function whatssound.send_due_frame(uuid) is
  'Sends the next frame if one is due and says what is left; call with the clock''s row locked by an earlier statement.';
revoke all on function whatssound.send_due_frame(uuid) from public, anon, authenticated, service_role;
