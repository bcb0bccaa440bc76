-- Each role against each table: what may be read, and that nothing may be written directly.
begin;
\ir helpers.psql
select * from no_plan();

create temporary table attempts as
  select c.oid::regclass::text as target, r.role, w.sql
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  cross join (values ('anon'), ('authenticated'), ('service_role')) r (role)
  cross join lateral (values
    (format('insert into %s default values', c.oid::regclass)),
    (format('delete from %s', c.oid::regclass)),
    (format('truncate %s', c.oid::regclass)),
    (format('update %s set %I = %2$I', c.oid::regclass, (
      select a.attname from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        and a.attgenerated = '' and a.attidentity = '' order by a.attnum limit 1)))) w (sql)
  where n.nspname in ('public', 'whatssound') and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = 'postgres';
grant select on attempts to public;

create temporary table written (role text, sql text, came_to text);
grant all on written to public;
do $$
declare
  v record;
begin
  for v in select * from attempts loop
    perform set_config('role', v.role, true);
    insert into written values (v.role, v.sql, pg_temp.outcome(v.sql));
  end loop;
  perform set_config('role', 'none', true);
end $$;
select cmp_ok((select count(*) from written), '>=', 500::bigint, 'every table and partition was attacked');
select is_empty($$ select * from written where came_to <> '42501' $$, 'no role writes any table, partition or internal directly');

create temporary table looked as
  select c.oid::regclass::text as target, r.role, null::text as came_to
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  cross join (values ('anon'), ('authenticated'), ('service_role')) r (role)
  where n.nspname = 'whatssound' and c.relkind in ('r', 'p');
grant all on looked to public;
do $$
declare
  v record;
begin
  for v in select * from looked loop
    perform set_config('role', v.role, true);
    update looked l set came_to = pg_temp.outcome(format('select 1 from %s', v.target)) where l.target = v.target and l.role = v.role;
  end loop;
  perform set_config('role', 'none', true);
end $$;
select cmp_ok((select count(*) from looked), '>=', 90::bigint, 'partitions and internals were looked at');
select is_empty($$ select * from looked where came_to <> '42501' $$, 'no role reads a partition or an internal');

-- Role anon looks at public sessions only.
select pg_temp.as_anon();
select results_eq('select id from sessions where id in (' || quote_literal(:open) || ',' || quote_literal(:closed) || ')',
  array[:open::uuid], 'anon sees the public session only');
select is(pg_temp.outcome('select session_snapshot(' || quote_literal(:open) || ')'), 'ok', 'anon takes a snapshot of a public session');
select is(pg_temp.outcome('select events_since(' || quote_literal(:open) || ', 0)'), 'ok', 'anon reads its events');
select is(pg_temp.outcome('select message_history(' || quote_literal(:open) || ')'), 'ok', 'anon reads its history');
select is(pg_temp.outcome('select heartbeat(' || quote_literal(:open) || ')'), 'ok', 'anon may ask what is new');
select is((heartbeat(:open) ->> 'occupancy')::integer, 0, 'but does not count as present');
select is(pg_temp.outcome(format('select %s', f)), '42501', 'anon may not call ' || f)
from unnest(array[
  'confirm_tip(gen_random_uuid())', 'create_session(''x'')', 'join_session(gen_random_uuid())', 'set_profile(''x'')',
  'insert_messages(gen_random_uuid(), ''[]'')', 'cast_vote(gen_random_uuid(), gen_random_uuid(), 1::smallint, gen_random_uuid())',
  'retract_vote(gen_random_uuid(), gen_random_uuid(), gen_random_uuid())', 'send_tip(gen_random_uuid(), 1, ''EUR'')',
  'enqueue_song(gen_random_uuid(), ''x'')', 'move_queue_item(gen_random_uuid(), gen_random_uuid())',
  'remove_queue_item(gen_random_uuid(), gen_random_uuid())', 'advance_queue(gen_random_uuid())', 'end_session(gen_random_uuid())',
  'update_session(gen_random_uuid())', 'set_member_role(gen_random_uuid(), gen_random_uuid(), ''listener'')',
  'mute_member(gen_random_uuid(), gen_random_uuid(), 1)', 'ban_member(gen_random_uuid(), gen_random_uuid())',
  'delete_message(gen_random_uuid(), gen_random_uuid())', 'set_slow_mode(gen_random_uuid(), 1)', 'freeze_chat(gen_random_uuid())',
  'flush_frame(gen_random_uuid())', 'send_reactions(gen_random_uuid(), ''{}'')', 'upkeep()', 'configure_project()', 'forget_user(gen_random_uuid())']) f;

