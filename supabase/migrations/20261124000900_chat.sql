-- Chat: a batch in, one outcome a row.
--
-- insert_messages reads the batch (format only), locks the session, judges every row against what is stored and what the
-- session allows, stores the good ones in one go and answers for each, in the order it was asked. A bad row never costs
-- the others. Looking for a duplicate comes first: a message that is stored stays stored, whatever is forbidden by now.

create type whatssound.parsed_message as (
  place integer,
  raw_id jsonb,
  id uuid,
  user_id uuid,
  content text,
  created_at timestamptz,
  fault text
);
comment on type whatssound.parsed_message is 'A row of a batch and what is wrong with its format.';

create type whatssound.judged_message as (
  place integer,
  raw_id jsonb,
  id uuid,
  user_id uuid,
  username text,
  role text,
  content text,
  created_at timestamptz,
  status text,
  reason text,
  retry_after numeric,
  detail jsonb,
  seq bigint
);
comment on type whatssound.judged_message is 'A row of a batch with its outcome.';

create function whatssound.readable_row(p_row json)
returns json
language sql immutable
set search_path = ''
as $$
  -- Postgres text holds neither NUL nor half a surrogate pair, and unescaping one would fail the whole batch. So a row
  -- that has any is not unescaped: its ids are read from the raw text, and its content becomes a number, which is invalid.
  select case
    when replace(p_row::text, '\\', '') ~* '\\u0000|\\ud[89ab][0-9a-f]{2}(?!\\ud[c-f])|(?<!\\ud[89ab][0-9a-f]{2})\\ud[c-f]'
    then json_build_object(
      'id', substring(p_row::text from '"id"\s*:\s*"([0-9A-Fa-f-]{36})"'),
      'user_id', substring(p_row::text from '"user_id"\s*:\s*"([0-9A-Fa-f-]{36})"'),
      'content', 0)
    else p_row
  end
$$;
comment on function whatssound.readable_row(json) is 'The row as it is, or without its text when Postgres cannot hold that.';
revoke all on function whatssound.readable_row(json) from public, anon, authenticated, service_role;

create function whatssound.json_text(p_value json)
returns text
language sql immutable
set search_path = ''
as $$ select case when json_typeof(p_value) = 'string' then p_value #>> '{}' end $$;
comment on function whatssound.json_text(json) is 'The text of a JSON string; null for anything else.';
revoke all on function whatssound.json_text(json) from public, anon, authenticated, service_role;

create function whatssound.text_uuid(p_text text)
returns uuid
language sql immutable
set search_path = ''
as $$ select case when p_text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then p_text::uuid end $$;
comment on function whatssound.text_uuid(text) is 'The UUID written in the text, or null.';
revoke all on function whatssound.text_uuid(text) from public, anon, authenticated, service_role;

create function whatssound.parse_messages(p_messages json, p_caller uuid)
returns setof whatssound.parsed_message
language sql immutable
set search_path = ''
as $$
  -- Materialized, so that each value is worked out once a row and not once a mention.
  with elements as materialized (
    select r.place, whatssound.readable_row(r.value) as value
    from json_array_elements(p_messages) with ordinality r (value, place)
  ), fields as materialized (
    select e.place, whatssound.json_text(e.value -> 'id') as raw_id, json_typeof(e.value -> 'content') as content_type,
           whatssound.json_text(e.value -> 'content') as content,
           case when e.value -> 'user_id' is null or json_typeof(e.value -> 'user_id') = 'null' then p_caller
                else whatssound.text_uuid(whatssound.json_text(e.value -> 'user_id')) end as author
    from elements e
  ), dated as materialized (
    select f.*, i.id, whatssound.uuid7_time(i.id) as created_at
    from fields f, lateral (select whatssound.text_uuid(f.raw_id) as id offset 0) i
  )
  select d.place::integer, to_jsonb(d.raw_id), d.id, d.author, d.content, d.created_at,
    case
      when d.created_at is null then 'bad_id'
      when d.author is null or (p_caller is not null and d.author <> p_caller) then 'not_allowed'
      when d.content_type is null or d.content_type = 'null' or d.content ~ '^\s*$' then 'empty'
      when d.content is null or not whatssound.is_clean_text(d.content) then 'invalid_text'
    end
  from dated d
