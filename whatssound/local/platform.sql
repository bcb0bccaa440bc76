-- What hosted Supabase provides before a project's own migrations: roles, schemas, auth and realtime.
-- Run as a superuser, on Postgres 15 to 18, any number of times.
--
-- Known differences from hosted:
--  * hosted lets `postgres` make policies on realtime.messages through an extension (supautils). Here `postgres` is a
--    member of the owning role instead, and the event triggers at the end refuse every other DDL on the schema, so
--    that a migration that would fail there fails here. GRANT on realtime objects is not caught.
--  * no storage, vault, graphql or cron schema.
set client_min_messages = warning;
set search_path = pg_catalog;

-- ---------------------------------------------------------------------------------------------------------- roles
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('supabase_admin',          'superuser createdb createrole replication bypassrls login'),
      ('postgres',                'nosuperuser createdb createrole replication bypassrls login inherit'),
      ('anon',                    'nologin noinherit'),
      ('authenticated',           'nologin noinherit'),
      ('service_role',            'nologin noinherit bypassrls'),
      ('authenticator',           'login noinherit'),
      ('supabase_auth_admin',     'login noinherit createrole'),
      ('supabase_realtime_admin', 'nologin noinherit'),
      ('dashboard_user',          'nologin createdb createrole replication')
    ) as t (name, attributes)
  loop
    if not exists (select from pg_roles where rolname = wanted.name) then
      execute format('create role %I %s', wanted.name, wanted.attributes);
      if wanted.attributes like '%login%' and wanted.attributes not like '%nologin%' then
        execute format('alter role %I password %L', wanted.name, 'postgres');
      end if;
    end if;
  end loop;

  -- An existing cluster may be owned by `postgres`: then it stays a superuser, since it cannot be demoted while it is
  -- the one that runs this, and migrations are not tested against hosted's limits.
  if (select rolsuper from pg_roles where rolname = 'postgres') then
    raise warning 'role postgres is a superuser here: migrations run with more rights than on hosted Supabase';
  end if;
end $$;

grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to postgres with admin option;
grant supabase_realtime_admin to postgres;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

alter role anon set statement_timeout = '3s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = '60s';

do $$
begin
  execute format('alter database %I set timezone to ''UTC''', current_database());
  execute format('alter database %I owner to postgres', current_database());
  execute format('grant connect, temporary on database %I to anon, authenticated, service_role, authenticator', current_database());
end $$;

-- ------------------------------------------------------------------------------------------- schemas and defaults
create schema if not exists extensions;
grant usage on schema extensions to postgres, anon, authenticated, service_role;
grant create on schema extensions to postgres;

do $$
declare
  wanted text;
begin
  foreach wanted in array array['pgcrypto', 'uuid-ossp'] loop
    if exists (select from pg_available_extensions where name = wanted) then
      execute format('create extension if not exists %I with schema extensions', wanted);
    end if;
  end loop;
end $$;

create schema if not exists public;
grant usage on schema public to postgres, anon, authenticated, service_role;
grant create on schema public to postgres;
-- Nothing is granted by default on what `postgres` makes in public: a project created since 2026-05-30 exposes a
-- table or function by an explicit GRANT (functions keep Postgres' own EXECUTE for PUBLIC until it is revoked).
alter default privileges for role postgres in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public revoke all on functions from anon, authenticated, service_role;

-- ----------------------------------------------------------------------------------------------------------- auth
create schema if not exists auth authorization supabase_auth_admin;
grant usage on schema auth to postgres, anon, authenticated, service_role;

create or replace function auth.uid() returns uuid language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.sub', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
  )::uuid
$$;

create or replace function auth.role() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.role', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role'
  )
$$;

create or replace function auth.email() returns text language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim.email', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'email'
  )
$$;

create or replace function auth.jwt() returns jsonb language sql stable as $$
  select coalesce(
    nullif(current_setting('request.jwt.claim', true), ''),
    nullif(current_setting('request.jwt.claims', true), '')
  )::jsonb
$$;

create table if not exists auth.users (
  instance_id uuid,
  id uuid primary key,
  aud varchar(255),
  role varchar(255),
  email varchar(255),
  encrypted_password varchar(255),
  email_confirmed_at timestamptz,
  invited_at timestamptz,
  confirmation_token varchar(255),
  confirmation_sent_at timestamptz,
  recovery_token varchar(255),
  recovery_sent_at timestamptz,
  email_change_token_new varchar(255),
  email_change varchar(255),
  email_change_sent_at timestamptz,
  last_sign_in_at timestamptz,
  raw_app_meta_data jsonb,
  raw_user_meta_data jsonb,
  is_super_admin boolean,
  created_at timestamptz,
  updated_at timestamptz,
  phone text unique default null,
  phone_confirmed_at timestamptz,
  phone_change text default '',
  phone_change_token varchar(255) default '',
  phone_change_sent_at timestamptz,
  confirmed_at timestamptz generated always as (least(email_confirmed_at, phone_confirmed_at)) stored,
  email_change_token_current varchar(255) default '',
  email_change_confirm_status smallint default 0 check (email_change_confirm_status between 0 and 2),
  banned_until timestamptz,
  reauthentication_token varchar(255) default '',
  reauthentication_sent_at timestamptz,
  is_sso_user boolean not null default false,
  deleted_at timestamptz,
  is_anonymous boolean not null default false
);
create unique index if not exists users_email_partial_key on auth.users (email) where is_sso_user = false;
create index if not exists users_is_anonymous_idx on auth.users (is_anonymous);

