-- Chat messages: one table, a partition a month.
--
-- The key is (user_id, id, created_at). created_at is a pure function of the UUIDv7 in id, so the same id always lands on
-- the same row although the partition key is a time; user_id is part of the key so that who overhears a broadcast cannot
-- store it first and swallow the author's words.
--
-- Partitions live in the unexposed schema, each with row level security and without any grant. They are made ahead, never
-- by an inserting transaction. There is no default partition: it would hide a missing month and block making it.

create table public.messages (
  id uuid not null,
  session_id uuid not null,
  user_id uuid not null,
  username text not null,
  role text not null,
  content text not null,
  created_at timestamptz not null,
  inserted_at timestamptz not null default clock_timestamp(),
  seq bigint not null,
  deleted_at timestamptz,
  primary key (user_id, id, created_at),
  constraint messages_created_at check (created_at = whatssound.uuid7_time(id)),
  constraint messages_role check (role in ('dj', 'moderator', 'listener')),
  constraint messages_content check (char_length(content) <= 4000 and (deleted_at is not null) = (content = '')),
  constraint messages_seq check (seq > 0)
) partition by range (created_at);
comment on table public.messages is
  'Chat. Written by insert_messages only. A deleted message keeps its row without its words, so that a late retry is not stored again.';
comment on column public.messages.created_at is 'The time in the id: the author''s clock, within 7 days before and 2 minutes after the server''s.';
comment on column public.messages.inserted_at is 'The server''s clock when it was stored.';
comment on column public.messages.username is 'The author''s name when it was stored.';
-- No foreign keys: attaching and dropping partitions would lock the tables they point to; insert_messages, the only
-- writer, checks author and session under the session's lock.
create index idx_messages_session_created on public.messages (session_id, created_at desc);
create index idx_messages_session_seq on public.messages (session_id, seq desc);
alter table public.messages enable row level security;
revoke all on public.messages from public, anon, authenticated, service_role;
grant select on public.messages to anon, authenticated, service_role;
create policy messages_select_readers on public.messages for select to anon, authenticated
  using (deleted_at is null and whatssound.can_read(session_id));

create function whatssound.make_message_partition(p_month date)
returns boolean
language plpgsql volatile
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  v_from timestamptz := date_trunc('month', p_month::timestamp) at time zone 'UTC';
  v_to timestamptz := (date_trunc('month', p_month::timestamp) + interval '1 month') at time zone 'UTC';
  v_name text := 'messages_' || to_char(p_month, 'YYYY_MM');
begin
  -- Two upkeeps at once: the second waits here and then finds the partition.
  perform pg_advisory_xact_lock(hashtextextended('whatssound.make_message_partition', 0));
  if exists (
    select from pg_catalog.pg_inherits i
    where i.inhparent = 'public.messages'::regclass and i.inhrelid = to_regclass('whatssound.' || v_name)) then
    return false;
  end if;
  -- Made beside the table and attached when complete: attaching lets inserts go on, creating in place would not.
  execute format('create table whatssound.%I (like public.messages including all)', v_name);
  execute format('alter table whatssound.%I enable row level security', v_name);
  execute format('revoke all on whatssound.%I from public, anon, authenticated, service_role', v_name);
  execute format('comment on table whatssound.%I is %L', v_name,
                 'Messages of one month (UTC). No grants: read and written through public.messages only.');
  execute format('alter table public.messages attach partition whatssound.%I for values from (%L) to (%L)', v_name,
                 v_from, v_to);
  return true;
end
$$;
comment on function whatssound.make_message_partition(date) is
  'Makes and attaches the partition of a month unless there is one; true when it did. Never call it in a transaction that inserts.';
revoke all on function whatssound.make_message_partition(date) from public, anon, authenticated, service_role;

create function whatssound.ensure_message_partitions(p_now timestamptz, p_months_ahead integer)
returns integer
language plpgsql volatile
set search_path = ''
as $$
declare
  v_first date := date_trunc('month', (p_now - interval '7 days') at time zone 'UTC');
  v_last date := date_trunc('month', p_now at time zone 'UTC') + make_interval(months => p_months_ahead);
  v_made integer := 0;
  v_month date;
begin
  for v_month in select m::date from generate_series(v_first::timestamp, v_last::timestamp, interval '1 month') m loop
    v_made := v_made + whatssound.make_message_partition(v_month)::integer;
  end loop;
  return v_made;
end
$$;
comment on function whatssound.ensure_message_partitions(timestamptz, integer) is
  'Makes what is missing from 7 days ago to so many months ahead; returns how many it made.';
revoke all on function whatssound.ensure_message_partitions(timestamptz, integer) from public, anon, authenticated, service_role;

-- From the start of 2026, so that imported history has a place, to 24 months ahead of the day this runs.
do $$
begin
  perform whatssound.make_message_partition(m::date)
  from generate_series(timestamp '2026-01-01', date_trunc('month', now() at time zone 'UTC'), interval '1 month') m;
  perform whatssound.ensure_message_partitions(now(), 24);
end
$$;
