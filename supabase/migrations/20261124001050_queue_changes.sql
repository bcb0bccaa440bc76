-- Changing the queue: moving, removing, advancing. Every call names the version or the item it expects, so that nothing is
-- lost or doubled when several people do it at once.

------------------------------------------------------------------------------------------------------------------------
-- Moving
------------------------------------------------------------------------------------------------------------------------

create function whatssound.queued_item(p_session_id uuid, p_item_id uuid, p_expected_version integer)
returns public.queue_items
language plpgsql volatile
set search_path = ''
as $$
declare
  v_item public.queue_items;
begin
  select q.* into v_item from public.queue_items q where q.id = p_item_id and q.session_id = p_session_id;
  if not found then
    perform whatssound.refuse('unknown_item', jsonb_build_object('item_id', p_item_id));
  elsif v_item.version is distinct from p_expected_version or v_item.status <> 'queued' then
    perform whatssound.refuse_queue_conflict(p_session_id, v_item.version);
  end if;
  return v_item;
end
$$;
comment on function whatssound.queued_item(uuid, uuid, integer) is 'The item as the caller knows it; refuses unknown ones and those that have changed.';
revoke all on function whatssound.queued_item(uuid, uuid, integer) from public, anon, authenticated, service_role;

create function whatssound.rank_beside(p_item public.queue_items, p_before uuid, p_after uuid)
returns double precision
language plpgsql volatile
set search_path = ''
as $$
declare
  v_anchor public.queue_items;
  v_low double precision;
  v_high double precision;
begin
  select q.* into v_anchor from public.queue_items q
  where q.id = coalesce(p_before, p_after) and q.session_id = p_item.session_id and q.status = 'queued';
  if not found then
    perform whatssound.refuse_queue_conflict(p_item.session_id, p_item.version);
  end if;
  if p_before is not null then
    v_high := v_anchor.rank;
    select max(q.rank) into v_low from public.queue_items q
    where q.session_id = p_item.session_id and q.status = 'queued' and q.id <> p_item.id and q.rank < v_high;
  else
    v_low := v_anchor.rank;
    select min(q.rank) into v_high from public.queue_items q
    where q.session_id = p_item.session_id and q.status = 'queued' and q.id <> p_item.id and q.rank > v_low;
  end if;
  return (coalesce(v_low, v_high - 2) + coalesce(v_high, v_low + 2)) / 2;
end
$$;
comment on function whatssound.rank_beside(public.queue_items, uuid, uuid) is
  'A rank between the anchor and its neighbour; equal to one of them when there is no number left between.';
revoke all on function whatssound.rank_beside(public.queue_items, uuid, uuid) from public, anon, authenticated, service_role;

create function whatssound.rank_taken(p_item public.queue_items, p_rank double precision)
returns boolean
language sql volatile
set search_path = ''
as $$
  select exists (select from public.queue_items q
    where q.session_id = p_item.session_id and q.status = 'queued' and q.id <> p_item.id and q.rank = p_rank)
$$;
comment on function whatssound.rank_taken(public.queue_items, double precision) is 'True when another waiting item has this rank.';
revoke all on function whatssound.rank_taken(public.queue_items, double precision) from public, anon, authenticated, service_role;

create function whatssound.spread_ranks(p_session_id uuid)
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_item record;
begin
  -- About fifty moves into the same gap use up the numbers between; then everything gets whole ranks, one event each.
  for v_item in
    select q.id, q.rank, row_number() over (order by q.rank, q.id) as place
    from public.queue_items q where q.session_id = p_session_id and q.status = 'queued'
  loop
    if v_item.rank <> v_item.place then
      perform whatssound.change_item(v_item.id, 'moved', 'queued', v_item.place);
    end if;
  end loop;
end
$$;
comment on function whatssound.spread_ranks(uuid) is 'Gives what waits the ranks 1, 2, 3 …, keeping the order.';
revoke all on function whatssound.spread_ranks(uuid) from public, anon, authenticated, service_role;

create function whatssound.move_item(p_item public.queue_items, p_before uuid, p_after uuid)
returns public.queue_items
language plpgsql volatile
set search_path = ''
as $$
declare
  v_rank double precision := whatssound.rank_beside(p_item, p_before, p_after);
begin
  if whatssound.rank_taken(p_item, v_rank) then
    perform whatssound.spread_ranks(p_item.session_id);
    v_rank := whatssound.rank_beside(p_item, p_before, p_after);
  end if;
  return whatssound.change_item(p_item.id, 'moved', 'queued', v_rank);
end
$$;
comment on function whatssound.move_item(public.queue_items, uuid, uuid) is 'Moves a waiting item next to another and logs it.';
revoke all on function whatssound.move_item(public.queue_items, uuid, uuid) from public, anon, authenticated, service_role;