$$;
comment on function whatssound.parse_messages(json, uuid) is
  'The rows of a batch and what is wrong with their format. p_caller null: the service role, which names an author a row.';
revoke all on function whatssound.parse_messages(json, uuid) from public, anon, authenticated, service_role;

create function whatssound.author_fault(
  p_session public.sessions, p_member public.session_members, p_created_at timestamptz, p_now timestamptz)
returns text
language sql immutable
set search_path = ''
as $$
  select case
    when p_member.user_id is null then 'not_allowed'
    when p_member.banned then 'banned'
    -- What was said before the end and waited in a spool still counts, for 72 hours.
    when p_session.status = 'ended'
      and not (p_created_at <= p_session.ended_at and p_now < p_session.ended_at + interval '72 hours') then 'session_ended'
    when p_member.muted_until > p_now then 'muted'
    when p_member.role = 'listener' and (p_session.settings ->> 'chat_frozen')::boolean then 'chat_frozen'
  end
$$;
comment on function whatssound.author_fault(public.sessions, public.session_members, timestamptz, timestamptz) is
  'Why this author may not speak in the session now, or null.';
revoke all on function whatssound.author_fault(public.sessions, public.session_members, timestamptz, timestamptz)
  from public, anon, authenticated, service_role;

create function whatssound.message_fault(
  p_fault text, p_session public.sessions, p_member public.session_members, p_content text, p_created_at timestamptz,
  p_anonymous boolean, p_now timestamptz)
returns text
language sql immutable
set search_path = ''
as $$
  select case
    when p_fault is not null then p_fault
    when char_length(p_content) > (p_session.settings ->> 'max_message_length')::integer then 'too_long'
    when p_created_at not between p_now - interval '7 days' and p_now + interval '2 minutes' then 'bad_clock'
    when p_anonymous and p_member.role = 'listener' and not (p_session.settings ->> 'anonymous_may_speak')::boolean
      then 'not_allowed'
    else whatssound.author_fault(p_session, p_member, p_created_at, p_now)
  end
$$;
comment on function whatssound.message_fault(text, public.sessions, public.session_members, text, timestamptz, boolean, timestamptz) is
  'Why a message that is not stored yet may not be stored, or null; pace is judged elsewhere.';
revoke all on function whatssound.message_fault(text, public.sessions, public.session_members, text, timestamptz, boolean, timestamptz)
  from public, anon, authenticated, service_role;

create function whatssound.judge_messages(
  p_session public.sessions, p_rows whatssound.parsed_message[], p_caller uuid, p_tokens integer, p_last_seq bigint,
  p_now timestamptz)
returns setof whatssound.judged_message
language plpgsql volatile
set search_path = ''
set plan_cache_mode = force_generic_plan
as $$
declare
  -- Known before the statement starts, these keep it from opening the partitions of other months.
  v_oldest timestamptz := (select min(r.created_at) from unnest(p_rows) r);
  v_newest timestamptz := (select max(r.created_at) from unnest(p_rows) r);
