-- Reading, the dense log, frames and heartbeats.
begin;
\ir helpers.psql
select * from no_plan();

-- The log.
select pg_temp.as_user(:ana);
create temporary table page as select events_since(:open, 0, 2) as r;
select is(jsonb_array_length(r -> 'events'), 2, 'a page has as many events as asked for') from page;
select is(r ->> 'more', 'true', 'and says that there is more') from page;
select is(r ->> 'oldest_seq', '1', 'and which is the oldest kept') from page;
select is(events_since(:open, (r ->> 'last_seq')::bigint) -> 'events', '[]'::jsonb, 'nothing since the last') from page;
select is(events_since(:open, (r ->> 'last_seq')::bigint) ->> 'more', 'false', 'and no more') from page;
select is(pg_temp.outcome(format('select events_since(%L, -1)', :open)), 'PT422 invalid_argument', 'a negative seq');
select is(pg_temp.outcome(format('select events_since(%L, null)', :open)), 'PT422 invalid_argument', 'no seq');

-- History.
select pg_temp.say(:open, n::text) is not null from generate_series(1, 5) n;
create temporary table h as select message_history(:open, null, 2) as r;
select results_eq($$ select e.value ->> 'content' from h, jsonb_array_elements(r -> 'messages') with ordinality e (value, place) order by e.place $$, array['5', '4'], 'newest first');
select is(r ->> 'more', 'true', 'more to come') from h;
create temporary table h2 as select message_history(:open, (r #>> '{messages,1,seq}')::bigint, 3) as r from h;
select results_eq($$ select e.value ->> 'content' from h2, jsonb_array_elements(r -> 'messages') with ordinality e (value, place) order by e.place $$, array['3', '2', '1'], 'the next page goes on');
select is(r ->> 'more', 'false', 'to the end') from h2;
select results_eq(format($$ select e.value ->> 'content' from jsonb_array_elements(session_snapshot(%L, 2) -> 'messages') with ordinality e (value, place) order by e.place $$, :open), array['4', '5'], 'the snapshot has them oldest first');
select is(session_snapshot(:open, 0) -> 'messages', '[]'::jsonb, 'or none');

-- The snapshot.
select cast_vote(:open, :song, 1::smallint, gen_random_uuid()) is not null;
create temporary table s as select session_snapshot(:open) as r;
select is(r #>> '{me,username}', 'ana', 'the snapshot says who one is') from s;
select is(r -> 'my_votes', jsonb_build_object(:song, 1), 'and what one voted') from s;
select is(r -> 'seq', r -> 'last_seq', 'and for which seq it is true') from s;
select is(r #> '{feed,joinable}', 'true'::jsonb, 'and that the topics may be joined') from s;
select pg_temp.as_anon();
select is(session_snapshot(:open) -> 'me', 'null'::jsonb, 'role anon is nobody');
select is(session_snapshot(:open) #> '{feed,joinable}', 'false'::jsonb, 'and may not join');

-- Creating.
select pg_temp.as_user(:ana);
select is(create_session('Again', '{}', 'a0000000-0000-4000-8000-0000000000aa') #>> '{session,title}', 'Again', 'a session');
select is(create_session('Other', '{}', 'a0000000-0000-4000-8000-0000000000aa') #>> '{session,title}', 'Again', 'the same id again is the same session');
select pg_temp.as_user(:bo);
select is(pg_temp.outcome($$select create_session('Mine', '{}', 'a0000000-0000-4000-8000-0000000000aa')$$), 'PT409 id_conflict', 'for others the id is taken');
select is(pg_temp.outcome('select create_session(' || a || ')'), 'PT422 invalid_argument', 'not a session: ' || a)
from unnest(array['''''', '''  ''', 'null', 'repeat(''x'', 201)', '''a'', ''{"nope": 1}''', '''a'', ''[]''', '''a'', null', '''a'', ''{"visibility": 1}''']) a;
select is(create_session('Floats', '{"slow_mode_seconds": 0.0, "max_message_length": 5e2, "max_tip_amount": 7.00, "tick_ms": 0.0}') #> '{session,settings}'
  @> '{"slow_mode_seconds": 0, "max_message_length": 500, "max_tip_amount": 7, "tick_ms": 0}', true, 'whole numbers, however they are written');
select is(pg_temp.say((select id from sessions where title = 'Floats'), 'hi') ->> 'status', 'stored', 'the room works with them');
select is(set_profile('Bo Bo', 'https://example.org/a.png') #>> '{profile,username}', 'Bo Bo', 'a profile');
select is(pg_temp.outcome('select set_profile(' || a || ')'), 'PT422 invalid_argument', 'not a profile: ' || a)
from unnest(array['''''', 'null', 'repeat(''x'', 33)', 'E''a\nb''', '''a'' || chr(8238)', '''a'', ''ftp://x''']) a;

-- Frames: at tick 0 every write sends one.
select pg_temp.as_owner();
create temporary view sent as
  select m.payload, row_number() over (order by m.inserted_at, (m.payload ->> 'to_seq')::bigint) as place from realtime.messages m
  where m.topic = 'session:a0000000-0000-4000-8000-000000000001:frames' and m.event = 'frame' and m.private and m.extension = 'broadcast';
select is_empty($$ select 1 from (select (payload ->> 'from_seq')::bigint as f, lag((payload ->> 'to_seq')::bigint, 1, 0::bigint) over (order by place) as t from sent) x where f <> t + 1 $$,
  'frames follow each other without a hole');
select is_empty($$ select 1 from sent where jsonb_array_length(payload -> 'events') <> (payload ->> 'to_seq')::bigint - (payload ->> 'from_seq')::bigint + 1 $$, 'each has all its events');
select is((select max((payload ->> 'to_seq')::bigint) from sent), (select last_seq from session_clock where session_id = :open), 'up to the last');
select is(payload -> 'tallies', jsonb_build_array(jsonb_build_object('song_id', :song, 'up', 1, 'down', 0, 'score', 1, 'seq', (payload ->> 'to_seq')::bigint)), 'with the tallies that changed')
from sent where payload #>> '{events,0,kind}' = 'vote';

-- With a tick they gather.
select pg_temp.as_user(:dj);
select update_session(:open, '{"tick_ms": 60000}') is not null;
create temporary table w as select set_slow_mode(:open, 1) as r;
select is(r #>> '{frame,pending}', 'true', 'within a tick the frame is pending') from w;
select ok((r #>> '{frame,wait_ms}')::integer between 50000 and 60000, 'for the rest of the tick') from w;
select is(flush_frame(:open) ->> 'sent', 'false', 'and not sent on request');
select pg_temp.as_owner();
update session_clock set framed_at = now() - interval '61 seconds' where session_id = :open;
select pg_temp.as_user(:ana);
create temporary table f as select flush_frame(:open) as r;
select is(r ->> 'sent', 'true', 'after the tick any member sends it') from f;
select is(r -> 'to_seq', r -> 'last_seq', 'whole') from f;
select is(flush_frame(:open) ->> 'sent', 'false', 'once');
select pg_temp.as_owner();
update session_clock set framed_at = now() - interval '61 seconds' where session_id = :open;
select pg_temp.as_user(:dj);
select is(heartbeat(:open) #>> '{frame,pending}', 'false', 'nothing new, nothing to send');
select update_session(:open, '{"frames": false}') is not null;
select is(set_slow_mode(:open, 2) #>> '{frame,pending}', 'false', 'without frames nothing is pending');
select update_session(:open, '{"frames": true, "tick_ms": 0}') is not null;
select pg_temp.as_owner();
select cmp_ok((payload ->> 'from_seq')::bigint, '>', (select max(seq) - 2 from session_events where session_id = :open), 'frames that come on again do not repeat what was missed')
from sent order by place desc limit 1;
-- A frame never grows beyond what the plan lets through.
update whatssound.project set frame_max_bytes = 10000;
select pg_temp.as_service();
select set_slow_mode(:open, 0) is not null;
create temporary table big as select insert_messages(:open, (select json_agg(json_build_object('id', pg_temp.uuid7(), 'content', repeat('x', 400), 'user_id', :ana)) from generate_series(1, 100))) as r;
select is(r #>> '{frame,pending}', 'true', 'what does not fit waits for the next frame') from big;
select is((select count(*) from generate_series(1, 10) where flush_frame(:open) ->> 'sent' = 'true') between 4 and 8, true, 'which follow');
select pg_temp.as_owner();
select is((select framed_seq from session_clock where session_id = :open), (select last_seq from session_clock where session_id = :open), 'to the end');
select cmp_ok((select max(octet_length(payload::text)) from sent), '<', 12000, 'none is too large');

-- Heartbeats: one lease a user.
select pg_temp.as_user(:ana);
select is((heartbeat(:open) ->> 'occupancy')::integer, 2, 'ana and the DJ are here');
select is((heartbeat(:open) ->> 'occupancy')::integer, 2, 'calling twice does not count twice');
select pg_temp.as_user(:bo);
select is((heartbeat(:open) ->> 'occupancy')::integer, 3, 'three are here');
select pg_temp.as_user(:dj);
select ban_member(:open, :bo) is not null;
select is((heartbeat(:open) ->> 'occupancy')::integer, 2, 'who is banned is not here');
select pg_temp.as_owner();
update whatssound.leases set expires_at = now() - interval '1 second' where user_id = :ana;
select is((session_snapshot(:open) ->> 'occupancy')::integer, 1, 'who stopped calling is gone') from (select pg_temp.as_user(:dj)) x;

-- The tick follows the room and the plan, of which other rooms have no part here.
select pg_temp.as_owner();
update session_clock set occupancy = 0;
update whatssound.crowd set measured_at = '-infinity';
insert into whatssound.leases select :open, gen_random_uuid(), now() + interval '90 seconds' from generate_series(1, 999);
update session_clock set rate_at = now() - interval '10 seconds' where session_id = :open;
select pg_temp.as_service();
select configure_project(p_events_per_second => 2500) is not null, update_session(:open, '{"tick_ms": null}') is not null;
select pg_temp.as_user(:dj);
select is((heartbeat(:open) #>> '{feed,tick_ms}')::integer, 500, 'a thousand on 2,500 events a second: 500 ms');
select is(session_snapshot(:open) #>> '{feed,chat_path}', 'stored', 'and chat is stored first');
select pg_temp.as_owner();
delete from whatssound.leases where user_id <> :dj;
update session_clock set rate_at = now() - interval '1000 seconds', rate_seq = last_seq, rate = 0 where session_id = :open;
select pg_temp.as_user(:dj);
select is((heartbeat(:open) #>> '{feed,tick_ms}')::integer, 0, 'alone again: at once');
select * from finish();
rollback;
