-- Realtime: who may read and write the topics of a session. The last migration, and nothing else in it: should it fail on a
-- hosted project (the table belongs to Realtime), run this file in the SQL editor; everything before it is complete.
--
--   session:<uuid>          chat, typing, presence: members of a live session read and write
--   session:<uuid>:frames   what the database says: members read, no client writes
--
-- Realtime keeps the answer of a policy for as long as a channel is joined: who is banned keeps hearing, and having
-- written before keeps broadcasting, until the next token or join. RPCs refuse at once. Keep tokens short.

create function whatssound.topic_session(p_topic text)
returns uuid
language sql immutable
set search_path = ''
as $$
  -- The whole topic, never a prefix.
  select (regexp_match(p_topic, '^session:([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?::frames)?$'))[1]::uuid
$$;
comment on function whatssound.topic_session(text) is 'The session a topic belongs to, or null.';
revoke all on function whatssound.topic_session(text) from public, anon, authenticated, service_role;

create function whatssound.may_hear(p_topic text)
returns boolean
language sql stable security definer
set search_path = ''
as $$
  select exists (
    select from public.session_members m join public.sessions s on s.id = m.session_id
    where m.session_id = whatssound.topic_session(p_topic) and m.user_id = auth.uid()
      and not m.banned and s.status = 'live')
$$;
comment on function whatssound.may_hear(text) is
  'True for members of the topic''s live session who are not banned. Definer: reads bans, which have no grant; policies call it.';
revoke all on function whatssound.may_hear(text) from public, anon, authenticated, service_role;
grant execute on function whatssound.may_hear(text) to authenticated;

create function whatssound.may_broadcast(p_topic text, p_extension text)
returns boolean
language sql stable security definer
set search_path = ''
as $$
  select p_topic !~ ':frames$' and exists (
    select from public.session_members m join public.sessions s on s.id = m.session_id
    where m.session_id = whatssound.topic_session(p_topic) and m.user_id = auth.uid()
      and not m.banned and s.status = 'live'
      -- Being present is for every member; chat and typing for those who may speak now.
      and (p_extension = 'presence' or (
        coalesce(m.muted_until, '-infinity') <= now()
        and (m.role <> 'listener' or not (s.settings ->> 'chat_frozen')::boolean)
        and (m.role <> 'listener' or not whatssound.is_anonymous_sign_in() or (s.settings ->> 'anonymous_may_speak')::boolean))))
$$;
comment on function whatssound.may_broadcast(text, text) is
  'True for members who may write to the topic: presence for all, broadcast for those who may speak. Definer: reads bans; policies call it.';
revoke all on function whatssound.may_broadcast(text, text) from public, anon, authenticated, service_role;
grant execute on function whatssound.may_broadcast(text, text) to authenticated;

drop policy if exists whatssound_members_read on realtime.messages;
create policy whatssound_members_read on realtime.messages for select to authenticated
  using (extension in ('broadcast', 'presence') and (select whatssound.may_hear((select realtime.topic()))));

drop policy if exists whatssound_members_write on realtime.messages;
create policy whatssound_members_write on realtime.messages for insert to authenticated
  with check (extension in ('broadcast', 'presence') and whatssound.may_broadcast((select realtime.topic()), extension));
