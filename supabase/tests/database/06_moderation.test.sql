-- Moderation: who may do what to whom, and that the very next call feels it.
begin;
\ir helpers.psql
select * from no_plan();

-- Rank.
create temporary table tries (who uuid, act text, wanted text);
insert into tries values
  (:ana, 'mute_member($1, ''d0000000-0000-4000-8000-00000000000b'', 5)', 'PT403 not_allowed'),
  (:ana, 'ban_member($1, ''d0000000-0000-4000-8000-00000000000b'')', 'PT403 not_allowed'),
  (:ana, 'set_slow_mode($1, 5)', 'PT403 not_allowed'), (:ana, 'freeze_chat($1)', 'PT403 not_allowed'),
  (:ana, 'update_session($1, ''{}'')', 'PT403 not_allowed'), (:ana, 'end_session($1)', 'PT403 not_allowed'),
  (:ana, 'set_member_role($1, ''d0000000-0000-4000-8000-00000000000a'', ''moderator'')', 'PT403 not_allowed'),
  (:mod, 'set_member_role($1, ''d0000000-0000-4000-8000-00000000000a'', ''moderator'')', 'PT403 not_allowed'),
  (:mod, 'mute_member($1, ''d0000000-0000-4000-8000-000000000001'', 5)', 'PT403 not_allowed'),
  (:mod, 'ban_member($1, ''d0000000-0000-4000-8000-000000000001'')', 'PT403 not_allowed'),
  (:mod, 'ban_member($1, ''d0000000-0000-4000-8000-000000000002'')', 'PT403 not_allowed'),
  (:dj, 'ban_member($1, ''d0000000-0000-4000-8000-000000000001'')', 'PT403 not_allowed'),
  (:dj, 'set_member_role($1, ''d0000000-0000-4000-8000-000000000001'', ''listener'')', 'PT403 not_allowed'),
  (:dj, 'set_member_role($1, ''d0000000-0000-4000-8000-00000000000a'', ''dj'')', 'PT422 invalid_argument'),
  (:mod, 'ban_member($1, gen_random_uuid())', 'PT404 unknown_member'), (:mod, 'mute_member($1, gen_random_uuid(), 5)', 'PT404 unknown_member'),
  (:mod, 'mute_member($1, ''d0000000-0000-4000-8000-00000000000a'', -1)', 'PT422 invalid_argument'),
  (:mod, 'set_slow_mode($1, -1)', 'PT422 invalid_argument'), (:mod, 'set_slow_mode($1, 21601)', 'PT422 invalid_argument'),
  (:mod, 'freeze_chat($1, null)', 'PT422 invalid_argument'),
  (:mod, 'update_session($1, ''{"no_such": 1}'')', 'PT422 invalid_argument'), (:mod, 'update_session($1, ''{"slow_mode_seconds": "1"}'')', 'PT422 invalid_argument'),
  (:mod, 'update_session($1, ''{"slow_mode_seconds": 1.5}'')', 'PT422 invalid_argument'), (:mod, 'update_session($1, ''{"chat_frozen": null}'')', 'PT422 invalid_argument'),
  (:mod, 'update_session($1, ''{"visibility": "secret"}'')', 'PT422 invalid_argument'), (:mod, 'update_session($1, ''[]'')', 'PT422 invalid_argument'),
  (:mod, 'update_session($1, ''{}'', '''')', 'PT422 invalid_argument'), (:mod, 'update_session($1, ''{"max_message_length": 4001}'')', 'PT422 invalid_argument'),
  (:mod, 'mute_member($1, ''d0000000-0000-4000-8000-00000000000a'', 5)', 'ok'), (:mod, 'update_session($1, ''{"tick_ms": 500}'', ''New'')', 'ok'),
  (:dj, 'ban_member($1, ''d0000000-0000-4000-8000-000000000002'')', 'ok'), (:dj, 'ban_member($1, ''d0000000-0000-4000-8000-000000000002'', false)', 'ok'),
  (:dj, 'mute_member($1, ''d0000000-0000-4000-8000-00000000000a'', 0)', 'ok');
grant select on tries to public;
create temporary table came (n integer generated always as identity, about text, wanted text, got text);
grant all on came to public;
do $$
declare
  v record;
begin
  for v in select * from tries loop
    perform pg_temp.as_user(v.who);
    insert into came (about, wanted, got) values (v.act, v.wanted,
      pg_temp.outcome('select ' || replace(v.act, '$1', '''a0000000-0000-4000-8000-000000000001''')));
  end loop;
  perform pg_temp.as_owner();
end $$;
select is(got, wanted, n || ': ' || about) from came order by n;

-- Banned: every way in is shut with the next call, the door itself included.
select pg_temp.as_user(:mod);
create temporary table b as select ban_member(:open, :bo, true, 'spam') as r;
select is(r #>> '{member,banned}', 'true', 'a ban answers with the member') from b;
select is(ban_member(:open, :bo) ->> 'changed', 'false', 'a second one changes nothing');
select pg_temp.as_user(:bo);
select is(pg_temp.outcome('select ' || f), 'PT403 banned', 'banned: ' || f)
from unnest(array[
  format('join_session(%L)', :open), format('cast_vote(%L, %L, 1::smallint, gen_random_uuid())', :open, :song),
  format('retract_vote(%L, %L, gen_random_uuid())', :open, :song), format('send_tip(%L, 1, ''EUR'', null, gen_random_uuid())', :open),
  format('enqueue_song(%L, ''x'', p_key => gen_random_uuid())', :open), format('set_slow_mode(%L, 1)', :open),
  format('delete_message(%L, gen_random_uuid())', :open), format('send_reactions(%L, ''{"x": 1}'')', :open)]) f;
select is(pg_temp.outcome('select ' || f), 'PT404 session_not_found', 'and sees nothing: ' || f)
from unnest(array[format('session_snapshot(%L)', :open), format('events_since(%L, 0)', :open), format('message_history(%L)', :open),
  format('heartbeat(%L)', :open), format('flush_frame(%L)', :open)]) f;
select is_empty(format('select 1 from %I where session_id = %L', t, :open), 'nor rows of ' || t)
from unnest(array['queue_items', 'votes', 'messages', 'song_tallies', 'session_members']) t;
select pg_temp.as_owner();
select is(e.payload ->> 'reason', 'spam', 'the ban is an event with its reason') from session_events e
where e.kind = 'member' and e.payload ->> 'action' = 'banned' and e.payload ->> 'user_id' = :bo;
select is((select detail ->> 'reason' from moderation_log where action = 'banned' and user_id = :bo), 'spam', 'and written down');
select is((select by_user_id from moderation_log where action = 'banned' and user_id = :bo), :mod::uuid, 'with who did it');
select pg_temp.as_user(:mod);
select is(ban_member(:open, :bo, false) #>> '{member,banned}', 'false', 'a ban can be lifted');
select pg_temp.as_user(:bo);
select is(pg_temp.outcome(format('select join_session(%L)', :open)), 'ok', 'and then the door is open');

-- Muted members vote and tip.
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 60) is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 1::smallint, gen_random_uuid())', :open, :song)), 'ok', 'who is muted still votes');
select isnt(join_session(:open) #> '{me,muted_until}', 'null'::jsonb, 'and sees until when');

-- A new moderator has power at once; one who is no more has none.
select pg_temp.as_user(:dj);
select set_member_role(:open, :ana, 'moderator') is not null, set_member_role(:open, :mod, 'listener') is not null;
-- Whatever changes about a banned member, the event says that they are.
select ban_member(:open, :bo) is not null, mute_member(:open, :bo, 60) is not null, mute_member(:open, :bo, 0) is not null,
  set_member_role(:open, :bo, 'moderator') is not null, set_member_role(:open, :bo, 'listener') is not null, ban_member(:open, :bo, false) is not null;
select is(string_agg((e #>> '{payload,action}') || ' ' || (e #>> '{payload,banned}'), ', ' order by place),
  'banned true, muted true, unmuted true, role true, role true, unbanned false', 'events tell of the ban')
from (select x.* from jsonb_array_elements(events_since(:open, 0) -> 'events') with ordinality x (e, place)
  where e ->> 'kind' = 'member' and e #>> '{payload,user_id}' = :bo order by place desc limit 6) y;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select set_slow_mode(%L, 3)', :open)), 'ok', 'a new moderator moderates');
select pg_temp.as_user(:mod);
select is(pg_temp.outcome(format('select set_slow_mode(%L, 4)', :open)), 'PT403 not_allowed', 'a former one does not');

-- Deleting.
select pg_temp.as_user(:dj);
select set_slow_mode(:open, 0) is not null;
create temporary table m as select pg_temp.uuid7() as hers, pg_temp.uuid7() as his;
grant select on m to public;
select pg_temp.as_user(:bo);
select pg_temp.say(:open, 'rude words', (select his from m)) is not null;
select pg_temp.as_user(:eve);
select pg_temp.say(:open, 'mine', (select hers from m)) is not null;
select is(pg_temp.outcome(format('select delete_message(%L, (select his from m))', :open)), 'PT404 unknown_message', 'a listener does not delete what others said');
select is(delete_message(:open, (select hers from m)) ->> 'changed', 'true', 'but their own');
select pg_temp.as_user(:dj);
select is(delete_message(:open, (select his from m)) ->> 'changed', 'true', 'the crew deletes anything');
select is(delete_message(:open, (select his from m)) ->> 'changed', 'false', 'once');
select is(pg_temp.outcome(format('select delete_message(%L, gen_random_uuid())', :open)), 'PT404 unknown_message', 'an unknown message');
select unalike(events_since(:open, 0)::text, '%rude words%', 'the words are gone from the log');
select unalike(message_history(:open)::text, '%rude words%', 'and from history');
select unalike(session_snapshot(:open)::text, '%rude words%', 'and from the snapshot');
select pg_temp.as_owner();
select is_empty($$ select 1 from messages where content ~ 'rude words' $$, 'and from the table');
select is_empty($$ select 1 from session_events where payload::text ~ 'rude words' $$, 'and from the table of events');
select pg_temp.as_user(:bo);
select is(pg_temp.say(:open, 'rude words', (select his from m)) ->> 'status', 'duplicate', 'a late retry does not bring them back');

-- The service role moderates too.
select pg_temp.as_service();
select is(pg_temp.outcome(format('select %s', f)), 'ok', 'service role: ' || f)
from unnest(array[format('set_slow_mode(%L, 5)', :open), format('freeze_chat(%L)', :open), format('mute_member(%L, %L, 5)', :open, :ana),
  format('ban_member(%L, %L)', :open, :ana), format('set_member_role(%L, %L, ''listener'')', :open, :eve), format('update_session(%L)', :open),
  format('end_session(%L)', :open), format('end_session(%L)', :open)]) f;
select is(pg_temp.outcome(format('select set_slow_mode(%L, 6)', :open)), 'PT410 session_ended', 'an ended session has no pace');
select is(forget_user(:bo) ->> 'messages', '1', 'a person is forgotten');
select pg_temp.as_owner();
select is_empty($$ select 1 from session_events where payload::text ~ '"username": "bo"' $$, 'by name, in the log');
select is_empty($$ select 1 from profiles where username = 'bo' $$, 'and as a profile');
select * from finish();
rollback;
