-- Moderation: roles, mutes, bans, deleted messages, slow mode, frozen chat. Each takes effect with the very next call of
-- whoever it is about, is an event that everybody receives, and is written down.

create table public.moderation_log (
  id bigint generated always as identity primary key,
  session_id uuid not null references public.sessions (id) on delete cascade,
  action text not null,
  user_id uuid,
  by_user_id uuid,
  detail jsonb not null default '{}',
  created_at timestamptz not null default clock_timestamp(),
  constraint moderation_log_action check (action in (
    'role', 'muted', 'unmuted', 'banned', 'unbanned', 'message_deleted', 'slow_mode', 'chat_frozen', 'chat_unfrozen'))
);
comment on table public.moderation_log is 'Who moderated whom, when and why. by_user_id null: the service role. Deleted words are not kept.';
create index idx_moderation_log_session on public.moderation_log (session_id, id desc);
alter table public.moderation_log enable row level security;
revoke all on public.moderation_log from public, anon, authenticated, service_role;
grant select on public.moderation_log to authenticated, service_role;
create policy moderation_log_select_crew on public.moderation_log for select to authenticated
  using (whatssound.is_crew(session_id));

create function whatssound.note_moderation(p_actor whatssound.actor, p_action text, p_user_id uuid, p_detail jsonb default '{}')
returns void
language sql volatile
set search_path = ''
as $$
  insert into public.moderation_log (session_id, action, user_id, by_user_id, detail)
  values ((p_actor.session).id, p_action, p_user_id, p_actor.user_id, p_detail)
$$;
comment on function whatssound.note_moderation(whatssound.actor, text, uuid, jsonb) is 'Writes down one act of moderation.';
revoke all on function whatssound.note_moderation(whatssound.actor, text, uuid, jsonb) from public, anon, authenticated, service_role;

create function whatssound.moderated_member(p_actor whatssound.actor, p_user_id uuid)
returns public.session_members
language plpgsql volatile
set search_path = ''
as $$
declare
  v_member public.session_members;
begin
  select m.* into v_member from public.session_members m
  where m.session_id = (p_actor.session).id and m.user_id = p_user_id;
  if not found then
    perform whatssound.refuse('unknown_member', jsonb_build_object('user_id', p_user_id));
  end if;
  -- Nobody touches the DJ; only the DJ and the service role touch moderators.
  if v_member.role = 'dj' or (v_member.role = 'moderator' and p_actor.role = 'moderator') then
    perform whatssound.refuse('not_allowed', jsonb_build_object('role', p_actor.role, 'member_role', v_member.role));
  end if;
  return v_member;
end
$$;
comment on function whatssound.moderated_member(whatssound.actor, uuid) is 'The member to be moderated; refuses strangers and those above the caller.';
revoke all on function whatssound.moderated_member(whatssound.actor, uuid) from public, anon, authenticated, service_role;

create function whatssound.log_member(
  p_actor whatssound.actor, p_member public.session_members, p_action text, p_reason text default null)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_payload jsonb := jsonb_build_object(
    'action', p_action, 'user_id', p_member.user_id,
    'username', (select p.username from public.profiles p where p.user_id = p_member.user_id),
    'role', p_member.role, 'banned', p_member.banned, 'muted_until', p_member.muted_until,
    'by', p_actor.user_id, 'reason', p_reason);
begin
  perform whatssound.note_moderation(p_actor, p_action, p_member.user_id,
    jsonb_strip_nulls(jsonb_build_object('role', p_member.role, 'muted_until', p_member.muted_until, 'reason', p_reason)));
  return whatssound.finish_write(p_member.session_id, jsonb_build_object(
    'member', whatssound.me_json(p_member.session_id, p_member.user_id),
    'seq', whatssound.append_event(p_member.session_id, 'member', v_payload), 'changed', true));
end
$$;
comment on function whatssound.log_member(whatssound.actor, public.session_members, text, text) is
  'Logs a change of a member as event and in the moderation log, and answers for it.';
revoke all on function whatssound.log_member(whatssound.actor, public.session_members, text, text)
  from public, anon, authenticated, service_role;

create function whatssound.unchanged_member(p_member public.session_members)
returns jsonb
language sql volatile
set search_path = ''
as $$
  select whatssound.finish_write(p_member.session_id, jsonb_build_object(
    'member', whatssound.me_json(p_member.session_id, p_member.user_id), 'seq', null, 'changed', false))
$$;
comment on function whatssound.unchanged_member(public.session_members) is 'What moderation answers when there was nothing to change: no event.';
revoke all on function whatssound.unchanged_member(public.session_members) from public, anon, authenticated, service_role;

create function public.set_member_role(p_session_id uuid, p_user_id uuid, p_role text)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_member public.session_members;
  v_new boolean;
