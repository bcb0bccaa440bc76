-- Sessions (live rooms), their members, and the clock that orders what happens in them.

create table public.sessions (
  id uuid primary key,
  title text not null,
  dj_id uuid not null references public.profiles (user_id),
  status text not null default 'live',
  visibility text not null default 'public',
  settings jsonb not null,
  started_at timestamptz not null default now(),
  ended_at timestamptz,
  constraint sessions_title check (char_length(title) between 1 and 200 and whatssound.is_clean_name(title)),
  constraint sessions_status check (status in ('live', 'ended')),
  constraint sessions_visibility check (visibility in ('public', 'private')),
  constraint sessions_settings check (jsonb_typeof(settings) = 'object'),
  constraint sessions_ended_at check ((status = 'ended') = (ended_at is not null) and ended_at >= started_at)
);
comment on table public.sessions is 'Live rooms. A public one may be seen by everybody, a private one by its members.';
create index idx_sessions_live on public.sessions (started_at desc) where status = 'live';
create index idx_sessions_dj on public.sessions (dj_id);
alter table public.sessions enable row level security;
revoke all on public.sessions from public, anon, authenticated, service_role;
grant select on public.sessions to anon, authenticated, service_role;

create table public.session_members (
  session_id uuid not null references public.sessions (id) on delete cascade,
  user_id uuid not null references public.profiles (user_id),
  role text not null default 'listener',
  muted_until timestamptz,
  banned boolean not null default false,
  last_spoke_at timestamptz,
  joined_at timestamptz not null default now(),
  primary key (session_id, user_id),
  constraint session_members_role check (role in ('dj', 'moderator', 'listener')),
  constraint session_members_dj_not_banned check (not (role = 'dj' and banned))
) with (fillfactor = 80);
comment on table public.session_members is 'Who has joined a session, and what they may do there. Leaving is not recorded: presence is not stored.';
comment on column public.session_members.last_spoke_at is 'When the server last stored a message of theirs; slow mode counts from here, not from the id''s time.';
create unique index session_members_one_dj on public.session_members (session_id) where role = 'dj';
create index idx_session_members_user on public.session_members (user_id);
alter table public.session_members enable row level security;
revoke all on public.session_members from public, anon, authenticated, service_role;
-- Who is muted or banned is not for everybody: those columns have no grant; one's own state comes with join and snapshot.
grant select (session_id, user_id, role, joined_at) on public.session_members to anon, authenticated;
grant select on public.session_members to service_role;

