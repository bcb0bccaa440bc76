-- What tables refuse even from their owner.
begin;
\ir helpers.psql
select * from no_plan();

create temporary table bad (sql text, state text);
insert into bad values
  ('insert into profiles (user_id, username) values (gen_random_uuid(), '''')', '23514'),
  ('insert into profiles (user_id, username) values (gen_random_uuid(), '' a'')', '23514'),
  ('insert into profiles (user_id, username) values (gen_random_uuid(), repeat(''x'', 33))', '23514'),
  ('insert into profiles (user_id, username) values (gen_random_uuid(), E''a\tb'')', '23514'),
  ('update profiles set avatar_url = ''javascript:alert(1)''', '23514'),
  ('update sessions set status = ''paused''', '23514'), ('update sessions set visibility = ''secret''', '23514'),
  ('update sessions set status = ''ended''', '23514'), ('update sessions set ended_at = now()', '23514'),
  ('update sessions set title = ''''', '23514'), ('update sessions set settings = ''[]''', '23514'),
  ('update sessions set dj_id = gen_random_uuid()', '23503'),
  ('update session_members set role = ''king''', '23514'), ('update session_members set banned = true where role = ''dj''', '23514'),
  ('update session_members set role = ''dj''', '23505'), ('insert into session_members (session_id, user_id) select session_id, user_id from session_members', '23505'),
  ('insert into session_members (session_id, user_id) values (gen_random_uuid(), gen_random_uuid())', '23503'),
  ('update session_clock set framed_seq = last_seq + 1', '23514'), ('update session_clock set tick_ms = -1', '23514'),
  ('update session_events set kind = ''other''', '23514'), ('update session_events set payload = ''1''', '23514'),
  ('update session_events set seq = 0 where seq = 1', '23514'), ('update session_events set seq = 1', '23505'),
  ('insert into session_events (session_id, seq, kind, payload) values (gen_random_uuid(), 1, ''vote'', ''{}'')', '23503'),
  ('update queue_items set status = ''lost''', '23514'), ('update queue_items set action = ''lost''', '23514'),
  ('update queue_items set version = 0', '23514'), ('update queue_items set status = ''playing''', '23514'),
  ('update queue_items set status = ''playing'', started_at = now()', '23505'), ('update queue_items set song_id = gen_random_uuid()', '23503'),
  ('update songs set title = ''''', '23514'), ('update songs set artist = ''''', '23514'), ('update songs set duration_ms = 0', '23514'),
  ('update songs set source_url = ''file:///etc''', '23514'), ('update votes set value = 2', '23514'), ('update votes set tally_up = -1', '23514'),
  ('update votes set song_id = gen_random_uuid()', '23503'), ('update song_tallies set up = -1', '23514'), ('update song_tallies set score = 5', '428C9'),
  ('update tips set note = ''''', '23514'), ('update tips set settled_at = now()', '23514'), ('update tips set seq = 1', '23514'),
  ('insert into tips (session_id, tipper_id, dj_id, username, amount, currency, key) select session_id, tipper_id, dj_id, username, 0, currency, gen_random_uuid() from tips', '23514'),
  ('insert into tips (session_id, tipper_id, dj_id, username, amount, currency, key) select session_id, tipper_id, dj_id, username, 1, ''EURO'', gen_random_uuid() from tips', '23514'),
  ('insert into tips (session_id, tipper_id, dj_id, username, amount, currency, key) select session_id, tipper_id, dj_id, username, 1, ''EUR'', key from tips', '23505'),
  ('update messages set content = ''''', '23514'), ('update messages set content = repeat(''x'', 4001)', '23514'), ('update messages set created_at = created_at + interval ''1 ms''', '23514'),
  ('update messages set seq = 0', '23514'), ('update messages set role = ''king''', '23514'), ('update messages set deleted_at = now()', '23514'),
  ('insert into messages select * from messages', '23505'), ('insert into moderation_log (session_id, action) select id, ''odd'' from sessions', '23514'),
  ('update whatssound.project set only_row = false', '23514'), ('insert into whatssound.project default values', '23505'),
  ('update whatssound.project set events_per_second = 0', '23514'), ('update whatssound.rate_limits set capacity = 0', '23514'),
  ('update whatssound.project set event_retention = ''1 minute''', '23514'), ('update whatssound.project set message_retention = ''1 day''', '23514'),
  ('insert into messages (id, session_id, user_id, username, role, content, created_at, seq) values (pg_temp.uuid7(''2100-01-01''), gen_random_uuid(), gen_random_uuid(), ''x'', ''dj'', ''x'', ''2100-01-01'', 1)', '23514');
select pg_temp.as_user(:ana);
select send_tip(:open, 5, 'EUR', null, gen_random_uuid()) is not null, cast_vote(:open, :song, 1::smallint, gen_random_uuid()) is not null,
  pg_temp.say(:open, 'hi') is not null;
select pg_temp.as_owner();
select is(pg_temp.outcome(sql), state, sql) from bad;

-- The time in an id, to the millisecond, and nothing but version 7.
select is(whatssound.uuid7_time('017f22e2-79b0-7cc3-98c4-dc0c0c07398f'), '2022-02-22 19:22:22+00'::timestamptz, 'the example of RFC 9562');
select is(whatssound.uuid7_time(pg_temp.uuid7('2026-11-24 07:00:00.123+00')), '2026-11-24 07:00:00.123+00'::timestamptz, 'milliseconds are exact');
select is(whatssound.uuid7_time(u), null, 'not a UUIDv7: ' || u)
from unnest(array['4be0643f-1d98-473b-97cd-ca98a65347dd', '017f22e2-79b0-7cc3-18c4-dc0c0c07398f', '00000000-0000-0000-0000-000000000000']::uuid[]) u;
select is(whatssound.is_currency(c), w, 'currency ' || coalesce(c, 'null')) from (values ('EUR', true), ('JPY', true), ('COP', true), ('XXX', false), ('eur', false), ('EU', false), (',', false), ('', false)) x (c, w);
select * from finish();
rollback;