begin
  -- In plpgsql the plan of this statement is kept; a sql function would plan it, over all partitions, at every call.
  return query
  with parsed as (
    select p.*, row_number() over (partition by p.user_id, p.id order by p.place) as occurrence,
           first_value(p.content) over (partition by p.user_id, p.id order by p.place) as first_content
    from unnest(p_rows) p
  ), compared as (
    select p.*, k.seq as known_seq,
      case
        when p.fault in ('bad_id', 'not_allowed') then null
        when k.id is not null and k.session_id = p_session.id and (k.content = p.content or k.deleted_at is not null) then 'duplicate'
        when k.id is not null then 'id_conflict'
        when p.occurrence > 1 and p.content is not distinct from p.first_content then 'repeated'
        when p.occurrence > 1 then 'id_conflict'
      end as known
    from parsed p
    left join lateral (
      select m.id, m.session_id, m.content, m.deleted_at, m.seq from public.messages m
      where m.user_id = p.user_id and m.id = p.id and m.created_at = p.created_at
        and m.created_at >= v_oldest and m.created_at <= v_newest
      -- The limit keeps this a look by key into the one month of the id; without it the planner may join whole months.
      limit 1) k on true
  ), faulted as (
    select c.*, m.role, m.last_spoke_at,
      (select n.username from public.profiles n where n.user_id = c.user_id) as username,
      case when c.known is null then whatssound.message_fault(
        c.fault, p_session, m, c.content, c.created_at, p_caller is not null and whatssound.is_anonymous_sign_in(), p_now) end as reason
    from compared c
    left join public.session_members m on m.session_id = p_session.id and m.user_id = c.user_id
  ), paced as (
    select f.*, s.slow,
      row_number() over w - 1 as earlier,
      case when f.role = 'listener' and s.slow > 0 then
        greatest(0, coalesce(extract(epoch from f.last_spoke_at - p_now) + s.slow, 0)) + (row_number() over w - 1) * s.slow
      else 0 end as slow_wait
    from faulted f cross join (select (p_session.settings ->> 'slow_mode_seconds')::integer as slow) s
    window w as (partition by f.user_id, f.known is null and f.reason is null order by f.place)
  ), refused as (
    select p.*, case
        when p.known = 'id_conflict' or p.reason is not null then coalesce(p.known, p.reason)
        when p.known is null and p.slow_wait > 0 then 'slow_mode'
        when p.known is null and p.earlier >= p_tokens then 'rate_limited'
      end as own_refusal
    from paced p
  ), decided as (
    -- A row repeated within the batch shares the fate of its first occurrence.
    select r.*, case when r.known = 'repeated' then
        first_value(r.own_refusal) over (partition by r.user_id, r.id order by r.occurrence)
      else r.own_refusal end as refusal
    from refused r
  )
  select d.place, d.raw_id, d.id, d.user_id, d.username, d.role, d.content, d.created_at,
    case when d.refusal is not null then 'rejected' when d.known is not null then 'duplicate' else 'stored' end,
    d.refusal,
    case d.refusal
      when 'slow_mode' then round(d.slow_wait, 3)
      when 'rate_limited' then (select round(((d.earlier + 1 - p_tokens) / l.per_second)::numeric, 3)
                                from whatssound.rate_limits l where l.bucket = 'chat')
      when 'muted' then (select round(extract(epoch from m.muted_until - p_now), 3) from public.session_members m
                         where m.session_id = p_session.id and m.user_id = d.user_id)
    end,
    case d.refusal
      when 'too_long' then jsonb_build_object('length', char_length(d.content),
                                              'limit', (p_session.settings ->> 'max_message_length')::integer)
      when 'bad_clock' then jsonb_build_object('created_at', d.created_at, 'server_time', p_now)
      when 'session_ended' then jsonb_build_object('ended_at', p_session.ended_at)
    end,
    case when d.refusal is null then coalesce(
      d.known_seq,
      case when d.known is null then p_last_seq + count(*) filter (where d.known is null and d.refusal is null) over (order by d.place) end)
    end
  from decided d;
end
$$;
comment on function whatssound.judge_messages(public.sessions, whatssound.parsed_message[], uuid, integer, bigint, timestamptz) is
  'Decides the outcome of every row of a batch; writes nothing. Call with the clock''s row locked.';
revoke all on function whatssound.judge_messages(public.sessions, whatssound.parsed_message[], uuid, integer, bigint, timestamptz)
  from public, anon, authenticated, service_role;

