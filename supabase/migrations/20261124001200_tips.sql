-- Tips: money for the DJ, in minor units (cents) of an ISO 4217 currency.
--
-- A tip begins as pending, seen by tipper and DJ only and not in the event log. The payment provider's word, brought by
-- the service role through confirm_tip, makes it confirmed (counted, announced) or refunded. A confirmed tip may still be
-- refunded, as card payments may be; nothing leads out of refunded, and nothing back to pending. A payment that never came
-- about stays between tipper and DJ: else a note for all to read would cost nothing.

create table public.tips (
  id uuid primary key default gen_random_uuid(),
  session_id uuid not null references public.sessions (id),
  tipper_id uuid not null references public.profiles (user_id),
  dj_id uuid not null references public.profiles (user_id),
  username text not null,
  amount bigint not null,
  currency text not null,
  note text,
  status text not null default 'pending',
  key uuid not null,
  provider_ref text,
  seq bigint,
  created_at timestamptz not null default now(),
  settled_at timestamptz,
  constraint tips_one_per_key unique (tipper_id, key),
  constraint tips_amount check (amount between 1 and 1000000000000),
  constraint tips_currency check (whatssound.is_currency(currency)),
  constraint tips_note check (char_length(note) between 1 and 200 and whatssound.is_clean_text(note)),
  constraint tips_status check (status in ('pending', 'confirmed', 'refunded')),
  constraint tips_settled check ((status = 'pending') = (settled_at is null)
    and (status <> 'pending' or seq is null) and (status <> 'confirmed' or seq is not null))
);
comment on table public.tips is 'Tips. amount is in minor units. Rows are never deleted; totals are counted from the rows, so they cannot disagree.';
comment on column public.tips.seq is 'The event that settled it last; null unless it has been confirmed: such a tip is not public.';
comment on column public.tips.key is 'The tipper''s idempotency key; not readable through the API.';
create index idx_tips_dj_amount on public.tips (dj_id, amount desc) include (currency, status);
create index idx_tips_session on public.tips (session_id, currency) include (amount) where status = 'confirmed';
create unique index tips_provider_ref on public.tips (provider_ref) where provider_ref is not null;
alter table public.tips enable row level security;
revoke all on public.tips from public, anon, authenticated, service_role;
grant select (id, session_id, tipper_id, dj_id, username, amount, currency, note, status, seq, created_at, settled_at)
  on public.tips to anon, authenticated;
grant select on public.tips to service_role;
create policy tips_select_anon on public.tips for select to anon
  using (seq is not null and whatssound.can_read(session_id));
create policy tips_select_authenticated on public.tips for select to authenticated
  using ((select auth.uid()) in (tipper_id, dj_id) or (seq is not null and whatssound.can_read(session_id)));

create function whatssound.keep_tip_facts()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if row(new.id, new.session_id, new.tipper_id, new.dj_id, new.amount, new.currency, new.key, new.created_at)
      is distinct from row(old.id, old.session_id, old.tipper_id, old.dj_id, old.amount, old.currency, old.key, old.created_at)
    or not (new.status = old.status or (old.status, new.status) in
      (('pending', 'confirmed'), ('pending', 'refunded'), ('confirmed', 'refunded'))) then
    perform whatssound.refuse('tip_state', jsonb_build_object('status', old.status, 'wanted', new.status));
  end if;
  return new;
end
$$;
comment on function whatssound.keep_tip_facts() is 'Holds for every role, the owner too: a tip''s facts never change and its status only moves forward.';
revoke all on function whatssound.keep_tip_facts() from public, anon, authenticated, service_role;
create trigger tips_before_update_keep_facts before update on public.tips
  for each row execute function whatssound.keep_tip_facts();

create function whatssound.tip_json(p_tip public.tips)
returns jsonb
language sql stable
set search_path = ''
as $$
  select jsonb_build_object(
    'id', p_tip.id, 'session_id', p_tip.session_id, 'tipper_id', p_tip.tipper_id, 'dj_id', p_tip.dj_id,
    'username', p_tip.username, 'amount', p_tip.amount, 'currency', p_tip.currency, 'note', p_tip.note,
    'status', p_tip.status, 'created_at', p_tip.created_at, 'seq', p_tip.seq)
$$;
comment on function whatssound.tip_json(public.tips) is 'A tip as the API shows it: without key and provider reference.';
revoke all on function whatssound.tip_json(public.tips) from public, anon, authenticated, service_role;