create table if not exists auth.identities (
  provider_id text not null,
  user_id uuid not null references auth.users (id) on delete cascade,
  identity_data jsonb not null,
  provider text not null,
  last_sign_in_at timestamptz,
  created_at timestamptz,
  updated_at timestamptz,
  email text generated always as (lower(identity_data ->> 'email')) stored,
  id uuid primary key default gen_random_uuid(),
  unique (provider_id, provider)
);
create index if not exists identities_user_id_idx on auth.identities (user_id);

create table if not exists auth.sessions (
  id uuid primary key,
  user_id uuid not null references auth.users (id) on delete cascade,
  created_at timestamptz,
  updated_at timestamptz,
  factor_id uuid,
  aal text check (aal in ('aal1', 'aal2', 'aal3')),
  not_after timestamptz,
  refreshed_at timestamp,
  user_agent text,
  ip inet,
  tag text
);
create index if not exists sessions_user_id_idx on auth.sessions (user_id);

create table if not exists auth.refresh_tokens (
  instance_id uuid,
  id bigint generated by default as identity primary key,
  token varchar(255) unique,
  user_id varchar(255),
  revoked boolean,
  created_at timestamptz,
  updated_at timestamptz,
  parent varchar(255),
  session_id uuid references auth.sessions (id) on delete cascade
);
create index if not exists refresh_tokens_session_id_revoked_idx on auth.refresh_tokens (session_id, revoked);
create index if not exists refresh_tokens_parent_idx on auth.refresh_tokens (parent);

do $$
declare
  thing text;
begin
  foreach thing in array array['users', 'identities', 'sessions', 'refresh_tokens'] loop
    execute format('alter table auth.%I owner to supabase_auth_admin', thing);
    execute format('alter table auth.%I enable row level security', thing);
    execute format('grant all on auth.%I to postgres, dashboard_user', thing);
  end loop;
  foreach thing in array array['uid', 'role', 'email', 'jwt'] loop
    execute format('alter function auth.%I() owner to supabase_auth_admin', thing);
    execute format('grant execute on function auth.%I() to public', thing);
  end loop;
end $$;
grant all on all sequences in schema auth to postgres, supabase_auth_admin;

-- ------------------------------------------------------------------------------------------------------- realtime
create schema if not exists realtime;
grant usage on schema realtime to postgres, anon, authenticated, service_role, supabase_realtime_admin;

create table if not exists realtime.messages (
  topic text not null,
  extension text not null,
  payload jsonb,
  event text,
  private boolean default false,
  updated_at timestamp not null default now(),
  inserted_at timestamp not null default now(),
  id uuid not null default gen_random_uuid(),
  binary_payload bytea,
  primary key (id, inserted_at),
  constraint messages_payload_exclusive check (payload is null or binary_payload is null)
) partition by range (inserted_at);
create index if not exists messages_inserted_at_topic_index
  on realtime.messages (inserted_at desc, topic) where extension = 'broadcast' and private is true;
alter table realtime.messages enable row level security;
alter table realtime.messages owner to supabase_realtime_admin;
grant select, insert, update on realtime.messages to postgres, anon, authenticated, service_role;

create or replace function realtime.topic() returns text language sql stable as $$
  select nullif(current_setting('realtime.topic', true), '')
$$;

-- The real server makes the partitions from yesterday to three days ahead and drops those older than 72 hours, once a
-- day. The local Realtime calls this instead. Answers how many partitions it made.
create or replace function realtime.keep_message_partitions(days_ahead integer default 3) returns integer
language plpgsql security definer set search_path = '' as $$
declare
  today date := (now() at time zone 'utc')::date;
  day date;
  old_partition text;
  made integer := 0;
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtext('realtime.keep_message_partitions'));
  for day in select today + n from pg_catalog.generate_series(-1, days_ahead) as n loop
    if pg_catalog.to_regclass(format('realtime.messages_%s', pg_catalog.to_char(day, 'YYYY_MM_DD'))) is null then
      execute format('create table realtime.%I partition of realtime.messages for values from (%L) to (%L)',
                     'messages_' || pg_catalog.to_char(day, 'YYYY_MM_DD'), day, day + 1);
      execute format('alter table realtime.%I owner to supabase_realtime_admin',
                     'messages_' || pg_catalog.to_char(day, 'YYYY_MM_DD'));
      made := made + 1;
    end if;
  end loop;
  for old_partition in
    select c.relname from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'realtime.messages'::pg_catalog.regclass
      and c.relname < 'messages_' || pg_catalog.to_char(today - 3, 'YYYY_MM_DD')
  loop
    execute format('drop table realtime.%I', old_partition);
  end loop;
  return made;
