-- The event log: every durable change of a session, numbered without a hole in commit order; and the keys that make a
-- repeated call return the first answer.

create table public.session_events (
  session_id uuid not null references public.session_clock (session_id) on delete cascade,
  seq bigint not null,
  kind text not null,
  payload jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  primary key (session_id, seq),
  constraint session_events_seq check (seq > 0),
  constraint session_events_kind check (
    kind in ('message', 'message_deleted', 'vote', 'tip', 'tip_refunded', 'queue', 'member', 'session')),
  constraint session_events_payload check (jsonb_typeof(payload) = 'object')
);
comment on table public.session_events is
  'What happened in a session, kept for project.event_retention. Read through events_since and frames only.';
alter table public.session_events enable row level security;
revoke all on public.session_events from public, anon, authenticated, service_role;
grant select on public.session_events to service_role;

create function whatssound.next_seq(p_session_id uuid)
returns bigint
language sql volatile
set search_path = ''
as $$
  update public.session_clock c set last_seq = c.last_seq + 1 where c.session_id = p_session_id returning c.last_seq
$$;
comment on function whatssound.next_seq(uuid) is 'Takes the next number of the session; call with the clock''s row locked.';
revoke all on function whatssound.next_seq(uuid) from public, anon, authenticated, service_role;

create function whatssound.log_event(p_session_id uuid, p_seq bigint, p_kind text, p_payload jsonb)
returns void
language sql volatile
set search_path = ''
as $$
  insert into public.session_events (session_id, seq, kind, payload) values (p_session_id, p_seq, p_kind, p_payload)
$$;
comment on function whatssound.log_event(uuid, bigint, text, jsonb) is 'Writes the event with a number from next_seq.';
revoke all on function whatssound.log_event(uuid, bigint, text, jsonb) from public, anon, authenticated, service_role;

create function whatssound.append_event(p_session_id uuid, p_kind text, p_payload jsonb)
returns bigint
language plpgsql volatile
set search_path = ''
as $$
declare
  v_seq bigint := whatssound.next_seq(p_session_id);
begin
  perform whatssound.log_event(p_session_id, v_seq, p_kind, p_payload);
  return v_seq;
end
$$;
comment on function whatssound.append_event(uuid, text, jsonb) is 'Appends one event and returns its number; call with the clock''s row locked.';
revoke all on function whatssound.append_event(uuid, text, jsonb) from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Idempotency keys
------------------------------------------------------------------------------------------------------------------------

create table whatssound.idempotency_keys (
  user_id uuid not null,
  key uuid not null,
  operation text not null,
  request jsonb not null,
  reply jsonb not null,
  created_at timestamptz not null default now(),
  primary key (user_id, key)
);
comment on table whatssound.idempotency_keys is
  'Calls that have been carried out, per caller, so that a repeated one gets the first answer. Kept as long as events.';
create index idx_idempotency_keys_created on whatssound.idempotency_keys using brin (created_at) with (pages_per_range = 16);
alter table whatssound.idempotency_keys enable row level security;
revoke all on whatssound.idempotency_keys from public, anon, authenticated, service_role;

create function whatssound.earlier_reply(p_user_id uuid, p_key uuid, p_operation text, p_request jsonb)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_earlier whatssound.idempotency_keys;
begin
  perform whatssound.require_argument(p_key is not null, 'p_key', 'a UUID, the same for every try of one call');
  select k.* into v_earlier from whatssound.idempotency_keys k where k.user_id = p_user_id and k.key = p_key;
  if not found then
    return null;
  end if;
  if v_earlier.operation <> p_operation or v_earlier.request <> p_request then
    perform whatssound.refuse('idempotency_mismatch', jsonb_build_object('operation', v_earlier.operation));
  end if;
  return v_earlier.reply;
end
$$;
comment on function whatssound.earlier_reply(uuid, uuid, text, jsonb) is
  'The answer this caller''s key has had, or null; refuses when the key belongs to another call. Call with the clock''s row locked.';
revoke all on function whatssound.earlier_reply(uuid, uuid, text, jsonb) from public, anon, authenticated, service_role;

create function whatssound.remember_reply(p_user_id uuid, p_key uuid, p_operation text, p_request jsonb, p_reply jsonb)
returns void
language plpgsql volatile
set search_path = ''
as $$
begin
  insert into whatssound.idempotency_keys (user_id, key, operation, request, reply)
  values (p_user_id, p_key, p_operation, p_request, p_reply)
  on conflict (user_id, key) do nothing;
  if not found then
    -- Another session took the key between the look and now; within one session the clock's lock prevents that.
    perform whatssound.refuse('idempotency_mismatch', jsonb_build_object('operation', p_operation));
  end if;
end
$$;
comment on function whatssound.remember_reply(uuid, uuid, text, jsonb, jsonb) is 'Keeps the answer of a call under the caller''s key.';
revoke all on function whatssound.remember_reply(uuid, uuid, text, jsonb, jsonb) from public, anon, authenticated, service_role;
