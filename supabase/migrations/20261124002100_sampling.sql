-- Heartbeats in large rooms. Up to a thousand people everybody's heartbeat counts; in larger rooms a sample holds leases
-- for all, and everybody else calls seldom, so that the cost of a listener falls as the room grows.
--
-- A user's bucket in a session is a hash that never changes. With sampling k only the users whose bucket is a multiple of
-- 2^k hold leases, and each stands for 2^k: about 500 to 1,000 leases, an error of about 1 / sqrt(leases) = 3 to 5 %.
-- Samples are nested. Going from k to k + 1 therefore forgets nobody: those who count from now on hold leases already.
-- Going back to k - 1, the new half of the sample learns so with its next heartbeat, which may be 300 s away: the occupancy
-- is counted from the smaller sample until then.
--
-- Who calls seldom still learns last_seq: from frames, and where nothing happens from a pulse, a frame without events that
-- heartbeats send after 20 s of silence.

alter table public.session_clock
  add column occupancy integer not null default 0,
  add column sampling smallint not null default 0,
  add column maturing smallint not null default 0,
  add column counted smallint not null default 0,
  add column maturing_since timestamptz not null default '-infinity',
  add constraint session_clock_sampling check (0 <= sampling and sampling <= maturing and maturing <= counted and counted <= 20);
comment on column public.session_clock.occupancy is 'How many were here when the room was last measured, at rate_at.';
comment on column public.session_clock.sampling is 'k: one in 2^k users holds a lease.';
comment on column public.session_clock.maturing is 'The sample that will be complete 330 s after maturing_since, when all of it have called.';
comment on column public.session_clock.counted is 'The sample that the occupancy is counted from; above sampling for a while after that was lowered.';

create function whatssound.lease_bucket(p_session_id uuid, p_user_id uuid)
returns integer
language sql immutable parallel safe
set search_path = ''
as $$ select ('x' || left(md5(p_session_id::text || p_user_id::text), 5))::bit(20)::integer $$;
comment on function whatssound.lease_bucket(uuid, uuid) is 'A hash of user and session, 0 to 2^20 - 1, the same for ever and in every version of Postgres.';
revoke all on function whatssound.lease_bucket(uuid, uuid) from public, anon, authenticated, service_role;

alter table whatssound.leases
  add column bucket integer not null generated always as (whatssound.lease_bucket(session_id, user_id)) stored;

create function whatssound.is_sampled(p_bucket integer, p_sampling integer)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$ select p_bucket & ((1 << p_sampling) - 1) = 0 $$;
comment on function whatssound.is_sampled(integer, integer) is 'True for the one bucket in 2^sampling whose users hold leases.';
revoke all on function whatssound.is_sampled(integer, integer) from public, anon, authenticated, service_role;

create or replace function whatssound.occupancy(p_session_id uuid)
returns integer
language sql stable
set search_path = ''
as $$
  -- is_sampled written out: a function call a lease would take ten times as long.
  select ((
    select count(*) from whatssound.leases l
    where l.session_id = c.session_id and l.expires_at > statement_timestamp() and l.bucket & ((1 << c.counted) - 1) = 0
  ) * (1 << c.counted))::integer
  from public.session_clock c where c.session_id = p_session_id
$$;
comment on function whatssound.occupancy(uuid) is
  'How many users are here: users, not connections. Exact up to a thousand, beyond that from a sample, give or take 5 %.';

create or replace function whatssound.renew_lease(p_session_id uuid, p_user_id uuid)
returns void
language sql volatile
set search_path = ''
as $$
  insert into whatssound.leases as l (session_id, user_id, expires_at)
  select p_session_id, p_user_id, clock_timestamp() + interval '90 seconds' from public.session_clock c
  where c.session_id = p_session_id and whatssound.is_sampled(whatssound.lease_bucket(p_session_id, p_user_id), c.sampling)
  on conflict (session_id, user_id) do update set expires_at = excluded.expires_at
  -- A client that calls too often costs a look, not a write.
  where l.expires_at < excluded.expires_at - interval '5 seconds'
$$;
comment on function whatssound.renew_lease(uuid, uuid) is 'Gives the user a lease of 90 s, if the user is in the sample.';

create function whatssound.wanted_sampling(p_sampling integer, p_occupancy integer)
returns integer
language sql immutable parallel safe
set search_path = ''
as $$
  -- A new sample has 500 to 1,000 leases; left alone between 400 and 1,000, a room at the border does not flap.
  select case
    when s.size > 1000 or (p_sampling > 0 and s.size < 400)
      then least(20, greatest(0, ceil(log(2, greatest(p_occupancy, 1) / 1000.0))))::integer
    else p_sampling end
  from (select p_occupancy / (1 << p_sampling)::double precision as size) s
$$;
comment on function whatssound.wanted_sampling(integer, integer) is 'The sampling for a room of this size, given what it is now.';
revoke all on function whatssound.wanted_sampling(integer, integer) from public, anon, authenticated, service_role;

