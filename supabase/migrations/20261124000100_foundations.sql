-- Foundations: the private schema, refusals, who is calling, text rules, rate limits.
--
-- Everything in schema `whatssound` is internal. The schema is not exposed by the API; roles of the API get USAGE on it
-- only because row level security policies call a few of its functions.
--
-- House rules of all migrations: every function has an empty search_path and loses EXECUTE for everybody before it is
-- granted to whom it is meant for; no role may write a table directly; a function is `security definer` only where the
-- comment on it says why.

create schema if not exists whatssound;
comment on schema whatssound is 'Internals of WhatsSound: partitions, leases, rate limits, helpers. Never expose it through the API.';
revoke all on schema whatssound from public;
grant usage on schema whatssound to anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Refusals
------------------------------------------------------------------------------------------------------------------------

create function whatssound.refusals()
returns table (code text, status integer, message text)
language sql immutable parallel safe
set search_path = ''
as $$
  values
    ('not_signed_in', 401, 'Sign in first'),
    ('session_not_found', 404, 'No such session, or it is not yours to see'),
    ('session_ended', 410, 'The session has ended'),
    ('not_allowed', 403, 'Your role does not allow this'),
    ('banned', 403, 'You are banned from this session'),
    ('muted', 403, 'You are muted'),
    ('slow_mode', 429, 'Slow mode: wait before the next message'),
    ('rate_limited', 429, 'Too many calls: wait a little'),
    ('chat_frozen', 403, 'The chat is frozen'),
    ('too_long', 422, 'The text is too long'),
    ('empty', 422, 'The text is empty'),
    ('invalid_text', 422, 'The text has characters that are not allowed'),
    ('invalid_argument', 422, 'An argument is not valid'),
    ('bad_id', 422, 'The id is not a UUIDv7'),
    ('bad_clock', 422, 'The time in the id is outside the accepted window'),
    ('unknown_song', 404, 'The song is not in this session'),
    ('unknown_item', 404, 'The queue item is not in this session'),
    ('unknown_member', 404, 'That user is not a member of this session'),
    ('unknown_tip', 404, 'No such tip'),
    ('unknown_message', 404, 'No such message in this session'),
    ('queue_conflict', 409, 'The queue has changed'),
    ('queue_full', 409, 'The queue is full'),
    ('idempotency_mismatch', 409, 'The key was used for another call'),
    ('id_conflict', 409, 'The id is already in use'),
    ('tip_too_large', 422, 'The tip is above the limit of this session'),
    ('tip_state', 409, 'The tip is not in a state that allows this'),
    ('busy', 503, 'The session is busy: try again'),
    ('batch_too_large', 413, 'The batch has too many messages')
$$;
comment on function whatssound.refusals() is 'Every refusal an RPC may answer with: stable code (sent as hint), HTTP status, message.';
revoke all on function whatssound.refusals() from public, anon, authenticated, service_role;

create function whatssound.refuse(p_code text, p_detail jsonb default '{}')
returns void
language plpgsql
set search_path = ''
as $$
declare
  v_status integer;
  v_message text;
begin
  select r.status, r.message into strict v_status, v_message from whatssound.refusals() r where r.code = p_code;
  -- PostgREST turns SQLSTATE PTnnn into the HTTP status nnn.
  raise exception using errcode = 'PT' || v_status, message = v_message, hint = p_code, detail = p_detail::text;
end
$$;
comment on function whatssound.refuse(text, jsonb) is 'Raises a refusal: SQLSTATE PTnnn, the code as hint, facts as JSON in detail.';
revoke all on function whatssound.refuse(text, jsonb) from public, anon, authenticated, service_role;

create function whatssound.busy()
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform whatssound.refuse('busy', '{"retry_after": 0.25}');
  return null;
end
$$;
comment on function whatssound.busy() is 'Refuses with busy: what a writer answers when it did not get the session''s lock in time.';
revoke all on function whatssound.busy() from public, anon, authenticated, service_role;

