-- Large rooms: who holds leases, how often one calls, pulses, and the share of the plan.
begin;
\ir helpers.psql
select * from no_plan();

create temporary view sent as
  select m.payload, row_number() over (order by m.payload ->> 'server_time') as place from realtime.messages m
  where m.topic = 'session:a0000000-0000-4000-8000-000000000001:frames' and m.event = 'frame' and m.private;
create function pg_temp.last_frame() returns jsonb language sql as $$ select payload from sent order by place desc limit 1 $$;
-- A clock to compute with.
create function pg_temp.clock(p_change jsonb) returns session_clock language sql as $$
  select jsonb_populate_record(c, p_change) from session_clock c where c.session_id = 'a0000000-0000-4000-8000-000000000001'
$$;
-- As if the room had been measured ten seconds ago, alone in the project.
create function pg_temp.let_measure() returns void language sql security definer as $$
  update public.session_clock set rate_at = clock_timestamp() - interval '10 seconds' where session_id = 'a0000000-0000-4000-8000-000000000001';
  update whatssound.crowd set measured_at = '-infinity'
$$;
update session_clock set occupancy = 0;

-- The sample.
select is(whatssound.lease_bucket(:open, :ana), whatssound.lease_bucket(:open, :ana), 'a user has one bucket in a session');
select is(whatssound.lease_bucket('a0000000-0000-4000-8000-000000000001', 'd0000000-0000-4000-8000-00000000000a'), 976511,
  'the same in every version of Postgres');
select is((select count(*) from generate_series(1, 4096) n where whatssound.is_sampled(n, 3)), 512::bigint, 'sampling 3 takes one bucket in eight');
select is_empty('select 1 from generate_series(1, 4096) n where whatssound.is_sampled(n, 4) and not whatssound.is_sampled(n, 3)', 'samples are nested');
select is(whatssound.wanted_sampling(k, n), wanted, format('%s people at sampling %s', n, k))
from (values (0, 0, 0), (0, 1, 0), (0, 1000, 0), (0, 1001, 1), (0, 5000, 3), (0, 50000, 6), (0, 100000, 7), (6, 50000, 6), (6, 26000, 6),
  (6, 25000, 5), (6, 64001, 7), (6, 500, 0), (1, 800, 1), (1, 799, 0), (3, 0, 0), (20, 2000000000, 20)) v (k, n, wanted);

-- How often to call.
create function pg_temp.every(p_people integer, p_sampled boolean, p_frames boolean default true) returns integer language sql as $$
  select whatssound.heartbeat_seconds(
    pg_temp.clock(jsonb_build_object('sampling', whatssound.wanted_sampling(0, p_people), 'frames', p_frames)), p_people, p_sampled)
$$;
select is(pg_temp.every(n, true), 25, 'who is sampled calls every 25 s, among ' || n) from unnest(array[1, 1000, 1001, 50000]) n;
select is(pg_temp.every(n, false), s, format('who is not, every %s s among %s', s, n))
from (values (1, 25), (1000, 25), (1001, 25), (5000, 125), (10000, 268), (100000, 300)) v (n, s);
select is(pg_temp.every(50000, false, false), 25, 'without frames everybody calls: nothing else tells them of news');
select is_empty($$
  select 1 from (
    select n, lag(cost) over (order by n) as before, cost, total from (
      select n, share / 25.0 + (1 - share) / pg_temp.every(n, false) as cost,
             n * (share / 25.0 + (1 - share) / pg_temp.every(n, false)) as total
      from unnest(array[10, 100, 1000, 2000, 5000, 10000, 18000, 30000, 50000, 100000]) n,
           lateral (select 1.0 / (1 << whatssound.wanted_sampling(0, n)) as share) s) c) d
  where cost > before or (n <= 11000 and total > 61)
$$, 'the larger the room the less a listener costs, and up to 11,000 all together call 60 times a second at most');