create function whatssound.store_messages(p_session_id uuid, p_rows whatssound.judged_message[], p_now timestamptz)
returns integer
language plpgsql volatile
set search_path = ''
as $$
declare
  v_wanted integer := (select count(*) from unnest(p_rows) r where r.status = 'stored');
  v_stored integer;
begin
  insert into public.messages (id, session_id, user_id, username, role, content, created_at, seq)
  select r.id, p_session_id, r.user_id, r.username, r.role, r.content, r.created_at, r.seq
  from unnest(p_rows) r where r.status = 'stored' order by r.seq
  on conflict do nothing;
  get diagnostics v_stored = row_count;
  if v_stored <> v_wanted then
    -- The author stored one of these ids in another session this very moment; the next try will see it.
    perform whatssound.busy();
  end if;
  insert into public.session_events (session_id, seq, kind, payload)
  select p_session_id, r.seq, 'message', jsonb_build_object(
    'id', r.id, 'user_id', r.user_id, 'username', r.username, 'role', r.role, 'content', r.content, 'created_at', r.created_at)
  from unnest(p_rows) r where r.status = 'stored' order by r.seq;
  update public.session_members m set last_spoke_at = p_now
  where m.session_id = p_session_id
    and m.user_id = any (array(select distinct r.user_id from unnest(p_rows) r where r.status = 'stored'));
  update public.session_clock c set last_seq = c.last_seq + v_stored where c.session_id = p_session_id;
  return v_stored;
end
$$;
comment on function whatssound.store_messages(uuid, whatssound.judged_message[], timestamptz) is
  'Stores the accepted rows and their events; call with the clock''s row locked.';
revoke all on function whatssound.store_messages(uuid, whatssound.judged_message[], timestamptz)
  from public, anon, authenticated, service_role;

create function whatssound.message_results(p_rows whatssound.judged_message[])
returns jsonb
language sql stable
set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', r.raw_id, 'status', r.status, 'created_at', r.created_at, 'reason', r.reason, 'retry_after', r.retry_after,
    'detail', r.detail,
    -- A row repeated within the batch gets the number of its first occurrence.
    'seq', coalesce(r.seq, case when r.status = 'duplicate' then
      (select f.seq from unnest(p_rows) f where f.id = r.id and f.user_id = r.user_id and f.seq is not null limit 1) end)
  ) order by r.place), '[]')
  from unnest(p_rows) r
$$;
comment on function whatssound.message_results(whatssound.judged_message[]) is 'The answer for every row, in the order of the batch.';
revoke all on function whatssound.message_results(whatssound.judged_message[]) from public, anon, authenticated, service_role;

create function whatssound.require_batch(p_messages json)
returns void
language plpgsql immutable
set search_path = ''
as $$
begin
  perform whatssound.require_argument(json_typeof(p_messages) = 'array', 'p_messages', 'an array of messages');
  if json_array_length(p_messages) > 500 then
    perform whatssound.refuse('batch_too_large', jsonb_build_object('length', json_array_length(p_messages), 'limit', 500));
  end if;
end
$$;
comment on function whatssound.require_batch(json) is 'Refuses what is not an array and arrays of more than 500.';
revoke all on function whatssound.require_batch(json) from public, anon, authenticated, service_role;

create function whatssound.ensure_authors(p_session public.sessions, p_rows whatssound.parsed_message[])
returns void
language sql volatile
set search_path = ''
as $$
  select whatssound.ensure_member(p_session, a.user_id)
  from (select distinct p.user_id from unnest(p_rows) p where p.fault is null order by p.user_id) a
$$;
comment on function whatssound.ensure_authors(public.sessions, whatssound.parsed_message[]) is 'Makes the authors of a relay''s batch members of a public session.';
revoke all on function whatssound.ensure_authors(public.sessions, whatssound.parsed_message[]) from public, anon, authenticated, service_role;

