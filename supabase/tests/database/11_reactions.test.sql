-- Reactions: who may send them, what they may be, and how frames carry them.
begin;
\ir helpers.psql
select * from no_plan();

create temporary view sent as
  select m.payload, row_number() over (order by m.payload ->> 'server_time') as place from realtime.messages m
  where m.topic = 'session:a0000000-0000-4000-8000-000000000001:frames' and m.event = 'frame' and m.private;
create function pg_temp.last_frame() returns jsonb language sql as $$ select payload from sent order by place desc limit 1 $$;
create function pg_temp.react(p_counts text, p_session_id uuid default 'a0000000-0000-4000-8000-000000000001') returns text
language sql as $$ select pg_temp.outcome(format('select send_reactions(%L, %L)', p_session_id, p_counts)) $$;
-- As if the last frame had gone so long ago.
create function pg_temp.wind_back(p_by interval) returns void language sql security definer as $$
  update public.session_clock set framed_at = clock_timestamp() - p_by where session_id = 'a0000000-0000-4000-8000-000000000001'
$$;

-- Who may.
select pg_temp.as_anon();
select is(pg_temp.react('{"🔥": 1}'), '42501', 'role anon may not');
select pg_temp.as_service();
select is(pg_temp.react('{"🔥": 1}'), '42501', 'nor the service role: it is nobody in the room');
select pg_temp.as_user(:eve);
select is(pg_temp.react('{"🔥": 1}', :closed), 'PT404 session_not_found', 'no stranger in a private session');
select is(pg_temp.react('{"🔥": 1}', gen_random_uuid()), 'PT404 session_not_found', 'nor anybody in none');
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'a public session is joined on the way');
select pg_temp.as_user(:ana);
select is(pg_temp.react('{"🔥": 1}', :closed), 'ok', 'a member of a private session');
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'a listener');
select pg_temp.as_user(:gus, true);
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'an anonymous sign-in');
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 60) is not null, ban_member(:open, :eve) is not null, freeze_chat(:open) is not null;
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'the crew, also while the chat is frozen');
select pg_temp.as_user(:bo);
select is(pg_temp.react('{"🔥": 1}'), 'PT403 chat_frozen', 'listeners not');
select pg_temp.as_user(:ana);
select is(pg_temp.react('{"🔥": 1}'), 'PT403 muted', 'who is muted not');
select pg_temp.as_user(:eve);
select is(pg_temp.react('{"🔥": 1}'), 'PT403 banned', 'who is banned not');
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 0) is not null, freeze_chat(:open, false) is not null,
  update_session(:open, '{"anonymous_may_speak": false}') is not null;
select pg_temp.as_user(:gus, true);
select is(pg_temp.react('{"🔥": 1}'), 'PT403 not_allowed', 'nor an anonymous sign-in where it may not speak');

-- What.
select pg_temp.as_user(:ana);
select is(pg_temp.react(a), 'PT422 invalid_argument', 'not reactions: ' || a)
from unnest(array['{}', '[]', '1', 'null', '"🔥"', '{"": 1}', '{" ": 1}', '{" a": 1}', '{"🔥": 0}', '{"🔥": -1}', '{"🔥": 51}', '{"🔥": 1.5}',
  '{"🔥": "1"}', '{"🔥": null}', '{"🔥": true}', '{"🔥": {}}', '{"a\nb": 1}', '{"a\u202eb": 1}', json_build_object(repeat('x', 33), 1)::text,
  (select json_object_agg('k' || n, 1) from generate_series(1, 21) n)::text]) a;
select is(pg_temp.outcome(format('select send_reactions(%L, null)', :open)), 'PT422 invalid_argument', 'not reactions: null');
select is(pg_temp.react(a), 'ok', 'reactions: ' || a)
from unnest(array['{"🔥": 50}', '{"a": 1.0}', '{"🧑‍🧑‍🧒‍🧒": 1}', json_build_object(repeat('x', 32), 1)::text,
  (select json_object_agg('k' || n, 1) from generate_series(1, 20) n)::text]) a;