-- In a large room.
select pg_temp.as_service();
select configure_project(p_events_per_second => 2500) is not null;
select pg_temp.as_owner();
insert into whatssound.leases select :open, md5('listener' || n)::uuid, now() + interval '90 seconds' from generate_series(1, 5000) n;
select pg_temp.let_measure();
select pg_temp.as_user(:dj);
create temporary table h as select heartbeat(:open) as r;
select pg_temp.as_owner();
select is((select sampling from session_clock where session_id = :open), 3::smallint, 'five thousand: one in eight holds a lease');
select ok((r ->> 'occupancy')::integer between 4500 and 5500, 'and they are still about as many') from h;
create temporary table who as
  select md5('listener' || n)::uuid as id, whatssound.is_sampled(whatssound.lease_bucket(:open, md5('listener' || n)::uuid), 3) as sampled
  from generate_series(1, 100) n;
delete from whatssound.leases where session_id = :open and user_id in (select id from who);
create function pg_temp.beat(p_user_id uuid) returns jsonb language plpgsql as $$
declare
  v_reply jsonb;
begin
  perform pg_temp.as_user(p_user_id);
  v_reply := public.heartbeat('a0000000-0000-4000-8000-000000000001');
  perform pg_temp.as_owner();
  return v_reply;
end $$;
create temporary table replies as select w.*, pg_temp.beat(w.id) as r from who w;
select is_empty('select 1 from replies where (r ->> ''sampled'')::boolean <> sampled', 'each is told whether they count');
select is((select array_agg(distinct (r ->> 'heartbeat_s')::integer) from replies where sampled), array[25], 'who does calls every 25 s');
select ok((select min((r ->> 'heartbeat_s')::integer) from replies where not sampled) > 100, 'the others every two minutes');
select set_eq(format('select l.user_id from whatssound.leases l join who on id = l.user_id where l.session_id = %L', :open), 'select id from who where sampled', 'only who counts gets a lease');
select pg_temp.as_anon();
select is(heartbeat(:open) -> 'sampled', 'false', 'role anon never counts');
select is(jsonb_typeof(heartbeat(:open) -> 'heartbeat_s'), 'number', 'and is told when to call again');

-- Shrinking: counted from the smaller sample until the wider one is complete.
select pg_temp.as_owner();
delete from whatssound.leases l where l.session_id = :open and l.user_id not in (select md5('listener' || n)::uuid from generate_series(1, 1800) n);
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) ->> 'occupancy')::integer between 1600 and 2000, true, 'eighteen hundred are left');
select results_eq(format('select sampling::integer, maturing::integer, counted::integer from session_clock where session_id = %L', :open),
  'values (1, 1, 3)', 'every second one is to call, every eighth is counted');
select pg_temp.let_measure();
select pg_temp.beat(:dj) is not null;
select is(counted, 3::smallint, 'for as long as somebody may not know') from session_clock where session_id = :open;
insert into whatssound.leases select :open, md5('listener' || n)::uuid, now() + interval '90 seconds' from generate_series(1, 1800) n
where whatssound.is_sampled(whatssound.lease_bucket(:open, md5('listener' || n)::uuid), 1) on conflict do nothing;
update session_clock set maturing_since = now() - interval '331 seconds' where session_id = :open;
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) ->> 'occupancy')::integer between 1720 and 1880, true, 'then from the wider one, which is the better for it');
select is(counted, 1::smallint, 'which is complete by now') from session_clock where session_id = :open;
select is((r).sampling || ' ' || (r).maturing || ' ' || (r).counted, '2 3 6', 'one lowering matures at a time')
from (select whatssound.resample(pg_temp.clock('{"sampling": 3, "maturing": 3, "counted": 6, "maturing_since": "2026-01-01", "occupancy": 3000}'), '2026-01-01 00:01') as r) x;
select is((r).sampling || ' ' || (r).maturing || ' ' || (r).counted, '0 3 6', 'what falls on meanwhile waits')
from (select whatssound.resample(pg_temp.clock('{"sampling": 3, "maturing": 3, "counted": 6, "maturing_since": "2026-01-01", "occupancy": 700}'), '2026-01-01 00:05') as r) x;
select is((r).sampling || ' ' || (r).maturing || ' ' || (r).counted, '0 0 3', 'and matures next')
from (select whatssound.resample(pg_temp.clock('{"sampling": 0, "maturing": 3, "counted": 6, "maturing_since": "2026-01-01", "occupancy": 700}'), '2026-01-01 00:06') as r) x;
select is((r).sampling || ' ' || (r).maturing || ' ' || (r).counted, '6 6 6', 'a room that grows again is counted from the sample it has')
from (select whatssound.resample(pg_temp.clock('{"sampling": 0, "maturing": 3, "counted": 6, "maturing_since": "2026-01-01", "occupancy": 50000}'), '2026-01-01 00:01') as r) x;