create function whatssound.resample(p_clock public.session_clock, p_now timestamptz)
returns public.session_clock
language plpgsql immutable
set search_path = ''
as $$
begin
  p_clock.sampling := whatssound.wanted_sampling(p_clock.sampling, p_clock.occupancy);
  -- Larger steps: those who count from now on are part of the sample that was.
  p_clock.maturing := greatest(p_clock.maturing, p_clock.sampling);
  p_clock.counted := greatest(p_clock.counted, p_clock.sampling);
  if p_clock.maturing < p_clock.counted and p_now >= p_clock.maturing_since + interval '330 seconds' then
    p_clock.counted := p_clock.maturing;
  end if;
  if p_clock.maturing = p_clock.counted and p_clock.sampling < p_clock.counted then
    p_clock.maturing := p_clock.sampling;
    p_clock.maturing_since := p_now;
  end if;
  return p_clock;
end
$$;
comment on function whatssound.resample(public.session_clock, timestamptz) is
  'The clock with its sampling adjusted to its occupancy: at once when the room grows, when the wider sample is complete when it shrinks.';
revoke all on function whatssound.resample(public.session_clock, timestamptz) from public, anon, authenticated, service_role;

create function whatssound.heartbeat_seconds(p_clock public.session_clock, p_occupancy integer, p_sampled boolean)
returns integer
language sql immutable
set search_path = ''
as $$
  -- Leases last 90 s: who holds one calls every 25 s. The sample takes up to 40 calls a second of the room's 60, everybody
  -- else shares the rest; more seldom than every 300 s nobody calls, so from about 11,000 people on the sum grows slowly again.
  -- Without frames a heartbeat is all that tells a listener of news.
  select case
    when p_sampled or p_clock.sampling = 0 or not p_clock.frames then 25
    else least(300, greatest(25, ceil((p_occupancy - s.size) / greatest(20, 60 - s.size / 25))))::integer end
  from (select p_occupancy / (1 << p_clock.sampling)::double precision as size) s
$$;
comment on function whatssound.heartbeat_seconds(public.session_clock, integer, boolean) is
  'Seconds until a client should call heartbeat again, 25 to 300.';
revoke all on function whatssound.heartbeat_seconds(public.session_clock, integer, boolean) from public, anon, authenticated, service_role;

create function whatssound.is_pulse_due(p_clock public.session_clock)
returns boolean
language sql volatile
set search_path = ''
as $$
  -- Not while something waits: that goes as a frame of its own, and a pulse would put it off by another tick.
  select p_clock.frames and (p_clock.tick_ms > 0 or p_clock.sampling > 0)
    and p_clock.framed_at < clock_timestamp() - greatest(interval '20 seconds', make_interval(secs => p_clock.tick_ms / 1000.0))
    and whatssound.frame_wait_ms(p_clock) is null
$$;
comment on function whatssound.is_pulse_due(public.session_clock) is
  'True when a room with ticks has heard no frame for 20 s (or a tick, if that is longer).';
revoke all on function whatssound.is_pulse_due(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.try_pulse(p_session_id uuid)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_clock public.session_clock;
begin
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if not whatssound.is_pulse_due(v_clock) then
    return;
  end if;
  perform from public.session_clock c where c.session_id = p_session_id for update skip locked;
  if not found then
    return;
  end if;
  -- Again, in a later statement: another heartbeat may have sent it between the look and the lock.
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  if whatssound.is_pulse_due(v_clock) then
    perform whatssound.send_frame(v_clock);
  end if;
end
$$;
comment on function whatssound.try_pulse(uuid) is 'Sends a frame without events where that is due; never waits for a lock.';
revoke all on function whatssound.try_pulse(uuid) from public, anon, authenticated, service_role;

create or replace function public.heartbeat(p_session_id uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_session public.sessions := whatssound.readable_session(p_session_id);
  v_user_id uuid := case when not whatssound.is_service() and v_session.status = 'live' then auth.uid() end;
  v_frame jsonb;
  v_clock public.session_clock;
  v_occupancy integer;
  v_sampled boolean;
begin
  if v_user_id is not null then
    perform whatssound.renew_lease(p_session_id, v_user_id);
    perform whatssound.retick(p_session_id);
    v_frame := whatssound.try_frame(p_session_id);
    perform whatssound.try_pulse(p_session_id);
  end if;
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  v_occupancy := whatssound.occupancy(p_session_id);
  v_sampled := v_user_id is not null
    and whatssound.is_sampled(whatssound.lease_bucket(p_session_id, v_user_id), v_clock.sampling);
  return jsonb_build_object(
    'last_seq', v_clock.last_seq, 'occupancy', v_occupancy, 'server_time', clock_timestamp(),
    'sampled', v_sampled, 'heartbeat_s', whatssound.heartbeat_seconds(v_clock, v_occupancy, v_sampled),
    'frame', coalesce(v_frame, whatssound.frame_status(v_clock)) - 'from_seq' - 'to_seq', 'feed', whatssound.feed_json(v_clock));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.heartbeat(uuid) is
  'Everybody who may see the session: says what is new and when to call again; a signed-in caller counts as present for 90 s, in large rooms if sampled. Definer: tables take no direct writes.';