create function whatssound.require_tip(p_amount bigint, p_currency text, p_note text, p_key uuid)
returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  perform whatssound.require_argument(p_key is not null, 'p_key', 'a UUID, the same for every try of one tip');
  perform whatssound.require_argument(p_amount >= 1, 'p_amount', 'a positive number of minor units');
  perform whatssound.require_argument(whatssound.is_currency(p_currency), 'p_currency', 'an ISO 4217 code in upper case');
  perform whatssound.require_argument(
    p_note is null or (char_length(p_note) between 1 and 200 and whatssound.is_clean_text(p_note)), 'p_note', '1 to 200 characters');
end
$$;
comment on function whatssound.require_tip(bigint, text, text, uuid) is 'Refuses arguments of a tip that are not valid.';
revoke all on function whatssound.require_tip(bigint, text, text, uuid) from public, anon, authenticated, service_role;

create function whatssound.earlier_tip(
  p_user_id uuid, p_session_id uuid, p_amount bigint, p_currency text, p_note text, p_key uuid)
returns public.tips
language plpgsql volatile
set search_path = ''
as $$
declare
  v_tip public.tips;
begin
  select t.* into v_tip from public.tips t where t.tipper_id = p_user_id and t.key = p_key;
  if found and row(v_tip.session_id, v_tip.amount, v_tip.currency, v_tip.note)
      is distinct from row(p_session_id, p_amount, p_currency, p_note) then
    perform whatssound.refuse('idempotency_mismatch', jsonb_build_object('tip_id', v_tip.id));
  end if;
  return v_tip;
end
$$;
comment on function whatssound.earlier_tip(uuid, uuid, bigint, text, text, uuid) is
  'The tip this key has made, or null; refuses when it was another tip.';
revoke all on function whatssound.earlier_tip(uuid, uuid, bigint, text, text, uuid) from public, anon, authenticated, service_role;

create function whatssound.new_tip(p_user_id uuid, p_session_id uuid, p_amount bigint, p_currency text, p_note text, p_key uuid)
returns public.tips
language plpgsql volatile
set search_path = ''
as $$
declare
  v_actor whatssound.actor := whatssound.admit(p_session_id, p_user_id);
  v_limit bigint := ((v_actor.session).settings ->> 'max_tip_amount')::bigint;
  v_tip public.tips;
begin
  perform whatssound.require_live(v_actor.session);
  perform whatssound.require_anonymous_may(v_actor, 'anonymous_may_tip');
  if p_amount > v_limit then
    perform whatssound.refuse('tip_too_large', jsonb_build_object('amount', p_amount, 'limit', v_limit));
  end if;
  insert into public.tips (session_id, tipper_id, dj_id, username, amount, currency, note, key)
  values (p_session_id, p_user_id, (v_actor.session).dj_id, v_actor.username, p_amount, p_currency, p_note, p_key)
  on conflict (tipper_id, key) do nothing
  returning * into v_tip;
  if v_tip.id is null then
    -- The key was used in another session this very moment.
    perform whatssound.refuse('idempotency_mismatch');
  end if;
  perform whatssound.spend_tokens(p_user_id, 'tip', 1);
  return v_tip;
end
$$;
comment on function whatssound.new_tip(uuid, uuid, bigint, text, text, uuid) is 'Stores a pending tip; call with the clock''s row locked.';
revoke all on function whatssound.new_tip(uuid, uuid, bigint, text, text, uuid) from public, anon, authenticated, service_role;