-- Pulses.
select cmp_ok((select tick_ms from session_clock where session_id = :open), '>', 0, 'a large room has a tick');
select flush_frame(:open) is not null from (select pg_temp.as_user(:dj)) x;
select pg_temp.as_owner();
create function pg_temp.frames_after(p_silence interval, p_change jsonb default '{}') returns bigint language plpgsql as $$
declare
  v_before bigint := (select count(*) from sent);
begin
  update public.session_clock c set framed_at = clock_timestamp() - p_silence, rate_at = clock_timestamp(),
    tick_ms = coalesce((p_change ->> 'tick_ms')::integer, c.tick_ms), sampling = coalesce((p_change ->> 'sampling')::integer, c.sampling),
    frames = coalesce((p_change ->> 'frames')::boolean, c.frames)
  where c.session_id = 'a0000000-0000-4000-8000-000000000001';
  perform pg_temp.beat('d0000000-0000-4000-8000-000000000001');
  return (select count(*) from sent) - v_before;
end $$;
update session_clock set framed_seq = last_seq where session_id = :open;
select is(pg_temp.frames_after('19 seconds'), 0::bigint, 'nothing happens: nothing is sent');
select is(pg_temp.frames_after('21 seconds'), 1::bigint, 'for twenty seconds; then a heartbeat sends a pulse');
select is(f -> 'events', '[]', 'without events') from pg_temp.last_frame() f;
select is((f ->> 'last_seq')::bigint, (select last_seq from session_clock where session_id = :open), 'saying how far the log goes') from pg_temp.last_frame() f;
select is(f -> 'from_seq', 'null', 'covering none of it') from pg_temp.last_frame() f;
select is(pg_temp.frames_after('0 seconds'), 0::bigint, 'one is enough');
select is(pg_temp.frames_after('21 seconds', '{"tick_ms": 30000}'), 0::bigint, 'no tick is cut short');
select is(pg_temp.frames_after('31 seconds', '{"tick_ms": 30000}'), 1::bigint, 'but followed');
select is(pg_temp.frames_after('21 seconds', '{"tick_ms": 0}'), 1::bigint, 'a sampled room at tick 0 has pulses, too');
select is(pg_temp.frames_after('21 seconds', '{"tick_ms": 0, "sampling": 0}'), 0::bigint, 'a small one none: there everybody calls');
select is(pg_temp.frames_after('21 seconds', '{"tick_ms": 500, "frames": false}'), 0::bigint, 'nor a room without frames');
select update_session(:open, '{"tick_ms": 60000}') is not null from (select pg_temp.as_service()) x;
select pg_temp.as_owner();
update session_clock set frames = true, framed_at = clock_timestamp() - interval '25 seconds' where session_id = :open;
select is(pg_temp.frames_after('25 seconds'), 0::bigint, 'what waits is not put off by a pulse');

-- The share of the plan.
select is(whatssound.session_budget(n, others, 2500), share::double precision, format('%s beside %s others', n, others))
from (values (1000, 0, 2500.0), (1000, 1000, 1250.0), (0, 0, 2500.0), (0, 9, 250.0), (10, -5, 2500.0)) v (n, others, share);
create function pg_temp.tick(p_people integer, p_budget integer, p_rates jsonb default '{}', p_before integer default 0) returns integer language sql as $$
  select whatssound.wanted_tick(pg_temp.clock(p_rates || jsonb_build_object('occupancy', p_people, 'budget', p_budget, 'tick_ms', p_before)))