begin
  perform whatssound.require_argument(p_role in ('moderator', 'listener'), 'p_role', 'moderator or listener');
  perform whatssound.require_argument(p_user_id is not null, 'p_user_id', 'a user id');
  v_actor := whatssound.admit_crew(p_session_id);
  if v_actor.role = 'moderator' then
    perform whatssound.refuse('not_allowed', '{"role": "moderator"}');
  end if;
  perform whatssound.ensure_profile(p_user_id);
  insert into public.session_members (session_id, user_id) values (p_session_id, p_user_id)
  on conflict (session_id, user_id) do nothing;
  v_new := found;
  v_member := whatssound.moderated_member(v_actor, p_user_id);
  if v_member.role = p_role and not v_new then
    return whatssound.unchanged_member(v_member);
  end if;
  update public.session_members m set role = p_role
  where m.session_id = p_session_id and m.user_id = p_user_id returning m.* into v_member;
  return whatssound.log_member(v_actor, v_member, 'role');
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.set_member_role(uuid, uuid, text) is
  'DJ, service role: makes a user moderator or listener; this is also how a private session lets somebody in. Definer: tables take no direct writes.';
revoke all on function public.set_member_role(uuid, uuid, text) from public, anon, authenticated, service_role;
grant execute on function public.set_member_role(uuid, uuid, text) to authenticated, service_role;

create function public.mute_member(p_session_id uuid, p_user_id uuid, p_seconds integer)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_member public.session_members;
begin
  perform whatssound.require_argument(p_seconds between 0 and 31536000, 'p_seconds', '0 (unmute) to one year');
  v_actor := whatssound.admit_crew(p_session_id);
  v_member := whatssound.moderated_member(v_actor, p_user_id);
  if p_seconds = 0 and coalesce(v_member.muted_until, '-infinity') <= clock_timestamp() then
    return whatssound.unchanged_member(v_member);
  end if;
  update public.session_members m
  set muted_until = case when p_seconds > 0 then clock_timestamp() + make_interval(secs => p_seconds) end
  where m.session_id = p_session_id and m.user_id = p_user_id returning m.* into v_member;
  return whatssound.log_member(v_actor, v_member, case when p_seconds > 0 then 'muted' else 'unmuted' end);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.mute_member(uuid, uuid, integer) is
  'DJ, moderators, service role: mutes a member for so many seconds from now; 0 unmutes. Definer: tables take no direct writes.';