end $$;
revoke all on function realtime.keep_message_partitions(integer) from public;

-- Swallows every error as a warning, as the real one does: a caller learns nothing of a lost message.
create or replace function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void
language plpgsql as $$
declare
  message_id uuid := gen_random_uuid();
begin
  begin
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (id, payload, event, topic, private, extension)
    values (
      message_id,
      case when payload ? 'id' then payload else jsonb_set(payload, '{id}', to_jsonb(message_id)) end,
      event, topic, private, 'broadcast'
    );
  exception when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
  end;
end $$;

create or replace function realtime.send_binary(payload bytea, event text, topic text, private boolean default true)
returns void language plpgsql as $$
begin
  begin
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (binary_payload, event, topic, private, extension)
    values (payload, event, topic, private, 'broadcast');
  exception when others then
    raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
  end;
end $$;

create or replace function realtime.broadcast_changes(
  topic_name text, event_name text, operation text, table_name text, table_schema text,
  new record, old record, level text default 'ROW'
) returns void language plpgsql as $$
begin
  if level = 'STATEMENT' then
    raise exception 'function can only be triggered for each row, not for each statement';
  end if;
  if operation not in ('INSERT', 'UPDATE', 'DELETE') then
    raise exception 'Unexpected operation type: %', operation;
  end if;
  perform realtime.send(
    jsonb_build_object('old_record', old, 'record', new, 'operation', operation, 'table', table_name, 'schema', table_schema),
    event_name, topic_name
  );
exception when others then
  raise exception 'Failed to process the row: %', sqlerrm;
end $$;

alter function realtime.topic() owner to supabase_realtime_admin;
alter function realtime.send(jsonb, text, text, boolean) owner to supabase_realtime_admin;
alter function realtime.send_binary(bytea, text, text, boolean) owner to supabase_realtime_admin;
alter function realtime.broadcast_changes(text, text, text, text, text, record, record, text) owner to supabase_realtime_admin;

select realtime.keep_message_partitions();

do $$
begin
  if not exists (select from pg_publication where pubname = 'supabase_realtime') then
    create publication supabase_realtime;
  end if;
  alter publication supabase_realtime owner to postgres;
  -- What the real server uses to hear of messages sent from the database.
  if not exists (select from pg_publication where pubname = 'supabase_realtime_messages_publication') then
    create publication supabase_realtime_messages_publication for table realtime.messages;
  end if;
end $$;

-- On hosted, `postgres` does not own realtime's objects; see the head of this file.
create or replace function realtime.refuse_foreign_ddl() returns event_trigger
language plpgsql set search_path = '' as $$
declare
  command record;
begin
  if (select rolsuper from pg_catalog.pg_roles where rolname = session_user) then
    return;
  end if;
  if tg_event = 'sql_drop' then
    for command in select * from pg_catalog.pg_event_trigger_dropped_objects() loop
      if command.original and command.schema_name = 'realtime' and command.object_type <> 'policy' then
        raise insufficient_privilege using message = format('must be owner of %s', command.object_identity);
      end if;
    end loop;
  else
    for command in select * from pg_catalog.pg_event_trigger_ddl_commands() loop
      if command.command_tag in ('CREATE POLICY', 'ALTER POLICY') then
        continue;
      end if;
      if command.schema_name = 'realtime' or command.object_identity ~ '( on |^)realtime\.' then
        raise insufficient_privilege using message = format('must be owner of %s', command.object_identity);
      end if;
    end loop;
  end if;
end $$;
drop event trigger if exists whatssound_refuse_realtime_ddl;
drop event trigger if exists whatssound_refuse_realtime_drop;
create event trigger whatssound_refuse_realtime_ddl on ddl_command_end execute function realtime.refuse_foreign_ddl();
create event trigger whatssound_refuse_realtime_drop on sql_drop execute function realtime.refuse_foreign_ddl();

-- PostgREST learns of a changed schema by these, on hosted as here.
create or replace function extensions.pgrst_ddl_watch() returns event_trigger language plpgsql as $$
begin
  if exists (select from pg_catalog.pg_event_trigger_ddl_commands() as c where c.schema_name is distinct from 'pg_temp') then
    notify pgrst, 'reload schema';
  end if;
end $$;
create or replace function extensions.pgrst_drop_watch() returns event_trigger language plpgsql as $$
begin
  if exists (select from pg_catalog.pg_event_trigger_dropped_objects() as o where not o.is_temporary) then
    notify pgrst, 'reload schema';
  end if;
end $$;
drop event trigger if exists pgrst_ddl_watch;
drop event trigger if exists pgrst_drop_watch;
create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_drop_watch();

reset search_path;
reset client_min_messages;
