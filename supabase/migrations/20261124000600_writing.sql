-- The way every write goes: lock the session's clock, look for an earlier answer to the same call, admit the caller,
-- change one thing, append its event, send the frame if it is due, answer with last_seq.
--
-- Order of locks, always: clock, profile, member, the thing itself, rate bucket.

create type whatssound.actor as (
  user_id uuid,
  username text,
  role text,
  muted_until timestamptz,
  last_spoke_at timestamptz,
  session public.sessions
);
comment on type whatssound.actor is 'Who writes, and the session written to. user_id is null and role is service for the service role.';

create function whatssound.lock_clock(p_session_id uuid)
returns void
language plpgsql volatile
set search_path = ''
as $$
begin
  perform from public.session_clock c where c.session_id = p_session_id for update;
  -- Strangers to a private session are told the same before anything else about the call is looked at.
  if not found or (auth.uid() is not null and exists (
    select from public.sessions s
    where s.id = p_session_id and s.visibility = 'private' and not exists (
      select from public.session_members m where m.session_id = s.id and m.user_id = auth.uid()))) then
    perform whatssound.refuse('session_not_found');
  end if;
end
$$;
comment on function whatssound.lock_clock(uuid) is
  'Takes the session''s row lock, waiting for at most the caller''s lock_timeout; refuses unknown sessions and strangers to private ones alike.';
revoke all on function whatssound.lock_clock(uuid) from public, anon, authenticated, service_role;

create function whatssound.ensure_member(p_session public.sessions, p_user_id uuid)
returns public.session_members
language plpgsql volatile
set search_path = ''
as $$
declare
  v_member public.session_members;
begin
  select m.* into v_member from public.session_members m where m.session_id = p_session.id and m.user_id = p_user_id;
  if found then
    return v_member;
  elsif p_session.visibility is distinct from 'public' then
    return null;
  end if;
  perform whatssound.ensure_profile(p_user_id);
  insert into public.session_members (session_id, user_id) values (p_session.id, p_user_id)
  on conflict (session_id, user_id) do nothing;
  -- Read again rather than returned: another call of the same user may have been first.
  select m.* into v_member from public.session_members m where m.session_id = p_session.id and m.user_id = p_user_id;
  return v_member;
end
$$;
comment on function whatssound.ensure_member(public.sessions, uuid) is 'The membership, made for a public session; null for strangers to a private one.';
revoke all on function whatssound.ensure_member(public.sessions, uuid) from public, anon, authenticated, service_role;

create function whatssound.admit(p_session_id uuid, p_user_id uuid)
returns whatssound.actor
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session public.sessions;
  v_member public.session_members;
  v_actor whatssound.actor;
begin
  select s.* into strict v_session from public.sessions s where s.id = p_session_id;
  v_member := whatssound.ensure_member(v_session, p_user_id);
  if v_member.user_id is null then
    perform whatssound.refuse('session_not_found');
  elsif v_member.banned then
    perform whatssound.refuse('banned');
  end if;
  v_actor := row(p_user_id, whatssound.ensure_profile(p_user_id), v_member.role, v_member.muted_until,
                 v_member.last_spoke_at, v_session);
  return v_actor;
end
$$;
comment on function whatssound.admit(uuid, uuid) is 'The caller as an actor in the session, joining a public one on the way; refuses strangers and banned users.';
revoke all on function whatssound.admit(uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.admit_crew(p_session_id uuid)
returns whatssound.actor
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session public.sessions;
  v_actor whatssound.actor;
begin
  if whatssound.is_service() then
    perform whatssound.lock_clock(p_session_id);
    select s.* into strict v_session from public.sessions s where s.id = p_session_id;
    v_actor := row(null, 'service', 'service', null, null, v_session);
    return v_actor;
  end if;
  v_actor.user_id := whatssound.require_user('manage');
  perform whatssound.lock_clock(p_session_id);
  v_actor := whatssound.admit(p_session_id, v_actor.user_id);
  if v_actor.role not in ('dj', 'moderator') then
    perform whatssound.refuse('not_allowed', jsonb_build_object('role', v_actor.role));
  end if;
  perform whatssound.spend_tokens(v_actor.user_id, 'manage', 1);
  return v_actor;
end
$$;
comment on function whatssound.admit_crew(uuid) is 'Locks the clock and admits the DJ, a moderator or the service role; refuses everybody else.';
revoke all on function whatssound.admit_crew(uuid) from public, anon, authenticated, service_role;

create function whatssound.require_live(p_session public.sessions)
returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if p_session.status <> 'live' then
    perform whatssound.refuse('session_ended', jsonb_build_object('ended_at', p_session.ended_at));
  end if;
end
$$;
comment on function whatssound.require_live(public.sessions) is 'Refuses with session_ended.';
revoke all on function whatssound.require_live(public.sessions) from public, anon, authenticated, service_role;

create function whatssound.require_setting(p_actor whatssound.actor, p_setting text)
returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if p_actor.role = 'listener' and not ((p_actor.session).settings ->> p_setting)::boolean then
    perform whatssound.refuse('not_allowed', jsonb_build_object('setting', p_setting));
  end if;
end
$$;
comment on function whatssound.require_setting(whatssound.actor, text) is 'Refuses listeners when the setting is off.';
revoke all on function whatssound.require_setting(whatssound.actor, text) from public, anon, authenticated, service_role;

create function whatssound.require_anonymous_may(p_actor whatssound.actor, p_setting text)
returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if whatssound.is_anonymous_sign_in() then
    perform whatssound.require_setting(p_actor, p_setting);
  end if;
end
$$;
comment on function whatssound.require_anonymous_may(whatssound.actor, text) is 'Refuses anonymous sign-ins when the session''s setting says so.';
revoke all on function whatssound.require_anonymous_may(whatssound.actor, text) from public, anon, authenticated, service_role;

create function whatssound.finish_write(p_session_id uuid, p_reply jsonb)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_frame jsonb := whatssound.send_due_frame(p_session_id);
begin
  return p_reply || jsonb_build_object(
    'last_seq', (select c.last_seq from public.session_clock c where c.session_id = p_session_id),
    'server_time', clock_timestamp(), 'frame', v_frame);
end
$$;
comment on function whatssound.finish_write(uuid, jsonb) is 'Sends the frame if it is due and completes the answer; call with the clock''s row locked.';
revoke all on function whatssound.finish_write(uuid, jsonb) from public, anon, authenticated, service_role;
