-- insert_messages: one outcome a row; every reason; duplicates first.
begin;
\ir helpers.psql
select * from no_plan();

create temporary table ids as select pg_temp.uuid7() as one, pg_temp.uuid7() as two;
grant select on ids to public;

select pg_temp.as_user(:ana);
select is(pg_temp.say(:open, 'hola', (select one from ids)) ->> 'status', 'stored', 'a message is stored');
select is(pg_temp.say(:open, 'hola', (select one from ids)) ->> 'status', 'duplicate', 'again it is a duplicate');
select is((pg_temp.say(:open, 'hola', (select one from ids)) ->> 'seq')::bigint,
  (select m.seq from messages m where m.id = (select one from ids)), 'with the seq it has');
select is(pg_temp.say(:open, 'other', (select one from ids)) ->> 'reason', 'id_conflict', 'other words under its id are a conflict');
select is((select m.created_at from messages m where m.id = (select one from ids)),
  whatssound_time.at, 'created_at is the time in the id')
from (select to_timestamp(('x' || left(replace((select one from ids)::text, '-', ''), 12))::bit(48)::bigint / 1000.0) as at) whatssound_time;

select pg_temp.as_user(:bo);
select is(pg_temp.say(:open, 'mine now', (select one from ids)) ->> 'status', 'stored', 'another author may use the same id');
select pg_temp.as_user(:ana);
select is(pg_temp.say(:open, 'hola', (select one from ids)) ->> 'status', 'duplicate', 'and takes nothing from the first');
select is(pg_temp.say(:closed, 'hola', (select one from ids)) ->> 'reason', 'id_conflict', 'the id in another session is a conflict');

