-- Partitions of messages and what upkeep does.
begin;
\ir helpers.psql
select * from no_plan();

select is((select count(*) from pg_inherits i where i.inhparent = 'public.messages'::regclass
  and whatssound.partition_end(i.inhrelid::regclass) > now()) >= 25, true, 'there are partitions for 24 months to come');
select is_empty($$ select 1 from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'public.messages'::regclass and pg_get_expr(c.relpartbound, c.oid) = 'DEFAULT' $$, 'none is a default partition');
select is_empty($$ select i.inhrelid::regclass from pg_inherits i join pg_class c on c.oid = i.inhrelid
  where i.inhparent = 'public.messages'::regclass and (not c.relrowsecurity or c.relnamespace <> 'whatssound'::regnamespace) $$,
  'all are protected, in the unexposed schema');
select is(whatssound.make_message_partition(now()::date), false, 'making one that is there does nothing');
select is(whatssound.make_message_partition('2040-02-29'), true, 'one that is missing is made');
select is(whatssound.partition_end('whatssound.messages_2040_02'), '2040-03-01 00:00:00+00'::timestamptz, 'to the end of its month, UTC');
select is((select relrowsecurity from pg_class where oid = 'whatssound.messages_2040_02'::regclass), true, 'with row level security');
select is((select count(*) from aclexplode((select relacl from pg_class where oid = 'whatssound.messages_2040_02'::regclass)) a
  where a.grantee <> (select relowner from pg_class where oid = 'whatssound.messages_2040_02'::regclass)), 0::bigint, 'and without grants');

-- Month borders, whatever the session's time zone.
create function pg_temp.lands(p_at timestamptz) returns text language plpgsql as $$
declare
  v_id uuid := pg_temp.uuid7(p_at);
  v_place regclass;
begin
  insert into public.messages (id, session_id, user_id, username, role, content, created_at, seq)
  values (v_id, gen_random_uuid(), gen_random_uuid(), 'x', 'listener', 'x', whatssound.uuid7_time(v_id), 1) returning tableoid into v_place;
  return v_place::text;
end $$;
set local timezone = 'Pacific/Kiritimati';
select is(pg_temp.lands('2026-06-30 23:59:59.999+00'), 'whatssound.messages_2026_06', 'the last millisecond of June is June');
select is(pg_temp.lands('2026-07-01 00:00:00+00'), 'whatssound.messages_2026_07', 'the first of July is July');
select is(whatssound.make_message_partition('2041-05-05'), true, 'a partition made far east');
select is(whatssound.partition_end('whatssound.messages_2041_05'), '2041-06-01 00:00:00+00'::timestamptz, 'has the same borders');
set local timezone = 'America/Los_Angeles';
select is(pg_temp.lands('2026-07-01 00:00:00+00'), 'whatssound.messages_2026_07', 'in the west too');
set local timezone = 'UTC';

-- A year without upkeep: every month up to 24 ahead has a place.
select is_empty($$ select m from generate_series(now(), now() + interval '24 months', interval '1 month') m
  where to_regclass('whatssound.messages_' || to_char(m at time zone 'UTC', 'YYYY_MM')) is null $$, 'nobody looked after it for two years: nothing missing');
select is(pg_temp.lands(now() + interval '1 year') is not null, true, 'a message of next year is stored');

-- Upkeep.
select is((whatssound.run_upkeep(now() + interval '1 year') ->> 'partitions_made')::integer, 12, 'a year later upkeep makes twelve');
select is((whatssound.run_upkeep(now() + interval '1 year') ->> 'partitions_made')::integer, 0, 'and none the second time');
-- seq 5 is dated before seq 4: somebody set the clock back.
update session_events set created_at = now() - interval '80 hours' where session_id = :open and seq in (1, 2, 3, 5);
insert into whatssound.idempotency_keys values (:ana, gen_random_uuid(), 'x', '{}', '{}', now() - interval '80 hours');
insert into whatssound.leases values (:open, :ana, now() - interval '1 second');
select pg_temp.as_service();
create temporary table u as select upkeep() as r;
select is((r ->> 'events_deleted')::integer, 3, 'old events go') from u;
select is((r ->> 'keys_deleted')::integer, 1, 'old keys go') from u;
select is((r ->> 'leases_deleted')::integer, 1, 'dead leases go') from u;
select is(events_since(:open, 0) ->> 'oldest_seq', '4', 'the log says from where it is complete');
select is(pg_temp.outcome('select configure_project(p_message_retention_days => 5)'), 'PT422 invalid_argument', 'messages are kept a month at least');
select is(configure_project(p_message_retention_days => 90) ->> 'message_retention_days', '90', 'retention can be set');
select pg_temp.as_owner();
select is((whatssound.run_upkeep('2026-11-24 12:00:00+00') ->> 'partitions_dropped')::integer, 7, 'months past it are dropped: January to July');
select hasnt_table('whatssound', 'messages_2026_07', 'July is gone');
select has_table('whatssound', 'messages_2026_08', 'August is not, as some of it is younger');
select pg_temp.as_service();
select is(configure_project(p_message_retention_days => 0) ->> 'message_retention_days', null, 'or messages are kept for ever');
select pg_temp.as_owner();

-- pg_cron, where it is preloaded.
select case when exists (select from pg_extension where extname = 'pg_cron')
  then set_eq($$ select jobname, username from cron.job where jobname like 'whatssound%' $$,
    $$ values ('whatssound-upkeep', 'postgres'), ('whatssound-frames', 'postgres') $$, 'pg_cron runs upkeep and the net under frames')
  else skip('pg_cron is not preloaded here', 1) end;
select lives_ok('select whatssound.send_left_frames()', 'the net runs');
select * from finish();
rollback;
