-- The plan's events a second belong to the project: every live session gets the share of it that its people are of all
-- people, and sets its tick by that.
--
-- What a second of a room costs, in messages of the plan: at tick 0 a frame for every event and for reactions (one message a
-- listener), and for every chat message the author's own broadcast besides (one message a listener, and one for sending). With
-- a tick there is one frame a tick and no broadcast, as chat is stored first there.

alter table public.session_clock
  add column chat_rate double precision not null default 0,
  add column bare_rate double precision not null default 0,
  add column budget double precision;
comment on column public.session_clock.chat_rate is 'Of rate: chat messages a second.';
comment on column public.session_clock.bare_rate is 'Frames without events a second (reactions, pulses), smoothed, measured at heartbeats.';
comment on column public.session_clock.budget is 'The session''s share of the plan, messages a second; null before the first measurement: all of it.';

create unlogged table whatssound.crowd (
  only_row boolean primary key default true,
  occupancy bigint not null default 0,
  measured_at timestamptz not null default '-infinity',
  constraint crowd_only_row check (only_row)
);
comment on table whatssound.crowd is 'One row: how many people all live sessions have together, added up every 5 s at most. Unlogged: it is made again when missing.';
alter table whatssound.crowd enable row level security;
revoke all on whatssound.crowd from public, anon, authenticated, service_role;
insert into whatssound.crowd default values;

create function whatssound.count_crowd()
returns bigint
language plpgsql volatile
set search_path = ''
as $$
declare
  v_crowd whatssound.crowd;
begin
  select w.* into v_crowd from whatssound.crowd w;
  if v_crowd.measured_at >= clock_timestamp() - interval '5 seconds' then
    return v_crowd.occupancy;
  end if;
  if v_crowd.only_row is null then
    insert into whatssound.crowd default values on conflict do nothing;
  end if;
  perform from whatssound.crowd w for update skip locked;
  if not found then
    return coalesce(v_crowd.occupancy, 0);
  end if;
  -- A room that has not been measured for two minutes has had no heartbeat: nobody is left there.
  update whatssound.crowd w
  set measured_at = clock_timestamp(), occupancy = coalesce((
    select sum(c.occupancy) from public.sessions s join public.session_clock c on c.session_id = s.id
    where s.status = 'live' and c.rate_at > clock_timestamp() - interval '2 minutes'), 0)
  returning w.occupancy into v_crowd.occupancy;
  return v_crowd.occupancy;
end
$$;
comment on function whatssound.count_crowd() is 'How many people all live sessions have, at most about 10 s old; never waits for a lock.';
revoke all on function whatssound.count_crowd() from public, anon, authenticated, service_role;

create function whatssound.session_budget(p_occupancy integer, p_others bigint, p_events_per_second integer)
returns double precision
language sql immutable parallel safe
set search_path = ''
as $$
  select p_events_per_second * greatest(p_occupancy, 1)::double precision / (greatest(p_occupancy, 1) + greatest(p_others, 0))
$$;
comment on function whatssound.session_budget(integer, bigint, integer) is 'A session''s share of the plan, by its people among all.';
revoke all on function whatssound.session_budget(integer, bigint, integer) from public, anon, authenticated, service_role;

create function whatssound.load_at_once(p_clock public.session_clock)
returns double precision
language sql immutable
set search_path = ''
as $$
  -- A quiet room is taken for one that may come to life before it is measured again: an event a second, or where there are
  -- fewer than fifty people as many times less; with more than 75 people as much as a lively chat among them makes. A tick
  -- costs a quiet room no time, as its next event goes at once either way; without one, the first five seconds of a thousand
  -- people who begin to talk would take half a minute's messages.
  select p_clock.occupancy * (greatest(p_clock.rate, least(1, p_clock.occupancy / 50.0), p_clock.occupancy / 75.0) + p_clock.bare_rate)
    + (p_clock.occupancy + 1) * p_clock.chat_rate