create function whatssound.require_argument(p_valid boolean, p_argument text, p_reason text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if p_valid is not true then
    perform whatssound.refuse('invalid_argument', jsonb_build_object('argument', p_argument, 'reason', p_reason));
  end if;
end
$$;
comment on function whatssound.require_argument(boolean, text, text) is 'Refuses with invalid_argument unless the condition is true.';
revoke all on function whatssound.require_argument(boolean, text, text) from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Who is calling
------------------------------------------------------------------------------------------------------------------------

create function whatssound.is_service()
returns boolean
language sql stable
set search_path = ''
as $$ select coalesce(auth.role(), '') = 'service_role' $$;
comment on function whatssound.is_service() is 'True when the request carries the service role''s token.';
revoke all on function whatssound.is_service() from public, anon, authenticated, service_role;

create function whatssound.is_anonymous_sign_in()
returns boolean
language sql stable
set search_path = ''
as $$ select coalesce(auth.jwt() ->> 'is_anonymous', 'false') = 'true' $$;
comment on function whatssound.is_anonymous_sign_in() is 'True for a user who signed in anonymously (role authenticated, no address).';
revoke all on function whatssound.is_anonymous_sign_in() from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Ids and text
------------------------------------------------------------------------------------------------------------------------

create function whatssound.uuid7_time(p_id uuid)
returns timestamptz
language sql immutable strict parallel safe
set search_path = ''
as $$
  -- Postgres 15 to 17 have no uuid_extract_timestamp() for version 7: the first 48 bits are milliseconds since 1970.
  select case
    when substr(p_id::text, 15, 1) = '7' and substr(p_id::text, 20, 1) in ('8', '9', 'a', 'b')
    then to_timestamp(('x' || left(replace(p_id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
  end
$$;
comment on function whatssound.uuid7_time(uuid) is 'The time inside a UUIDv7, to the millisecond; null for any other UUID.';
revoke all on function whatssound.uuid7_time(uuid) from public, anon, authenticated, service_role;

create function whatssound.is_clean_name(p_text text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  -- Besides control characters: direction marks, which let one name imitate another.
  select p_text !~ '[\u0001-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]'
$$;
comment on function whatssound.is_clean_name(text) is 'True for one line of text without control or direction characters.';
revoke all on function whatssound.is_clean_name(text) from public, anon, authenticated, service_role;

create function whatssound.is_clean_text(p_text text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$ select p_text !~ '[\u0001-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]' $$;
comment on function whatssound.is_clean_text(text) is 'True for text whose only control characters are tab and line breaks.';
revoke all on function whatssound.is_clean_text(text) from public, anon, authenticated, service_role;

create function whatssound.is_currency(p_code text)
returns boolean
language sql immutable parallel safe
set search_path = ''
as $$
  select p_code = any (string_to_array(
    'AED,AFN,ALL,AMD,AOA,ARS,AUD,AWG,AZN,BAM,BBD,BDT,BGN,BHD,BIF,BMD,BND,BOB,BRL,BSD,BTN,BWP,BYN,BZD,CAD,CDF,CHF,CLP,'
    'CNY,COP,CRC,CUP,CVE,CZK,DJF,DKK,DOP,DZD,EGP,ERN,ETB,EUR,FJD,FKP,GBP,GEL,GHS,GIP,GMD,GNF,GTQ,GYD,HKD,HNL,HTG,HUF,'
    'IDR,ILS,INR,IQD,IRR,ISK,JMD,JOD,JPY,KES,KGS,KHR,KMF,KPW,KRW,KWD,KYD,KZT,LAK,LBP,LKR,LRD,LSL,LYD,MAD,MDL,MGA,MKD,'
    'MMK,MNT,MOP,MRU,MUR,MVR,MWK,MXN,MYR,MZN,NAD,NGN,NIO,NOK,NPR,NZD,OMR,PAB,PEN,PGK,PHP,PKR,PLN,PYG,QAR,RON,RSD,RUB,'
    'RWF,SAR,SBD,SCR,SDG,SEK,SGD,SHP,SLE,SOS,SRD,SSP,STN,SVC,SYP,SZL,THB,TJS,TMT,TND,TOP,TRY,TTD,TWD,TZS,UAH,UGX,USD,'
    'UYU,UZS,VED,VES,VND,VUV,WST,XAF,XCD,XCG,XOF,XPF,YER,ZAR,ZMW,ZWG', ','))
$$;
comment on function whatssound.is_currency(text) is 'True for an active ISO 4217 currency of everyday money, upper case.';
revoke all on function whatssound.is_currency(text) from public, anon, authenticated, service_role;

------------------------------------------------------------------------------------------------------------------------
-- Project settings
------------------------------------------------------------------------------------------------------------------------

create table whatssound.project (
  only_row boolean primary key default true,
  events_per_second integer not null default 100,
  frame_max_bytes integer not null default 200000,
  event_retention interval not null default '72 hours',
  message_retention interval,
  constraint project_only_row check (only_row),
  constraint project_events_per_second check (events_per_second between 1 and 10000000),
  constraint project_frame_max_bytes check (frame_max_bytes between 10000 and 3000000),
  constraint project_event_retention check (event_retention >= '1 hour'),
  constraint project_message_retention check (message_retention >= '31 days')
);
comment on table whatssound.project is 'One row: what the plan allows and how long things are kept. Null message_retention: for ever.';
comment on column whatssound.project.events_per_second is 'Realtime messages a second of the plan; the shortest tick of a large room follows from it.';
comment on column whatssound.project.frame_max_bytes is 'Largest frame; stays below the plan''s broadcast payload limit.';
alter table whatssound.project enable row level security;
revoke all on whatssound.project from public, anon, authenticated, service_role;
insert into whatssound.project default values;

create function public.configure_project(
  p_events_per_second integer default null,
  p_frame_max_bytes integer default null,
  p_event_retention_hours integer default null,
  p_message_retention_days integer default null
)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
as $$
declare
  v_project whatssound.project;
begin
  update whatssound.project p
  set events_per_second = coalesce(p_events_per_second, p.events_per_second),
      frame_max_bytes = coalesce(p_frame_max_bytes, p.frame_max_bytes),
      event_retention = coalesce(make_interval(hours => p_event_retention_hours), p.event_retention),
      message_retention = case
        when p_message_retention_days = 0 then null
        else coalesce(make_interval(days => p_message_retention_days), p.message_retention) end
  returning p.* into v_project;
  return jsonb_build_object(
    'events_per_second', v_project.events_per_second,
    'frame_max_bytes', v_project.frame_max_bytes,
    'event_retention_hours', extract(epoch from v_project.event_retention)::integer / 3600,
    'message_retention_days', extract(epoch from v_project.message_retention)::integer / 86400);
exception when check_violation then
  perform whatssound.refuse('invalid_argument', jsonb_build_object('reason', sqlerrm));
  return null;
end
$$;
comment on function public.configure_project(integer, integer, integer, integer) is
  'Service role: sets what the plan allows; null leaves a value as it is, 0 days keeps messages for ever. Definer: the table has no grants.';
revoke all on function public.configure_project(integer, integer, integer, integer) from public, anon, authenticated, service_role;
grant execute on function public.configure_project(integer, integer, integer, integer) to service_role;

------------------------------------------------------------------------------------------------------------------------
-- Rate limits: one token bucket per user and kind of call
------------------------------------------------------------------------------------------------------------------------

create table whatssound.rate_limits (
  bucket text primary key,
  capacity integer not null,
  per_second double precision not null,
  constraint rate_limits_positive check (capacity > 0 and per_second > 0)
);
comment on table whatssound.rate_limits is 'How many calls of a kind a user may make at once (capacity) and in the long run (per_second).';
alter table whatssound.rate_limits enable row level security;
revoke all on whatssound.rate_limits from public, anon, authenticated, service_role;
insert into whatssound.rate_limits (bucket, capacity, per_second) values
  ('chat', 60, 20), ('command', 120, 40), ('tip', 20, 2), ('manage', 60, 10);

-- Unlogged: after a crash everybody starts with a full bucket, which is harmless, and no write-ahead log is spent.
create unlogged table whatssound.rate_buckets (
  user_id uuid not null,
  bucket text not null,
  tokens double precision not null,
  refilled_at timestamptz not null,
  primary key (user_id, bucket)
);
comment on table whatssound.rate_buckets is 'Tokens left per user and kind of call, at the time refilled_at.';
alter table whatssound.rate_buckets enable row level security;
revoke all on whatssound.rate_buckets from public, anon, authenticated, service_role;

create function whatssound.tokens_available(p_user_id uuid, p_bucket text)
returns double precision
language sql stable
set search_path = ''
as $$
  select coalesce(
    (select least(l.capacity, b.tokens + l.per_second * greatest(0, extract(epoch from clock_timestamp() - b.refilled_at)))
     from whatssound.rate_buckets b where b.user_id = p_user_id and b.bucket = l.bucket),
    l.capacity)
  from whatssound.rate_limits l where l.bucket = p_bucket
$$;
comment on function whatssound.tokens_available(uuid, text) is 'Tokens a user has now; takes none.';
revoke all on function whatssound.tokens_available(uuid, text) from public, anon, authenticated, service_role;

create function whatssound.spend_tokens(p_user_id uuid, p_bucket text, p_count integer)
returns void
language sql volatile
set search_path = ''
as $$
  insert into whatssound.rate_buckets as b (user_id, bucket, tokens, refilled_at)
  select p_user_id, p_bucket, whatssound.tokens_available(p_user_id, p_bucket) - p_count, clock_timestamp()
  on conflict (user_id, bucket) do update
  set tokens = whatssound.tokens_available(p_user_id, p_bucket) - p_count, refilled_at = excluded.refilled_at
$$;
comment on function whatssound.spend_tokens(uuid, text, integer) is 'Takes tokens from a user''s bucket, refilling it first.';
revoke all on function whatssound.spend_tokens(uuid, text, integer) from public, anon, authenticated, service_role;

create function whatssound.require_tokens(p_user_id uuid, p_bucket text)
returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_available double precision := whatssound.tokens_available(p_user_id, p_bucket);
  v_per_second double precision;
begin
  if v_available < 1 then
    select l.per_second into v_per_second from whatssound.rate_limits l where l.bucket = p_bucket;
    perform whatssound.refuse('rate_limited', jsonb_build_object(
      'retry_after', round(((1 - v_available) / v_per_second)::numeric, 3), 'bucket', p_bucket));
  end if;
end
$$;
comment on function whatssound.require_tokens(uuid, text) is 'Refuses with rate_limited and retry_after (seconds) when the bucket is empty.';
revoke all on function whatssound.require_tokens(uuid, text) from public, anon, authenticated, service_role;

create function whatssound.require_user(p_bucket text)
returns uuid
language plpgsql stable
set search_path = ''
as $$
declare
  v_user_id uuid := auth.uid();
begin
  if v_user_id is null then
    perform whatssound.refuse('not_signed_in');
  end if;
  -- Looked at before any lock is taken, so that a flood of one user does not hold up the room.
  perform whatssound.require_tokens(v_user_id, p_bucket);
  return v_user_id;
end
$$;
comment on function whatssound.require_user(text) is 'The caller''s user id; refuses who is not signed in or has used up the bucket.';
revoke all on function whatssound.require_user(text) from public, anon, authenticated, service_role;
