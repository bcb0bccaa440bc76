-- Joining tells what the session is and how its events travel, so that a client knows which topics to join without a
-- second call, and refuses a session that has ended: there is nothing to take part in. Reading it stays possible.

create or replace function public.join_session(p_session_id uuid, p_username text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_session public.sessions;
  v_clock public.session_clock;
  v_member public.session_members;
begin
  -- No clock lock: joining writes no event, so a thousand people arriving do not hold up the room.
  select s.* into v_session from public.sessions s where s.id = p_session_id;
  v_member := whatssound.ensure_member(v_session, v_user_id);
  if v_member.user_id is null then
    perform whatssound.refuse('session_not_found');
  elsif v_member.banned then
    perform whatssound.refuse('banned');
  end if;
  perform whatssound.require_live(v_session);
  perform whatssound.ensure_profile(v_user_id, case when p_username is not null then whatssound.checked_username(p_username) end);
  perform whatssound.spend_tokens(v_user_id, 'command', 1);
  select c.* into strict v_clock from public.session_clock c where c.session_id = p_session_id;
  return jsonb_build_object(
    'me', whatssound.me_json(p_session_id, v_user_id),
    'session', whatssound.session_json(v_session),
    'feed', whatssound.feed_json(v_clock) || '{"joinable": true}',
    'last_seq', v_clock.last_seq,
    'server_time', clock_timestamp());
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.join_session(uuid, text) is
  'Signed-in users: makes the caller a listener of a public live session (of a private one: members only), sets their name and says how to follow it. Definer: tables take no direct writes.';