create function whatssound.enter_chat(p_session_id uuid, p_rows whatssound.parsed_message[], p_caller uuid)
returns public.sessions
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session public.sessions;
  v_member public.session_members;
begin
  perform whatssound.lock_clock(p_session_id);
  select s.* into strict v_session from public.sessions s where s.id = p_session_id;
  if p_caller is null then
    perform whatssound.ensure_authors(v_session, p_rows);
    return v_session;
  end if;
  v_member := whatssound.ensure_member(v_session, p_caller);
  if v_member.user_id is null then
    perform whatssound.refuse('session_not_found');
  end if;
  perform whatssound.ensure_profile(p_caller);
  return v_session;
end
$$;
comment on function whatssound.enter_chat(uuid, whatssound.parsed_message[], uuid) is 'Locks the clock and lets the authors in; refuses strangers to a private session.';
revoke all on function whatssound.enter_chat(uuid, whatssound.parsed_message[], uuid) from public, anon, authenticated, service_role;

create function whatssound.require_chat_credit(p_user_id uuid)
returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_available double precision := whatssound.tokens_available(p_user_id, 'chat');
  v_limit whatssound.rate_limits;
begin
  select l.* into v_limit from whatssound.rate_limits l where l.bucket = 'chat';
  -- An empty bucket is told row by row; only who goes on all the same, and is a whole bucket in debt, is kept from the lock.
  if v_available <= -v_limit.capacity then
    perform whatssound.refuse('rate_limited', jsonb_build_object(
      'retry_after', round(((1 - v_available) / v_limit.per_second)::numeric, 3), 'bucket', 'chat'));
  end if;
end
$$;
comment on function whatssound.require_chat_credit(uuid) is 'Refuses with rate_limited who keeps sending batches with an empty bucket.';
revoke all on function whatssound.require_chat_credit(uuid) from public, anon, authenticated, service_role;

create function public.insert_messages(p_session_id uuid, p_messages json)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_caller uuid := case when not whatssound.is_service() then auth.uid() end;
  v_session public.sessions;
  v_parsed whatssound.parsed_message[];
  v_rows whatssound.judged_message[];
  v_tokens integer := 500;
  v_now timestamptz;
  v_stored integer;
begin
  if v_caller is null and not whatssound.is_service() then
    perform whatssound.refuse('not_signed_in');
  end if;
  if v_caller is not null then
    perform whatssound.require_chat_credit(v_caller);
  end if;
  perform whatssound.require_batch(p_messages);
  -- Before the lock: a large batch is read without holding up the room.
  v_parsed := array(select p from whatssound.parse_messages(p_messages, v_caller) p);
  v_session := whatssound.enter_chat(p_session_id, v_parsed, v_caller);
  v_now := clock_timestamp();
  if v_caller is not null then
    v_tokens := floor(whatssound.tokens_available(v_caller, 'chat'));
  end if;
  v_rows := array(
    select j from whatssound.judge_messages(v_session, v_parsed, v_caller, v_tokens,
      (select c.last_seq from public.session_clock c where c.session_id = p_session_id), v_now) j);
  v_stored := whatssound.store_messages(p_session_id, v_rows, v_now);
  if v_caller is not null then
    -- A batch of which nothing is stored took the room's lock, too: for nothing it would be a way to stop the room.
    perform whatssound.spend_tokens(v_caller, 'chat', greatest(v_stored, 1));
  end if;
  return whatssound.finish_write(p_session_id, jsonb_build_object('results', whatssound.message_results(v_rows)));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.insert_messages(uuid, json) is
  'Signed-in users for themselves, service role for any author: stores up to 500 messages, one outcome a row. Definer: tables take no direct writes.';
revoke all on function public.insert_messages(uuid, json) from public, anon, authenticated, service_role;
grant execute on function public.insert_messages(uuid, json) to authenticated, service_role;