create function public.send_tip(
  p_session_id uuid, p_amount bigint, p_currency text, p_note text default null, p_key uuid default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('tip');
  v_tip public.tips;
  v_duplicate boolean;
begin
  perform whatssound.require_tip(p_amount, p_currency, p_note, p_key);
  perform whatssound.lock_clock(p_session_id);
  -- First of all, so that a repeated call gets its receipt even if the tipper was banned or the session ended meanwhile.
  v_tip := whatssound.earlier_tip(v_user_id, p_session_id, p_amount, p_currency, p_note, p_key);
  v_duplicate := v_tip.id is not null;
  if not v_duplicate then
    v_tip := whatssound.new_tip(v_user_id, p_session_id, p_amount, p_currency, p_note, p_key);
  end if;
  return whatssound.finish_write(p_session_id, jsonb_build_object('tip', whatssound.tip_json(v_tip), 'duplicate', v_duplicate));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.send_tip(uuid, bigint, text, text, uuid) is
  'Signed-in users, as the session''s settings allow: promises a tip (pending), once a key. Definer: tables take no direct writes.';
revoke all on function public.send_tip(uuid, bigint, text, text, uuid) from public, anon, authenticated, service_role;
grant execute on function public.send_tip(uuid, bigint, text, text, uuid) to authenticated;

create function whatssound.settle_tip(p_tip public.tips, p_status text, p_provider_ref text)
returns public.tips
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_seq bigint;
  v_tip public.tips;
begin
  -- The payment of a pending tip that never came about is nobody else's business: it is no event.
  if 'confirmed' in (p_status, p_tip.status) then
    v_seq := whatssound.next_seq(p_tip.session_id);
  end if;
  update public.tips t
  set status = p_status, provider_ref = coalesce(p_provider_ref, t.provider_ref), settled_at = clock_timestamp(), seq = v_seq
  where t.id = p_tip.id
  returning t.* into strict v_tip;
  if v_seq is not null then
    perform whatssound.log_event(v_tip.session_id, v_seq, case p_status when 'confirmed' then 'tip' else 'tip_refunded' end,
      jsonb_build_object('tip', whatssound.tip_json(v_tip), 'was', p_tip.status));
  end if;
  return v_tip;
end
$$;
comment on function whatssound.settle_tip(public.tips, text, text) is 'Moves a tip to its next status and logs it if it is or was confirmed; call with the clock''s row locked.';
revoke all on function whatssound.settle_tip(public.tips, text, text) from public, anon, authenticated, service_role;

create function whatssound.require_provider_ref(p_tip public.tips, p_provider_ref text)
returns void
language plpgsql stable
set search_path = ''
as $$
begin
  if p_tip.provider_ref <> p_provider_ref
    or exists (select from public.tips t where t.provider_ref = p_provider_ref and t.id <> p_tip.id) then
    perform whatssound.refuse('idempotency_mismatch', jsonb_build_object('tip_id', p_tip.id, 'argument', 'p_provider_ref'));
  end if;
end
$$;
comment on function whatssound.require_provider_ref(public.tips, text) is 'Refuses a payment that belongs to another tip, or a second payment for one.';
revoke all on function whatssound.require_provider_ref(public.tips, text) from public, anon, authenticated, service_role;

create function public.confirm_tip(p_tip_id uuid, p_status text default 'confirmed', p_provider_ref text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_tip public.tips;
  v_duplicate boolean;
begin
  perform whatssound.require_argument(p_status in ('confirmed', 'refunded'), 'p_status', 'confirmed or refunded');
  select t.* into v_tip from public.tips t where t.id = p_tip_id;
  if not found then
    perform whatssound.refuse('unknown_tip', jsonb_build_object('tip_id', p_tip_id));
  end if;
  perform whatssound.lock_clock(v_tip.session_id);
  select t.* into strict v_tip from public.tips t where t.id = p_tip_id;
  perform whatssound.require_provider_ref(v_tip, p_provider_ref);
  v_duplicate := v_tip.status = p_status;
  if not v_duplicate then
    v_tip := whatssound.settle_tip(v_tip, p_status, p_provider_ref);
  elsif v_tip.provider_ref is null and p_provider_ref is not null then
    -- Learnt later, it still keeps the payment from settling another tip.
    update public.tips t set provider_ref = p_provider_ref where t.id = p_tip_id;
  end if;
  return whatssound.finish_write(v_tip.session_id,
    jsonb_build_object('tip', whatssound.tip_json(v_tip), 'duplicate', v_duplicate));
exception
  when unique_violation then
    -- A tip of another session took the payment this very moment.
    perform whatssound.refuse('idempotency_mismatch', jsonb_build_object('tip_id', p_tip_id, 'argument', 'p_provider_ref'));
    return null;
  when lock_not_available or deadlock_detected then
    return whatssound.busy();
end
$$;
comment on function public.confirm_tip(uuid, text, text) is
  'Service role: settles a tip as confirmed or refunded; the same again changes nothing. Definer: tables take no direct writes.';
revoke all on function public.confirm_tip(uuid, text, text) from public, anon, authenticated, service_role;
grant execute on function public.confirm_tip(uuid, text, text) to service_role;
