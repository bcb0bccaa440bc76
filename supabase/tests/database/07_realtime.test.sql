-- Policies of realtime.messages: who hears and who writes which topic. Asked the way Realtime asks: as the user, with the
-- topic set, selecting or inserting a row.
begin;
\ir helpers.psql
select * from no_plan();

create function pg_temp.may(p_topic text, p_extension text) returns text language plpgsql as $$
declare
  v_reads boolean;
  v_writes boolean := true;
begin
  perform set_config('realtime.topic', p_topic, true);
  begin
    insert into realtime.messages (topic, extension, event, payload, private) values (p_topic, p_extension, 'e', '{}', true);
  exception when insufficient_privilege then
    v_writes := false;
  end;
  select exists (select from realtime.messages m where m.topic = 'probe' and m.extension = p_extension) into v_reads;
  return case when v_reads then 'read' else '-' end || ' ' || case when v_writes then 'write' else '-' end;
end $$;
insert into realtime.messages (topic, extension, event, payload, private) values
  ('probe', 'broadcast', 'e', '{}', true), ('probe', 'presence', 'e', '{}', true);
\set topic '''session:a0000000-0000-4000-8000-000000000001'''
\set frames '''session:a0000000-0000-4000-8000-000000000001:frames'''

select pg_temp.as_user(:ana);
select is(pg_temp.may(:topic, 'broadcast'), 'read write', 'a member speaks');
select is(pg_temp.may(:topic, 'presence'), 'read write', 'and is present');
select is(pg_temp.may(:frames, 'broadcast'), 'read -', 'frames are heard, not written');
select is(pg_temp.may(:frames, 'presence'), 'read -', 'not by presence either');
select is(pg_temp.may(t, 'broadcast'), '- -', 'not a topic: ' || t)
from unnest(array[:topic || ':x', :frames || ':frames', 'x' || :topic, :topic || ' ', upper(:topic), 'session:', 'session:*', :topic || E'\n', 'room:1',
  'session:a0000000-0000-4000-8000-000000000009']) t;
select pg_temp.as_user(:eve);
select is(pg_temp.may(:topic, 'broadcast'), '- -', 'a stranger hears nothing before joining');
select join_session(:open) is not null;
select is(pg_temp.may(:topic, 'broadcast'), 'read write', 'and speaks afterwards');
select is(pg_temp.may('session:a0000000-0000-4000-8000-000000000002', 'broadcast'), '- -', 'not in a private session');
select pg_temp.as_anon();
select is(pg_temp.may(:topic, 'broadcast'), '- -', 'role anon hears nothing');
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 60) is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.may(:topic, 'broadcast'), 'read -', 'who is muted hears only');
select is(pg_temp.may(:topic, 'presence'), 'read write', 'and is present');
select pg_temp.as_user(:mod);
select mute_member(:open, :ana, 0) is not null, freeze_chat(:open) is not null;
select is(pg_temp.may(:topic, 'broadcast'), 'read write', 'the crew speaks in a frozen chat');
select pg_temp.as_user(:ana);
select is(pg_temp.may(:topic, 'broadcast'), 'read -', 'listeners do not');
select pg_temp.as_user(:mod);
select freeze_chat(:open, false) is not null, ban_member(:open, :ana) is not null, update_session(:open, '{"anonymous_may_speak": false}') is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.may(:topic, 'broadcast'), '- -', 'who is banned neither hears nor speaks');
select is(pg_temp.may(:topic, 'presence'), '- -', 'nor is present');
select is(pg_temp.may(:frames, 'broadcast'), '- -', 'nor hears frames');
select pg_temp.as_user(:gus, true);
select join_session(:open) is not null;
select is(pg_temp.may(:topic, 'broadcast'), 'read -', 'an anonymous sign-in speaks where the session allows');
select pg_temp.as_user(:mod);
select end_session(:open) is not null;
select is(pg_temp.may(:topic, 'broadcast'), '- -', 'an ended session is silent');
select pg_temp.as_owner();
select set_eq($$ select policyname::text, cmd, roles::text from pg_policies where schemaname = 'realtime' and policyname like 'whatssound%' $$,
  $$ values ('whatssound_members_read'::text, 'SELECT'::text, '{authenticated}'::text), ('whatssound_members_write', 'INSERT', '{authenticated}') $$, 'two policies, no more');
select * from finish();
rollback;