revoke all on function public.mute_member(uuid, uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.mute_member(uuid, uuid, integer) to authenticated, service_role;

create function public.ban_member(p_session_id uuid, p_user_id uuid, p_banned boolean default true, p_reason text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_member public.session_members;
begin
  perform whatssound.require_argument(p_banned is not null, 'p_banned', 'true or false');
  perform whatssound.require_argument(
    p_reason is null or (char_length(p_reason) <= 500 and whatssound.is_clean_text(p_reason)), 'p_reason', 'at most 500 characters');
  v_actor := whatssound.admit_crew(p_session_id);
  v_member := whatssound.moderated_member(v_actor, p_user_id);
  if v_member.banned = p_banned then
    return whatssound.unchanged_member(v_member);
  end if;
  update public.session_members m set banned = p_banned
  where m.session_id = p_session_id and m.user_id = p_user_id returning m.* into v_member;
  delete from whatssound.leases l where l.session_id = p_session_id and l.user_id = p_user_id and p_banned;
  return whatssound.log_member(v_actor, v_member, case when p_banned then 'banned' else 'unbanned' end, p_reason);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.ban_member(uuid, uuid, boolean, text) is
  'DJ, moderators, service role: bans a member or lifts the ban. Definer: tables take no direct writes.';
revoke all on function public.ban_member(uuid, uuid, boolean, text) from public, anon, authenticated, service_role;
grant execute on function public.ban_member(uuid, uuid, boolean, text) to authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Deleting messages
------------------------------------------------------------------------------------------------------------------------

create function whatssound.find_message(p_session_id uuid, p_message_id uuid, p_user_id uuid)
returns public.messages
language plpgsql volatile
set search_path = ''
as $$
declare
  v_found public.messages[] := array(
    select m from public.messages m
    where m.session_id = p_session_id and m.created_at = whatssound.uuid7_time(p_message_id) and m.id = p_message_id
      and (p_user_id is null or m.user_id = p_user_id));
begin
  if cardinality(v_found) = 0 then
    perform whatssound.refuse('unknown_message', jsonb_build_object('message_id', p_message_id));
  end if;
  -- Two authors may have used one id: an id alone does not say whose words are meant.
  perform whatssound.require_argument(cardinality(v_found) = 1, 'p_user_id', 'several authors have this id: name one');
  return v_found[1];
end
$$;
comment on function whatssound.find_message(uuid, uuid, uuid) is 'The message with that id (and author, where given); refuses unknown and ambiguous ones.';
revoke all on function whatssound.find_message(uuid, uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.redact_message(p_message public.messages)
returns void
language plpgsql volatile
set search_path = ''
as $$
begin
  update public.messages m set content = '', deleted_at = clock_timestamp()
  where m.user_id = p_message.user_id and m.id = p_message.id and m.created_at = p_message.created_at;
  -- The event keeps its place, so that the numbers stay dense, but not the words.
  update public.session_events e set payload = e.payload || '{"content": "", "deleted": true}'
  where e.session_id = p_message.session_id and e.seq = p_message.seq;
end
$$;
comment on function whatssound.redact_message(public.messages) is 'Takes the words out of the message and of its event.';
revoke all on function whatssound.redact_message(public.messages) from public, anon, authenticated, service_role;

create function whatssound.admit_author_or_crew(p_session_id uuid)
returns whatssound.actor
language plpgsql volatile
set search_path = ''
as $$
declare
  v_user_id uuid;
begin
  if whatssound.is_service() then
    return whatssound.admit_crew(p_session_id);
  end if;
  v_user_id := whatssound.require_user('manage');
  perform whatssound.lock_clock(p_session_id);
  return whatssound.admit(p_session_id, v_user_id);
end
$$;
comment on function whatssound.admit_author_or_crew(uuid) is 'Locks the clock and admits any member or the service role.';
revoke all on function whatssound.admit_author_or_crew(uuid) from public, anon, authenticated, service_role;

create function public.delete_message(p_session_id uuid, p_message_id uuid, p_user_id uuid default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_actor whatssound.actor;
  v_message public.messages;
  v_seq bigint;
begin
  v_actor := whatssound.admit_author_or_crew(p_session_id);
  v_message := whatssound.find_message(
    p_session_id, p_message_id, case when v_actor.role = 'listener' then v_actor.user_id else p_user_id end);
  if v_message.deleted_at is null then
    perform whatssound.redact_message(v_message);
    v_seq := whatssound.append_event(p_session_id, 'message_deleted', jsonb_build_object(
      'id', v_message.id, 'user_id', v_message.user_id, 'by', v_actor.user_id));
    perform whatssound.note_moderation(v_actor, 'message_deleted', v_message.user_id, jsonb_build_object('message_id', v_message.id));
  end if;
  if v_actor.user_id is not null and v_actor.role = 'listener' then
    perform whatssound.spend_tokens(v_actor.user_id, 'manage', 1);
  end if;
  return whatssound.finish_write(p_session_id, jsonb_build_object(
    'id', v_message.id, 'user_id', v_message.user_id, 'seq', v_seq, 'changed', v_seq is not null));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.delete_message(uuid, uuid, uuid) is
  'DJ, moderators, service role any message, listeners their own: deletes its words from table and log. Definer: tables take no direct writes.';
revoke all on function public.delete_message(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.delete_message(uuid, uuid, uuid) to authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- The pace of the chat
------------------------------------------------------------------------------------------------------------------------

create function whatssound.change_chat(p_session_id uuid, p_settings jsonb, p_action text)
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_actor whatssound.actor := whatssound.admit_crew(p_session_id);
  v_session public.sessions;
begin
  perform whatssound.require_live(v_actor.session);
  v_session := whatssound.change_session(v_actor.session, p_settings, null);
  if v_session is distinct from v_actor.session then
    perform whatssound.note_moderation(v_actor, p_action, null, p_settings);
  end if;
  return whatssound.finish_write(p_session_id, jsonb_build_object('session', whatssound.session_json(v_session)));
end
$$;
comment on function whatssound.change_chat(uuid, jsonb, text) is 'Changes a setting of the chat and writes it down.';
revoke all on function whatssound.change_chat(uuid, jsonb, text) from public, anon, authenticated, service_role;

create function public.set_slow_mode(p_session_id uuid, p_seconds integer)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
begin
  perform whatssound.require_argument(p_seconds between 0 and 21600, 'p_seconds', '0 (off) to 6 hours');
  return whatssound.change_chat(p_session_id, jsonb_build_object('slow_mode_seconds', p_seconds), 'slow_mode');
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.set_slow_mode(uuid, integer) is
  'DJ, moderators, service role: seconds a listener waits between two messages; 0: off. Definer: tables take no direct writes.';
revoke all on function public.set_slow_mode(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.set_slow_mode(uuid, integer) to authenticated, service_role;

create function public.freeze_chat(p_session_id uuid, p_frozen boolean default true)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
begin
  perform whatssound.require_argument(p_frozen is not null, 'p_frozen', 'true or false');
  return whatssound.change_chat(p_session_id, jsonb_build_object('chat_frozen', p_frozen),
    case when p_frozen then 'chat_frozen' else 'chat_unfrozen' end);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.freeze_chat(uuid, boolean) is
  'DJ, moderators, service role: lets only the crew speak, or everybody again. Definer: tables take no direct writes.';
revoke all on function public.freeze_chat(uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.freeze_chat(uuid, boolean) to authenticated, service_role;
