-- A session's life: create, join, update, end.

create function whatssound.me_json(p_session_id uuid, p_user_id uuid)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object('user_id', m.user_id, 'username', p.username, 'role', m.role, 'banned', m.banned,
                            'muted_until', m.muted_until)
  from public.session_members m join public.profiles p on p.user_id = m.user_id
  where m.session_id = p_session_id and m.user_id = p_user_id
$$;
comment on function whatssound.me_json(uuid, uuid) is 'A member as shown to themselves; null for strangers.';
revoke all on function whatssound.me_json(uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.append_session_event(p_session public.sessions, p_action text)
returns void
language sql volatile
set search_path = ''
as $$
  select whatssound.append_event(p_session.id, 'session',
    jsonb_build_object('action', p_action, 'session', whatssound.session_json(p_session)))
$$;
comment on function whatssound.append_session_event(public.sessions, text) is 'Appends a session event: started, updated or ended.';
revoke all on function whatssound.append_session_event(public.sessions, text) from public, anon, authenticated, service_role;

create function whatssound.checked_title(p_title text)
returns text
language plpgsql immutable
set search_path = ''
as $$
begin
  perform whatssound.require_argument(
    char_length(btrim(p_title)) between 1 and 200 and whatssound.is_clean_name(p_title), 'p_title',
    '1 to 200 characters, no control characters');
  return btrim(p_title);
end
$$;
comment on function whatssound.checked_title(text) is 'The trimmed title; refuses with invalid_argument.';
revoke all on function whatssound.checked_title(text) from public, anon, authenticated, service_role;

create function whatssound.new_clock(p_session public.sessions)
returns void
language sql volatile
set search_path = ''
as $$
  insert into public.session_clock (session_id, frames, tick_ms, fixed_tick)
  select p_session.id, (p_session.settings ->> 'frames')::boolean,
         coalesce((p_session.settings ->> 'tick_ms')::integer, 0), p_session.settings ->> 'tick_ms' is not null
$$;
comment on function whatssound.new_clock(public.sessions) is 'Makes the clock of a new session.';
revoke all on function whatssound.new_clock(public.sessions) from public, anon, authenticated, service_role;

create function public.create_session(p_title text, p_settings jsonb default '{}', p_id uuid default gen_random_uuid())
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('manage');
  v_session public.sessions;
begin
  perform whatssound.require_argument(p_id is not null, 'p_id', 'a UUID');
  perform whatssound.ensure_profile(v_user_id);
  insert into public.sessions as s (id, title, dj_id, visibility, settings)
  values (p_id, whatssound.checked_title(p_title), v_user_id,
          whatssound.requested_visibility(p_settings, 'public'), whatssound.merge_settings('{}', p_settings))
  on conflict (id) do nothing
  returning s.* into v_session;
  if v_session.id is null then
    return whatssound.created_earlier(p_id, v_user_id);
  end if;
  insert into public.session_members (session_id, user_id, role) values (p_id, v_user_id, 'dj');
  perform whatssound.new_clock(v_session);
  perform whatssound.append_session_event(v_session, 'started');
  perform whatssound.spend_tokens(v_user_id, 'manage', 1);
  return whatssound.finish_write(p_id, jsonb_build_object('session', whatssound.session_json(v_session)));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.create_session(text, jsonb, uuid) is
  'Signed-in users: opens a session with the caller as its DJ; the same id again returns the first session. Definer: tables take no direct writes.';

create function whatssound.created_earlier(p_id uuid, p_user_id uuid)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  select s.* into v_session from public.sessions s where s.id = p_id and s.dj_id = p_user_id;
  if not found then
    perform whatssound.refuse('id_conflict');
  end if;
  perform whatssound.lock_clock(p_id);
  -- Again: the first look was not under the lock.
  select s.* into strict v_session from public.sessions s where s.id = p_id;
  return whatssound.finish_write(p_id, jsonb_build_object('session', whatssound.session_json(v_session)));
end
$$;
comment on function whatssound.created_earlier(uuid, uuid) is 'Answers create_session for an id that exists: the caller''s own session, or id_conflict.';
revoke all on function whatssound.created_earlier(uuid, uuid) from public, anon, authenticated, service_role;
revoke all on function public.create_session(text, jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function public.create_session(text, jsonb, uuid) to authenticated;

create function public.join_session(p_session_id uuid, p_username text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_session public.sessions;
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
  perform whatssound.ensure_profile(v_user_id, case when p_username is not null then whatssound.checked_username(p_username) end);
  perform whatssound.spend_tokens(v_user_id, 'command', 1);
  return jsonb_build_object(
    'me', whatssound.me_json(p_session_id, v_user_id),
    'last_seq', (select c.last_seq from public.session_clock c where c.session_id = p_session_id),
    'server_time', clock_timestamp());
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.join_session(uuid, text) is
  'Signed-in users: makes the caller a listener of a public session (of a private one: members only) and sets their name. Definer: tables take no direct writes.';
revoke all on function public.join_session(uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.join_session(uuid, text) to authenticated;

create function whatssound.apply_clock_settings(p_session public.sessions)
returns void
language sql volatile
set search_path = ''
as $$
  update public.session_clock c
  set frames = (p_session.settings ->> 'frames')::boolean,
      fixed_tick = p_session.settings ->> 'tick_ms' is not null,
      tick_ms = coalesce((p_session.settings ->> 'tick_ms')::integer, case when c.fixed_tick then 0 else c.tick_ms end),
      -- Frames that come on again start with what comes next.
      framed_seq = case when c.frames then c.framed_seq else c.last_seq end
  where c.session_id = p_session.id
$$;
comment on function whatssound.apply_clock_settings(public.sessions) is 'Copies the frame settings of a session to its clock; call with its row locked.';
revoke all on function whatssound.apply_clock_settings(public.sessions) from public, anon, authenticated, service_role;

create function whatssound.change_session(p_session public.sessions, p_settings jsonb, p_title text)
returns public.sessions
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session public.sessions;
begin
  update public.sessions s
  set title = coalesce(whatssound.checked_title(coalesce(p_title, s.title)), s.title),
      visibility = whatssound.requested_visibility(p_settings, s.visibility),
      settings = whatssound.merge_settings(s.settings, p_settings)
  where s.id = p_session.id
  returning s.* into v_session;
  if v_session is distinct from p_session then
    perform whatssound.apply_clock_settings(v_session);
    perform whatssound.append_session_event(v_session, 'updated');
  end if;
  return v_session;
end
$$;
comment on function whatssound.change_session(public.sessions, jsonb, text) is 'Changes settings and title; appends an event if anything changed.';
revoke all on function whatssound.change_session(public.sessions, jsonb, text) from public, anon, authenticated, service_role;

create function public.update_session(p_session_id uuid, p_settings jsonb default '{}', p_title text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_session public.sessions;
begin
  v_actor := whatssound.admit_crew(p_session_id);
  perform whatssound.require_live(v_actor.session);
  v_session := whatssound.change_session(v_actor.session, p_settings, p_title);
  return whatssound.finish_write(p_session_id, jsonb_build_object('session', whatssound.session_json(v_session)));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.update_session(uuid, jsonb, text) is
  'DJ, moderators, service role: changes some settings or the title. Definer: tables take no direct writes.';
revoke all on function public.update_session(uuid, jsonb, text) from public, anon, authenticated, service_role;
grant execute on function public.update_session(uuid, jsonb, text) to authenticated, service_role;

create function public.end_session(p_session_id uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_session public.sessions;
begin
  v_actor := whatssound.admit_crew(p_session_id);
  v_session := v_actor.session;
  if v_session.status = 'live' then
    update public.sessions s set status = 'ended', ended_at = greatest(clock_timestamp(), s.started_at)
    where s.id = p_session_id returning s.* into v_session;
    perform whatssound.append_session_event(v_session, 'ended');
  end if;
  return whatssound.finish_write(p_session_id, jsonb_build_object('session', whatssound.session_json(v_session)));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.end_session(uuid) is
  'DJ, moderators, service role: ends the session; again: the same answer. Definer: tables take no direct writes.';
revoke all on function public.end_session(uuid) from public, anon, authenticated, service_role;
grant execute on function public.end_session(uuid) to authenticated, service_role;