-- One bad row never costs the others.
create temporary table batch as select insert_messages(:open, ('[
  {"id": "' || pg_temp.uuid7() || '", "content": "good"},
  {"id": "nonsense", "content": "x"}, {"id": "4be0643f-1d98-473b-97cd-ca98a65347dd", "content": "x"}, {"content": "x"}, 7, null, "x",
  {"id": "' || pg_temp.uuid7() || '", "content": "  \n "}, {"id": "' || pg_temp.uuid7() || '"},
  {"id": "' || pg_temp.uuid7() || '", "content": 5}, {"id": "' || pg_temp.uuid7() || '", "content": "a\u0000b"},
  {"id": "' || pg_temp.uuid7() || '", "content": "a\ud83db"}, {"id": "' || pg_temp.uuid7() || '", "content": "bell\u0007"},
  {"id": "' || pg_temp.uuid7() || '", "content": "' || repeat('x', 501) || '"},
  {"id": "' || pg_temp.uuid7(now() - interval '8 days') || '", "content": "x"},
  {"id": "' || pg_temp.uuid7(now() + interval '3 minutes') || '", "content": "x"},
  {"id": "' || pg_temp.uuid7() || '", "content": "x", "user_id": "d0000000-0000-4000-8000-00000000000b"},
  {"id": "' || pg_temp.uuid7() || '", "content": "\ud83c\udfa7 \\u0000"}]')::json) as reply;
select results_eq($$
  select coalesce(r.value ->> 'reason', r.value ->> 'status') from batch, jsonb_array_elements(reply -> 'results') with ordinality r (value, place)
  order by r.place
$$, array['stored', 'bad_id', 'bad_id', 'bad_id', 'bad_id', 'bad_id', 'bad_id', 'empty', 'empty', 'invalid_text', 'invalid_text', 'invalid_text',
  'invalid_text', 'too_long', 'bad_clock', 'bad_clock', 'not_allowed', 'stored'], 'every row has its own outcome, in order');
select is((select (reply #>> '{results,17,seq}')::bigint - (reply #>> '{results,0,seq}')::bigint from batch), 1::bigint,
  'rejected rows take no number');
select is((select reply #> '{results,13,detail}' from batch), '{"limit": 500, "length": 501}'::jsonb, 'too_long says how long');
select is(jsonb_array_length(insert_messages(:open, '[]') -> 'results'), 0, 'an empty batch is fine');
select is(pg_temp.outcome('select insert_messages(' || quote_literal(:open) || ', ''{}'')'), 'PT422 invalid_argument', 'not an array');
select is(pg_temp.outcome('select insert_messages(' || quote_literal(:open)
  || ', (select json_agg(1) from generate_series(1, 501)))'), 'PT413 batch_too_large', '501 rows');

-- Late and early, at the borders of the window.
select is(pg_temp.say(:open, 'late', pg_temp.uuid7(now() - interval '2 days')) ->> 'status', 'stored', 'two days late is stored');
select is(pg_temp.say(:open, 'edge', pg_temp.uuid7(clock_timestamp() - interval '6 days 23:59')) ->> 'status', 'stored', 'nearly seven days late too');
select is(pg_temp.say(:open, 'ahead', pg_temp.uuid7(clock_timestamp() + interval '1 minute')) ->> 'status', 'stored', 'a clock one minute ahead too');

-- Repeated within one batch; a repeat shares the fate of the first.
select results_eq(format($$
  select r.value ->> 'status', r.value -> 'seq' is not distinct from lag(r.value -> 'seq') over (order by r.place) from jsonb_array_elements(insert_messages(%L, (
    select json_agg(json_build_object('id', two, 'content', 'twice')) from ids, generate_series(1, 2))) -> 'results') with ordinality r (value, place) order by r.place
$$, :open), $$ values ('stored', false), ('duplicate', true) $$, 'a row repeated in its batch is a duplicate of it');

-- The session's rules.
select pg_temp.as_user(:mod);
select set_slow_mode(:open, 30) is not null;
select is(pg_temp.say(:open, 'crew 1') ->> 'status', 'stored', 'slow mode does not hold the crew');
select is(pg_temp.say(:open, 'crew 2') ->> 'status', 'stored', 'at all');
select pg_temp.as_user(:ana);
create temporary table slow as select pg_temp.say(:open, 'slow') as r;
select is(r ->> 'reason', 'slow_mode', 'slow mode holds a listener') from slow;
select ok((r ->> 'retry_after')::numeric between 28 and 30, 'and says for how long') from slow;
select is(pg_temp.say(:open, 'old id', pg_temp.uuid7(now() - interval '1 day')) ->> 'reason', 'slow_mode', 'whatever the time in the id');
select is(pg_temp.say(:open, 'hola', (select one from ids)) ->> 'status', 'duplicate', 'what is stored stays a duplicate');
select pg_temp.as_user(:eve);
create temporary table burst as select insert_messages(:open, json_build_array(
  json_build_object('id', pg_temp.uuid7(), 'content', '1'), json_build_object('id', pg_temp.uuid7(), 'content', '2'))) -> 'results' as r;
select is(r -> 0 ->> 'status', 'stored', 'the first message of a newcomer is stored') from burst;
select is(r -> 1 ->> 'reason', 'slow_mode', 'the second of the same batch is not') from burst;
select pg_temp.as_user(:mod);
select set_slow_mode(:open, 0) is not null, freeze_chat(:open) is not null;
select is(pg_temp.say(:open, 'crew') ->> 'status', 'stored', 'the crew speaks in a frozen chat');
select pg_temp.as_user(:ana);
select is(pg_temp.say(:open, 'x') ->> 'reason', 'chat_frozen', 'a listener does not');
select pg_temp.as_user(:mod);
select freeze_chat(:open, false) is not null, mute_member(:open, :ana, 60) is not null;
select pg_temp.as_user(:ana);
create temporary table muted as select pg_temp.say(:open, 'x') as r;
select is(r ->> 'reason', 'muted', 'a muted member does not speak') from muted;
select ok((r ->> 'retry_after')::numeric between 58 and 60, 'and learns for how long') from muted;
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 0) is not null, ban_member(:open, :bo) is not null;
select pg_temp.as_user(:bo);
select is(pg_temp.say(:open, 'x') ->> 'reason', 'banned', 'a banned one neither');
select pg_temp.as_user(:gus, true);
select is(pg_temp.say(:open, 'x') ->> 'status', 'stored', 'an anonymous sign-in may speak by default');
select pg_temp.as_user(:dj);
select update_session(:open, '{"anonymous_may_speak": false, "max_message_length": 10}') is not null;
select pg_temp.as_user(:gus, true);
select is(pg_temp.say(:open, 'x') ->> 'reason', 'not_allowed', 'and not where the session says no');
select pg_temp.as_user(:ana);
select is(pg_temp.say(:open, 'eleven char') ->> 'reason', 'too_long', 'the limit is the session''s');

-- The token bucket.
select pg_temp.as_owner();
update whatssound.rate_limits set capacity = 3, per_second = 0.1 where bucket = 'chat';
delete from whatssound.rate_buckets;
select pg_temp.as_user(:ana);
create temporary table flood as select insert_messages(:open, (select json_agg(json_build_object('id', pg_temp.uuid7(), 'content', n::text))
  from generate_series(1, 5) n)) -> 'results' as r;
select is((select count(*) from flood, jsonb_array_elements(r) e where e ->> 'status' = 'stored'), 3::bigint, 'a burst is stored as far as tokens go');
select is(r -> 4 ->> 'reason', 'rate_limited', 'the rest is rate limited') from flood;
select ok((r -> 4 ->> 'retry_after')::numeric between 15 and 20, 'with the time until there is a token') from flood;
select is(array_agg(pg_temp.outcome(format('select insert_messages(%L, ''[]'')', :open))), array['ok', 'ok', 'ok', 'ok', 'PT429 rate_limited'],
  'who goes on with an empty bucket is kept from the room''s lock')
from generate_series(1, 5);

-- The service role speaks for others.
select pg_temp.as_service();
select results_eq(format($$
  select coalesce(r.value ->> 'reason', r.value ->> 'status') from jsonb_array_elements(insert_messages(%L, json_build_array(
    json_build_object('id', pg_temp.uuid7(), 'content', 'a', 'user_id', %L::text), json_build_object('id', pg_temp.uuid7(), 'content', 'b'),
    json_build_object('id', pg_temp.uuid7(), 'content', 'c', 'user_id', %L::text))) -> 'results') with ordinality r (value, place) order by r.place
$$, :open, :eve, :bo), array['stored', 'not_allowed', 'banned'], 'a relay names an author a row; the author''s state counts');
select is(insert_messages(:closed, json_build_array(json_build_object('id', pg_temp.uuid7(), 'content', 'a', 'user_id', :eve)))
  #>> '{results,0,reason}', 'not_allowed', 'and only members speak in a private session');

-- After the end.
create temporary table before_end as select pg_temp.uuid7() as id;
grant select on before_end to public;
select pg_temp.as_user(:dj);
select pg_sleep(0.01) is not null, end_session(:open) is not null;
select pg_temp.as_user(:eve);
select is(pg_temp.say(:open, 'spooled', (select id from before_end)) ->> 'status', 'stored', 'what was said before the end is still stored');
select is(pg_temp.say(:open, 'after', pg_temp.uuid7(clock_timestamp() + interval '1 second')) ->> 'reason', 'session_ended', 'what was said after is not');
select pg_temp.as_owner();
update sessions set started_at = now() - interval '90 hours', ended_at = now() - interval '73 hours' where id = :open;
select pg_temp.as_user(:eve);
select is(pg_temp.say(:open, 'too late', pg_temp.uuid7(now() - interval '74 hours')) ->> 'reason', 'session_ended', 'nor anything three days after the end');
select * from finish();
rollback;