-- How they travel.
select pg_temp.as_owner();
delete from whatssound.rate_buckets;
select pg_temp.wind_back('1 minute');
create temporary table before as select last_seq, (select count(*) from sent) as frames from session_clock where session_id = :open;
select pg_temp.as_user(:ana);
select flush_frame(:open) is not null;
select pg_temp.as_owner();
select is((select count(*) from whatssound.pending_reactions where session_id = :open), 0::bigint, 'a frame takes all that wait');
select is(payload -> 'events', '[]', 'a frame of reactions alone has no events') from pg_temp.last_frame() payload;
select is(payload -> 'from_seq', 'null', 'starts nowhere') from pg_temp.last_frame() payload;
select is((payload ->> 'to_seq')::bigint, (select last_seq from before), 'ends where the last one did') from pg_temp.last_frame() payload;
select is((select last_seq from session_clock where session_id = :open), (select last_seq from before), 'reactions take no seq');
select pg_temp.wind_back('1 minute');
select pg_temp.as_user(:ana);
create temporary table r as select send_reactions(:open, '{"🔥": 3, "👏": 1}') as r;
select is(r - 'server_time', jsonb_build_object('accepted', 4, 'dropped', 0, 'last_seq', (r ->> 'last_seq')::bigint,
  'frame', jsonb_build_object('pending', false, 'wait_ms', 0, 'from_seq', null, 'to_seq', (r ->> 'last_seq')::bigint)), 'in a quiet room they go at once') from r;