create function public.move_queue_item(
  p_session_id uuid, p_item_id uuid, p_before uuid default null, p_after uuid default null,
  p_expected_version integer default null, p_key uuid default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_request jsonb := jsonb_build_array(p_session_id, p_item_id, p_before, p_after, p_expected_version);
  v_actor whatssound.actor;
  v_reply jsonb;
begin
  perform whatssound.require_argument((p_before is null) <> (p_after is null), 'p_before', 'either p_before or p_after');
  perform whatssound.require_argument(coalesce(p_before, p_after) <> p_item_id, 'p_item_id', 'another item than p_before or p_after');
  perform whatssound.lock_clock(p_session_id);
  v_reply := whatssound.earlier_reply(v_user_id, p_key, 'move_queue_item', v_request);
  if v_reply is null then
    v_actor := whatssound.admit(p_session_id, v_user_id);
    perform whatssound.require_live(v_actor.session);
    if v_actor.role = 'listener' then
      perform whatssound.refuse('not_allowed', '{"role": "listener"}');
    end if;
    v_reply := whatssound.queue_reply(
      whatssound.move_item(whatssound.queued_item(p_session_id, p_item_id, p_expected_version), p_before, p_after), p_session_id);
    perform whatssound.remember_reply(v_user_id, p_key, 'move_queue_item', v_request, v_reply);
    perform whatssound.spend_tokens(v_user_id, 'command', 1);
  end if;
  return whatssound.finish_write(p_session_id, v_reply);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.move_queue_item(uuid, uuid, uuid, uuid, integer, uuid) is
  'DJ, moderators: moves a waiting item before or after another. Definer: tables take no direct writes.';
revoke all on function public.move_queue_item(uuid, uuid, uuid, uuid, integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.move_queue_item(uuid, uuid, uuid, uuid, integer, uuid) to authenticated;

------------------------------------------------------------------------------------------------------------------------
-- Removing and advancing
------------------------------------------------------------------------------------------------------------------------

create function whatssound.remove_item(p_actor whatssound.actor, p_item public.queue_items)
returns public.queue_items
language plpgsql volatile
set search_path = ''
as $$
begin
  if p_actor.role = 'listener' and p_item.added_by <> p_actor.user_id then
    perform whatssound.refuse('not_allowed', '{"role": "listener"}');
  end if;
  return whatssound.change_item(p_item.id, 'removed', 'removed');
end
$$;
comment on function whatssound.remove_item(whatssound.actor, public.queue_items) is 'Takes an item out of the queue: the crew any, a listener their own.';
revoke all on function whatssound.remove_item(whatssound.actor, public.queue_items) from public, anon, authenticated, service_role;

create function public.remove_queue_item(
  p_session_id uuid, p_item_id uuid, p_expected_version integer default null, p_key uuid default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_request jsonb := jsonb_build_array(p_session_id, p_item_id, p_expected_version);
  v_actor whatssound.actor;
  v_reply jsonb;
begin
  perform whatssound.lock_clock(p_session_id);
  v_reply := whatssound.earlier_reply(v_user_id, p_key, 'remove_queue_item', v_request);
  if v_reply is null then
    v_actor := whatssound.admit(p_session_id, v_user_id);
    perform whatssound.require_live(v_actor.session);
    v_reply := whatssound.queue_reply(
      whatssound.remove_item(v_actor, whatssound.queued_item(p_session_id, p_item_id, p_expected_version)), p_session_id);
    perform whatssound.remember_reply(v_user_id, p_key, 'remove_queue_item', v_request, v_reply);
    perform whatssound.spend_tokens(v_user_id, 'command', 1);
  end if;
  return whatssound.finish_write(p_session_id, v_reply);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.remove_queue_item(uuid, uuid, integer, uuid) is
  'DJ, moderators, and whoever added it: takes a waiting item out. Definer: tables take no direct writes.';
revoke all on function public.remove_queue_item(uuid, uuid, integer, uuid) from public, anon, authenticated, service_role;
grant execute on function public.remove_queue_item(uuid, uuid, integer, uuid) to authenticated;

create function whatssound.advance(p_session_id uuid, p_expected_item_id uuid, p_skipped boolean)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_previous public.queue_items;
  v_next public.queue_items;
begin
  select q.* into v_previous from public.queue_items q where q.session_id = p_session_id and q.status = 'playing';
  if v_previous.id is distinct from p_expected_item_id then
    perform whatssound.refuse_queue_conflict(p_session_id, v_previous.version);
  end if;
  if v_previous.id is not null then
    v_previous := whatssound.change_item(
      v_previous.id, case when p_skipped then 'skipped' else 'finished' end, case when p_skipped then 'skipped' else 'played' end);
  end if;
  select q.* into v_next from public.queue_items q
  where q.session_id = p_session_id and q.status = 'queued' order by q.rank, q.id limit 1;
  if found then
    v_next := whatssound.change_item(v_next.id, 'started', 'playing');
  end if;
  return whatssound.queue_reply(v_next, p_session_id, v_previous);
end
$$;
comment on function whatssound.advance(uuid, uuid, boolean) is 'Ends what plays, if it is what the caller expects, and starts the next item: up to two events.';
revoke all on function whatssound.advance(uuid, uuid, boolean) from public, anon, authenticated, service_role;

create function public.advance_queue(
  p_session_id uuid, p_expected_item_id uuid default null, p_key uuid default null, p_skipped boolean default false)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_request jsonb := jsonb_build_array(p_session_id, p_expected_item_id, p_skipped);
  v_actor whatssound.actor;
  v_reply jsonb;
begin
  perform whatssound.lock_clock(p_session_id);
  v_reply := whatssound.earlier_reply(v_user_id, p_key, 'advance_queue', v_request);
  if v_reply is null then
    v_actor := whatssound.admit(p_session_id, v_user_id);
    perform whatssound.require_live(v_actor.session);
    if v_actor.role = 'listener' then
      perform whatssound.refuse('not_allowed', '{"role": "listener"}');
    end if;
    v_reply := whatssound.advance(p_session_id, p_expected_item_id, coalesce(p_skipped, false));
    perform whatssound.remember_reply(v_user_id, p_key, 'advance_queue', v_request, v_reply);
    perform whatssound.spend_tokens(v_user_id, 'command', 1);
  end if;
  return whatssound.finish_write(p_session_id, v_reply);
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.advance_queue(uuid, uuid, uuid, boolean) is
  'DJ, moderators: ends what plays (p_expected_item_id; null: nothing) and starts the next. Definer: tables take no direct writes.';
revoke all on function public.advance_queue(uuid, uuid, uuid, boolean) from public, anon, authenticated, service_role;
grant execute on function public.advance_queue(uuid, uuid, uuid, boolean) to authenticated;