$$;
comment on function whatssound.load_at_once(public.session_clock) is 'Messages a second of the plan that the room costs at tick 0.';
revoke all on function whatssound.load_at_once(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.wanted_tick(p_clock public.session_clock)
returns integer
language sql immutable
set search_path = ''
as $$
  -- Tick 0 is fine while its load stays under 60 % of the budget (back to it under 40 %, so that a room at the border does
  -- not flap); else as many ticks as 80 % of the budget pays for.
  select case
    when whatssound.load_at_once(p_clock) <= p_clock.budget * (case when p_clock.tick_ms = 0 then 0.6 else 0.4 end) then 0
    else least(60000, greatest(250, ceil(1000 * p_clock.occupancy / (0.8 * p_clock.budget))))::integer
  end
$$;
comment on function whatssound.wanted_tick(public.session_clock) is
  'The tick (ms) that keeps a room as measured within its budget.';
revoke all on function whatssound.wanted_tick(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.chat_share(p_clock public.session_clock)
returns double precision
language sql stable
set search_path = ''
as $$
  select coalesce(avg((e.kind = 'message')::integer), 0)::double precision from (
    select e.kind from public.session_events e
    where e.session_id = p_clock.session_id and e.seq > greatest(p_clock.rate_seq, p_clock.last_seq - 500)) e
$$;
comment on function whatssound.chat_share(public.session_clock) is 'How much of what happened since the last measurement was chat, 0 to 1.';
revoke all on function whatssound.chat_share(public.session_clock) from public, anon, authenticated, service_role;

create function whatssound.smoothed(p_before double precision, p_now double precision)
returns double precision
language sql immutable parallel safe
set search_path = ''
as $$ select greatest(p_now, (p_now + p_before) / 2) $$;
comment on function whatssound.smoothed(double precision, double precision) is 'A rate that rises at once and falls slowly.';
revoke all on function whatssound.smoothed(double precision, double precision) from public, anon, authenticated, service_role;

create function whatssound.measured(p_clock public.session_clock)
returns public.session_clock
language plpgsql volatile
set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_seconds double precision := extract(epoch from v_now - p_clock.rate_at);
  v_rate double precision := (p_clock.last_seq - p_clock.rate_seq) / v_seconds;
  -- Everybody but those here, if these were counted.
  v_others bigint := whatssound.count_crowd()
    - case when p_clock.rate_at > v_now - interval '2 minutes' then p_clock.occupancy else 0 end;
begin
  p_clock.chat_rate := whatssound.smoothed(p_clock.chat_rate, v_rate * whatssound.chat_share(p_clock));
  p_clock.rate := whatssound.smoothed(p_clock.rate, v_rate);
  p_clock.bare_rate := whatssound.smoothed(p_clock.bare_rate, p_clock.bare_frames / v_seconds);
  p_clock.bare_frames := 0;
  p_clock.rate_seq := p_clock.last_seq;
  p_clock.rate_at := v_now;
  p_clock.occupancy := whatssound.occupancy(p_clock.session_id);
  p_clock.budget := whatssound.session_budget(
    p_clock.occupancy, v_others, (select p.events_per_second from whatssound.project p));
  p_clock := whatssound.resample(p_clock, v_now);
  if not p_clock.fixed_tick then
    p_clock.tick_ms := whatssound.wanted_tick(p_clock);
  end if;
  return p_clock;
end
$$;
comment on function whatssound.measured(public.session_clock) is
  'The clock with the room''s rates, size, budget, sampling and tick as they are now; writes nothing of the room.';
revoke all on function whatssound.measured(public.session_clock) from public, anon, authenticated, service_role;

create or replace function whatssound.retick(p_session_id uuid)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_clock public.session_clock;
begin
  -- Looked at without a lock first, and skipped when somebody is writing: the next heartbeat will do it.
  perform from public.session_clock c
  where c.session_id = p_session_id and c.rate_at < clock_timestamp() - interval '5 seconds';
  if not found then
    return;
  end if;
  select c.* into v_clock from public.session_clock c
  where c.session_id = p_session_id and c.rate_at < clock_timestamp() - interval '5 seconds' for update skip locked;
  if not found then
    return;
  end if;
  v_clock := whatssound.measured(v_clock);
  update public.session_clock c
  set rate = v_clock.rate, chat_rate = v_clock.chat_rate, bare_rate = v_clock.bare_rate, bare_frames = v_clock.bare_frames,
      rate_seq = v_clock.rate_seq, rate_at = v_clock.rate_at, occupancy = v_clock.occupancy, budget = v_clock.budget,
      sampling = v_clock.sampling, maturing = v_clock.maturing, counted = v_clock.counted,
      maturing_since = v_clock.maturing_since, tick_ms = v_clock.tick_ms
  where c.session_id = p_session_id;
end
$$;
comment on function whatssound.retick(uuid) is
  'Every five seconds at most: measures the room and sets its tick, budget and sampling.';
drop function whatssound.wanted_tick(public.session_clock, double precision, integer, integer);

create or replace function whatssound.feed_json(p_clock public.session_clock)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'frames', p_clock.frames, 'tick_ms', p_clock.tick_ms, 'framed_seq', p_clock.framed_seq,
    -- In a room that needs ticks, a client broadcast a message would overrun the plan: chat is stored first there.
    'chat_path', case when p_clock.frames and p_clock.tick_ms > 0 then 'stored' else 'broadcast' end,
    'rate', round(p_clock.rate::numeric, 3),
    'events_per_second', p.events_per_second,
    'budget', round(coalesce(p_clock.budget, p.events_per_second)::numeric, 3))
  from whatssound.project p
$$;
comment on function whatssound.feed_json(public.session_clock) is
  'How the session''s events travel, the same for every client: budget is the session''s share of the plan''s events_per_second.';