create table public.session_clock (
  session_id uuid primary key references public.sessions (id) on delete cascade,
  last_seq bigint not null default 0,
  framed_seq bigint not null default 0,
  framed_at timestamptz not null default '-infinity',
  frames boolean not null default true,
  tick_ms integer not null default 0,
  fixed_tick boolean not null default false,
  rate double precision not null default 0,
  rate_seq bigint not null default 0,
  rate_at timestamptz not null default now(),
  constraint session_clock_framed check (framed_seq between 0 and last_seq),
  constraint session_clock_tick check (tick_ms between 0 and 60000)
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table public.session_clock is
  'One row a session. Its row lock orders all writes of the session; last_seq counts events without a hole, as it rolls back with them.';
comment on column public.session_clock.framed_seq is 'Last event for which a frame was attempted; realtime.send does not say whether it arrived.';
comment on column public.session_clock.rate is 'Events a second, smoothed, measured at heartbeats.';
alter table public.session_clock enable row level security;
revoke all on public.session_clock from public, anon, authenticated, service_role;
grant select on public.session_clock to service_role;

------------------------------------------------------------------------------------------------------------------------
-- Who may see a session
------------------------------------------------------------------------------------------------------------------------

create function whatssound.can_read(p_session_id uuid)
returns boolean
language sql stable security definer
set search_path = ''
as $$
  select exists (
    select from public.sessions s
    left join public.session_members m on m.session_id = s.id and m.user_id = auth.uid()
    where s.id = p_session_id
      and (s.visibility = 'public' or m.user_id is not null)
      and m.banned is not true)
$$;
comment on function whatssound.can_read(uuid) is
  'True when the caller may see the session: public or a member, and not banned. Definer: it reads members'' bans, which have no grant; policies call it.';
revoke all on function whatssound.can_read(uuid) from public, anon, authenticated, service_role;
grant execute on function whatssound.can_read(uuid) to anon, authenticated;

create function whatssound.is_crew(p_session_id uuid)
returns boolean
language sql stable security definer
set search_path = ''
as $$
  select exists (
    select from public.session_members m
    where m.session_id = p_session_id and m.user_id = auth.uid() and m.role in ('dj', 'moderator') and not m.banned)
$$;
comment on function whatssound.is_crew(uuid) is 'True when the caller is the session''s DJ or a moderator. Definer: reads bans; policies call it.';
revoke all on function whatssound.is_crew(uuid) from public, anon, authenticated, service_role;
grant execute on function whatssound.is_crew(uuid) to anon, authenticated;

create policy sessions_select_readers on public.sessions for select to anon, authenticated
  using (whatssound.can_read(id));
create policy session_members_select_readers on public.session_members for select to anon, authenticated
  using (whatssound.can_read(session_id));

------------------------------------------------------------------------------------------------------------------------
-- Settings
------------------------------------------------------------------------------------------------------------------------

create function whatssound.setting_rules()
returns table (name text, kind text, preset jsonb, lowest bigint, highest bigint)
language sql immutable parallel safe
set search_path = ''
as $$
  values
    ('slow_mode_seconds', 'number', '0'::jsonb, 0::bigint, 21600::bigint),
    ('chat_frozen', 'boolean', 'false', null, null),
    ('max_message_length', 'number', '500', 1, 4000),
    ('anonymous_may_speak', 'boolean', 'true', null, null),
    ('anonymous_may_vote', 'boolean', 'true', null, null),
    ('anonymous_may_queue', 'boolean', 'true', null, null),
    ('anonymous_may_tip', 'boolean', 'true', null, null),
    ('listeners_may_queue', 'boolean', 'true', null, null),
    ('max_queue_length', 'number', '200', 1, 1000),
    ('max_tip_amount', 'number', '100000', 1, 1000000000000),
    ('frames', 'boolean', 'true', null, null),
    ('tick_ms', 'number', 'null', 0, 60000),
    ('app', 'object', '{}', null, null)
$$;
comment on function whatssound.setting_rules() is
  'The settings of a session: type, default and range. tick_ms null: from occupancy and plan. app: up to 4 kB of the application''s own.';
revoke all on function whatssound.setting_rules() from public, anon, authenticated, service_role;

create function whatssound.is_valid_setting(p_kind text, p_value jsonb, p_lowest bigint, p_highest bigint, p_nullable boolean)
returns boolean
language plpgsql immutable
set search_path = ''
as $$
begin
  if jsonb_typeof(p_value) = 'null' then
    return p_nullable;
  elsif jsonb_typeof(p_value) is distinct from p_kind then
    return false;
  elsif p_kind = 'number' then
    return p_value::numeric between p_lowest and p_highest and p_value::numeric = trunc(p_value::numeric);
  elsif p_kind = 'object' then
    return octet_length(p_value::text) <= 4096;
  end if;
  return true;
end
$$;
comment on function whatssound.is_valid_setting(text, jsonb, bigint, bigint, boolean) is 'True when a value obeys the rule of its setting.';
revoke all on function whatssound.is_valid_setting(text, jsonb, bigint, bigint, boolean) from public, anon, authenticated, service_role;

create function whatssound.merge_settings(p_current jsonb, p_change jsonb)
returns jsonb
language plpgsql immutable
set search_path = ''
as $$
declare
  v_wrong text;
  v_merged jsonb;
begin
  perform whatssound.require_argument(jsonb_typeof(p_change) = 'object', 'p_settings', 'an object');
  select c.key into v_wrong
  from jsonb_each(p_change - 'visibility') c
  left join whatssound.setting_rules() r on r.name = c.key
  where r.name is null
    or not whatssound.is_valid_setting(r.kind, c.value, r.lowest, r.highest, r.preset = 'null'::jsonb)
  order by c.key limit 1;
  if v_wrong is not null then
    perform whatssound.refuse('invalid_argument', jsonb_build_object(
      'argument', 'p_settings', 'setting', v_wrong, 'reason', 'unknown setting, wrong type or out of range'));
  end if;
  select jsonb_object_agg(r.name, coalesce(
    -- 5.0 is a whole number, too, but its text is none that Postgres takes for an integer.
    case when jsonb_typeof(p_change -> r.name) = 'number' then to_jsonb(trunc((p_change -> r.name)::numeric)) end,
    p_change -> r.name, p_current -> r.name, r.preset)) into v_merged
  from whatssound.setting_rules() r;
  return v_merged;
end
$$;
comment on function whatssound.merge_settings(jsonb, jsonb) is 'Current settings with a change applied and defaults filled in; refuses unknown or invalid ones.';
revoke all on function whatssound.merge_settings(jsonb, jsonb) from public, anon, authenticated, service_role;

create function whatssound.requested_visibility(p_settings jsonb, p_preset text)
returns text
language plpgsql immutable
set search_path = ''
as $$
declare
  v_visibility text := coalesce(p_settings ->> 'visibility', p_preset);
begin
  perform whatssound.require_argument(v_visibility in ('public', 'private'), 'p_settings', 'visibility is public or private');
  return v_visibility;
end
$$;
comment on function whatssound.requested_visibility(jsonb, text) is 'The visibility named in the settings argument, else the preset.';
revoke all on function whatssound.requested_visibility(jsonb, text) from public, anon, authenticated, service_role;

create function whatssound.session_json(p_session public.sessions)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'id', p_session.id, 'title', p_session.title, 'dj_id', p_session.dj_id, 'status', p_session.status,
    'visibility', p_session.visibility, 'settings', p_session.settings,
    'started_at', p_session.started_at, 'ended_at', p_session.ended_at)
$$;
comment on function whatssound.session_json(public.sessions) is 'A session as the API shows it.';
revoke all on function whatssound.session_json(public.sessions) from public, anon, authenticated, service_role;