$$;
update session_clock set rate = 0, chat_rate = 0, bare_rate = 0 where session_id = :open;
select is(pg_temp.tick(n, b, rates::jsonb), t, format('%s people on %s, %s: %s ms', n, b, rates, t))
from (values (150, 500, '{}', 0), (151, 500, '{}', 378), (335, 2500, '{}', 0), (1000, 2500, '{"rate": 1.6}', 500), (100, 2500, '{"rate": 15}', 0),
  (100, 2500, '{"rate": 15.1}', 250),
  -- Chat by broadcast costs once more what its frame costs, reactions their frames.
  (100, 2500, '{"rate": 7, "chat_rate": 7}', 0), (100, 2500, '{"rate": 7.5, "chat_rate": 7.5}', 250),
  (100, 2500, '{"rate": 14, "bare_rate": 1}', 0), (100, 2500, '{"rate": 14, "bare_rate": 1.1}', 250),
  (2, 1, '{}', 0), (0, 1, '{}', 0), (10000, 100, '{}', 60000)) v (n, b, rates, t);
select is(pg_temp.tick(125, 500, '{}', 600), 313, 'a room at the border stays as it is');
select is(pg_temp.tick(120, 500, '{}', 600), 0, 'until it is well below');

update session_clock set fixed_tick = false, frames = true, tick_ms = 0, rate = 0, framed_seq = last_seq, rate_seq = last_seq,
  sampling = 0, maturing = 0, counted = 0 where session_id = :open;
delete from whatssound.leases where session_id = :open;
insert into whatssound.leases select :open, md5('listener' || n)::uuid, now() + interval '90 seconds' from generate_series(1, 299) n;
update session_clock set occupancy = 700, rate_at = now() where session_id = :closed;
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) #>> '{feed,budget}')::numeric, 750.0, 'three hundred beside seven hundred have three tenths of the plan');
select is((session_snapshot(:open) #>> '{feed,events_per_second}')::integer, 2500, 'of which the feed tells, too') from (select pg_temp.as_user(:dj)) x;
select pg_temp.as_owner();
update session_clock set rate_at = now() - interval '3 minutes' where session_id = :closed;
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) #>> '{feed,budget}')::numeric, 2500.0, 'a room of which nothing is heard has no share');
update session_clock set rate_at = now() where session_id = :closed;
select end_session(:closed) is not null from (select pg_temp.as_user(:dj)) x;
select pg_temp.as_owner();
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) #>> '{feed,budget}')::numeric, 2500.0, 'nor has one that has ended');
truncate whatssound.crowd;
select pg_temp.let_measure();
select is((pg_temp.beat(:dj) #>> '{feed,budget}')::numeric, 2500.0, 'after a crash the sum is made again');
select is((select count(*) from whatssound.crowd), 1::bigint, 'once');

-- What is measured.
update session_clock set rate = 0, chat_rate = 0, rate_seq = last_seq where session_id = :open;
select pg_temp.as_user(:ana);
select pg_temp.say(:open, 'one') is not null, pg_temp.say(:open, 'two') is not null, pg_temp.say(:open, 'three') is not null,
  cast_vote(:open, :song, 1::smallint, gen_random_uuid()) is not null;
select pg_temp.as_owner();
update session_clock set bare_frames = 20 where session_id = :open;
select pg_temp.let_measure();
select pg_temp.beat(:dj) is not null;
select results_eq(format('select round(rate::numeric, 1), round(chat_rate::numeric, 1), round(bare_rate::numeric), bare_frames, occupancy from session_clock where session_id = %L', :open),
  'values (0.4, 0.3, 2::numeric, 0, 300)', 'events, chat among them, frames without events, people');

select * from finish();
rollback;