-- A private session and one that does not exist answer alike, by every way in.
select pg_temp.as_user(:eve);
select enqueue_song(:open, 'Mine', p_key => 'c0000000-0000-4000-8000-000000000001') is not null,
  send_tip(:open, 1, 'EUR', null, 'c0000000-0000-4000-8000-000000000001') is not null;
select is(
  pg_temp.outcome(format('select %s', replace(f, '$1', quote_literal(:closed) || '::uuid'))),
  pg_temp.outcome(format('select %s', replace(f, '$1', 'gen_random_uuid()'))), 'a stranger learns nothing from ' || f)
from unnest(array['session_snapshot($1)', 'events_since($1, 0)', 'message_history($1)', 'heartbeat($1)', 'flush_frame($1)',
  'join_session($1)', 'send_reactions($1, ''{"x": 1}'')', 'send_reactions($1, ''{}'')', 'song_leaderboard($1)', 'insert_messages($1, ''[]'')', 'end_session($1)',
  'cast_vote($1, gen_random_uuid(), 1::smallint, gen_random_uuid())', 'send_tip($1, 1, ''EUR'', null, gen_random_uuid())',
  'enqueue_song($1, ''x'', p_key => gen_random_uuid())', 'enqueue_song($1, ''x'')', 'advance_queue($1)', 'remove_queue_item($1, gen_random_uuid())',
  -- Nor by a key that was used elsewhere.
  'cast_vote($1, gen_random_uuid(), 1::smallint, ''c0000000-0000-4000-8000-000000000001'')',
  'send_tip($1, 2, ''EUR'', null, ''c0000000-0000-4000-8000-000000000001'')',
  'enqueue_song($1, ''x'', p_key => ''c0000000-0000-4000-8000-000000000001'')', 'set_slow_mode($1, 1)', 'delete_message($1, gen_random_uuid())']) f;
select is(pg_temp.outcome('select session_snapshot(' || quote_literal(:closed) || ')'), 'PT404 session_not_found', 'namely 404');
select is_empty('select 1 from sessions where id = ' || quote_literal(:closed), 'nor from the table of sessions');
select is_empty('select 1 from queue_items where session_id = ' || quote_literal(:closed), 'nor from the queue');
select is_empty('select 1 from songs where title = ''Hidden song''', 'nor from the songs');
select is_empty('select 1 from session_members where session_id = ' || quote_literal(:closed), 'nor from the members');
select is(pg_temp.outcome('select muted_until from session_members'), '42501', 'who is muted is not for everybody');
select is(pg_temp.outcome('select banned from session_members'), '42501', 'nor who is banned');
select is(pg_temp.outcome('select key from tips'), '42501', 'nor are idempotency keys');
select is(pg_temp.outcome('select provider_ref from tips'), '42501', 'nor references of the payment provider');
select is(pg_temp.outcome('select 1 from session_events'), '42501', 'the event log is read through events_since only');
select is(pg_temp.outcome('select confirm_tip(gen_random_uuid())'), '42501', 'a user may not confirm tips');
select is(pg_temp.outcome('select whatssound.refusals()'), '42501', 'internals may not be called');

select pg_temp.as_user(:ana);
select isnt_empty('select 1 from queue_items where session_id = ' || quote_literal(:closed), 'a member sees the private queue');
select isnt_empty('select 1 from songs where title = ''Hidden song''', 'and its songs');
select is_empty('select 1 from moderation_log', 'a listener does not see the moderation log');
select pg_temp.as_user(:dj);
select isnt_empty('select 1 from moderation_log where session_id = ' || quote_literal(:open), 'the DJ does');

-- A token without a user.
select pg_temp.as_owner();
select set_config('request.jwt.claims', '{"role": "authenticated"}', true), set_config('role', 'authenticated', true);
select is(pg_temp.outcome('select create_session(''x'')'), 'PT401 not_signed_in', 'a token without a user creates nothing');
select is(pg_temp.outcome('select insert_messages(' || quote_literal(:open) || ', ''[]'')'), 'PT401 not_signed_in', 'and says nothing');
select * from finish();
rollback;