select pg_temp.as_owner();
select is(pg_temp.last_frame() -> 'reactions', '{"🔥": 3, "👏": 1}', 'as they were sent');
select pg_temp.as_user(:ana);
create temporary table w as select send_reactions(:open, '{"🔥": 2}') as r;
select is(r #>> '{frame,pending}', 'true', 'the next ones wait, also at tick 0') from w;
select ok((r #>> '{frame,wait_ms}')::integer between 300 and 500, 'for half a second') from w;
select is(flush_frame(:open) ->> 'sent', 'false', 'also when asked');
select is((heartbeat(:open) #>> '{frame,pending}'), 'true', 'a heartbeat says so');
select pg_temp.as_user(:bo);
select send_reactions(:open, '{"🔥": 5}') is not null;
select pg_temp.as_owner();
select is((select sum(count) from whatssound.pending_reactions where session_id = :open), 7::bigint, 'and add up');
select pg_temp.as_user(:ana);
create temporary table m as select pg_temp.say(:open, 'hi') as r;
select pg_temp.as_owner();
select is(pg_temp.last_frame() -> 'reactions', '{"🔥": 7}', 'a frame with events does not wait, and takes them along');
select is(jsonb_array_length(pg_temp.last_frame() -> 'events'), 1, 'beside its event');
select pg_temp.as_user(:ana);
select pg_temp.say(:open, 'hi again') is not null;
select pg_temp.as_owner();
select is(pg_temp.last_frame() ? 'reactions', false, 'a frame without any says nothing of them');

-- At most 50 kinds.
select pg_temp.wind_back('0 seconds');
select pg_temp.as_user(:dj);
select is(send_reactions(:open, (select jsonb_object_agg(b || '-' || n, 1) from generate_series(1, 20) n)) ->> 'dropped', '0', 'twenty kinds, batch ' || b)
from generate_series(1, 2) b;
create temporary table many as select send_reactions(:open, (select jsonb_object_agg('3-' || n, n) || '{"1-1": 1}' from generate_series(1, 19) n)) as r;
select is((r ->> 'accepted')::integer, (select sum(n) from generate_series(10, 19) n)::integer + 1, 'the ten most frequent of the third batch, and what waits already') from many;
select is((r ->> 'dropped')::integer, (select sum(n) from generate_series(1, 9) n)::integer, 'the rest is dropped, and said') from many;
select pg_temp.as_owner();
select pg_temp.wind_back('1 second');
select is((select count(*) from jsonb_object_keys(whatssound.take_reactions(:open))), 50::bigint, 'a frame has fifty');
insert into whatssound.pending_reactions select :open, 'race-' || n, 1, n from generate_series(1, 60) n;
create temporary table taken as select whatssound.take_reactions(:open) as r;
select is((select count(*) from taken, jsonb_object_keys(r)), 50::bigint, 'never more');
select is((select min(v::integer) from taken, jsonb_each_text(r) as e (k, v)), 11, 'and the most frequent');
select is((select count(*) from whatssound.pending_reactions where session_id = :open), 0::bigint, 'what is dropped is gone');

-- Rate: a token each, 120 at once, then 20 a second.
delete from whatssound.rate_buckets;
select pg_temp.as_user(:ana);
select is(pg_temp.react('{"🔥": 50, "👏": 50, "🎉": 50}'), 'ok', 'a call counts whole');
select is(pg_temp.react('{"🔥": 1}'), 'PT429 rate_limited', 'and its sender waits the longer');
select pg_temp.as_user(:bo);
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'nobody else does');

-- Frames off; a session that has ended.
select pg_temp.as_user(:dj);
select update_session(:open, '{"frames": false}') is not null;
select pg_temp.as_owner();
select is((select count(*) from whatssound.pending_reactions where session_id = :open), 0::bigint, 'with frames off nothing waits');
delete from whatssound.rate_buckets;
select pg_temp.as_user(:ana);
select is(pg_temp.react('{"🔥": 1}'), 'PT403 not_allowed', 'and nothing is taken');
select pg_temp.as_user(:dj);
select update_session(:open, '{"frames": true}') is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.react('{"🔥": 1}'), 'ok', 'until they are on again');
select pg_temp.as_user(:dj);
select end_session(:open) is not null;
select is(pg_temp.react('{"🔥": 1}'), 'PT410 session_ended', 'an ended session takes none');
select pg_temp.as_owner();
select is((select count(*) from whatssound.pending_reactions where session_id = :open), 0::bigint, 'the frame of its end has taken the last');

-- The net under frames.
select pg_temp.as_user(:dj);
select pg_temp.as_owner();
insert into whatssound.pending_reactions values (:closed, 'net', 0, 1);
update session_clock set framed_at = now() - interval '1 minute' where session_id = :closed;
select whatssound.send_left_frames() is not null;
select is((select count(*) from whatssound.pending_reactions where session_id = :closed), 0::bigint, 'what nobody was left to send goes with the net');

-- Joining.
select pg_temp.as_user(:ana);
create temporary table j as select join_session(:closed) as j, session_snapshot(:closed) as s;
select is(j -> 'session', s -> 'session', 'joining says what the session is') from j;
select is((j -> 'feed') - 'framed_seq', (s -> 'feed') - 'framed_seq', 'and how its events travel, as the snapshot does') from j;
select is(pg_temp.outcome(format('select join_session(%L)', :open)), 'PT410 session_ended', 'who has been there does not join what has ended');
select pg_temp.as_user('d0000000-0000-4000-8000-000000000099');
select is(pg_temp.outcome(format('select join_session(%L)', :open)), 'PT410 session_ended', 'nor does who has not');
select pg_temp.as_user(:eve);
select is(pg_temp.outcome(format('select join_session(%L)', :open)), 'PT403 banned', 'who is banned is told that');
select is(pg_temp.outcome(format('select join_session(%L)', :closed)), 'PT404 session_not_found', 'strangers to a private session nothing');
select pg_temp.as_owner();
select is((select count(*) from session_members where user_id = 'd0000000-0000-4000-8000-000000000099'), 0::bigint, 'nobody is made a member of what has ended');

select * from finish();
rollback;
