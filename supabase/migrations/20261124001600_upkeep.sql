-- Upkeep: partitions ahead, old things gone. Run daily: by pg_cron where it is preloaded, else through the RPC `upkeep`
-- from a scheduled function or the command line. Nothing breaks when it does not run: 24 months of partitions exist.

create function whatssound.delete_old_events(p_batch integer)
returns bigint
language plpgsql volatile
set search_path = ''
as $$
declare
  v_cutoff timestamptz := now() - (select p.event_retention from whatssound.project p);
  v_deleted bigint := 0;
  v_session record;
  v_count bigint;
begin
  -- Session by session along the primary key: always the oldest numbers, so that what is left has no hole, not even where
  -- the server's clock was once set back.
  for v_session in select c.session_id from public.session_clock c loop
    loop
      delete from public.session_events e
      where e.session_id = v_session.session_id and e.seq = any (array(
        select o.seq from (
          select b.seq, bool_and(b.created_at < v_cutoff) over (order by b.seq) as old from public.session_events b
          where b.session_id = v_session.session_id order by b.seq limit p_batch) o
        where o.old));
      get diagnostics v_count = row_count;
      v_deleted := v_deleted + v_count;
      exit when v_count < p_batch;
    end loop;
  end loop;
  return v_deleted;
end
$$;
comment on function whatssound.delete_old_events(integer) is 'Deletes events past their retention, oldest first.';
revoke all on function whatssound.delete_old_events(integer) from public, anon, authenticated, service_role;

create function whatssound.partition_end(p_partition regclass)
returns timestamptz
language sql stable
set search_path = ''
as $$
  select (regexp_match(pg_catalog.pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz
  from pg_catalog.pg_class c where c.oid = p_partition
$$;
comment on function whatssound.partition_end(regclass) is 'The exclusive upper bound of a partition.';
revoke all on function whatssound.partition_end(regclass) from public, anon, authenticated, service_role;

create function whatssound.drop_old_partitions(p_now timestamptz)
returns integer
language plpgsql volatile
set search_path = ''
-- Who waits for this lock holds up everybody who comes later, so not for long.
set lock_timeout = '1s'
as $$
declare
  v_cutoff timestamptz := p_now - (select p.message_retention from whatssound.project p);
  v_partition regclass;
  v_dropped integer := 0;
begin
  -- Retention is null by default: then the cutoff is null and nothing is older.
  for v_partition in
    select i.inhrelid::regclass from pg_catalog.pg_inherits i
    where i.inhparent = 'public.messages'::regclass and whatssound.partition_end(i.inhrelid::regclass) <= v_cutoff
  loop
    begin
      execute format('alter table public.messages detach partition %s', v_partition);
      execute format('drop table %s', v_partition);
      v_dropped := v_dropped + 1;
    exception when lock_not_available then
      -- Somebody reads for long: the rest of upkeep must not wait for that, nor fail with it. The next one drops it.
      raise warning 'partition % is in use and stays for now', v_partition;
      exit;
    end;
  end loop;
  return v_dropped;
end
$$;
comment on function whatssound.drop_old_partitions(timestamptz) is 'Detaches and drops the months that are wholly past the retention of messages.';
revoke all on function whatssound.drop_old_partitions(timestamptz) from public, anon, authenticated, service_role;

create function whatssound.run_upkeep(p_now timestamptz default now())
returns jsonb
language plpgsql volatile
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_made integer := whatssound.ensure_message_partitions(p_now, 24);
  v_dropped integer;
  v_events bigint := whatssound.delete_old_events(5000);
  v_keys bigint;
  v_leases bigint;
begin
  delete from whatssound.idempotency_keys k where k.created_at < now() - (select p.event_retention from whatssound.project p);
  get diagnostics v_keys = row_count;
  delete from whatssound.leases l where l.expires_at < now();
  get diagnostics v_leases = row_count;
  -- A bucket untouched for an hour is full again, which is what having none means.
  delete from whatssound.rate_buckets b where b.refilled_at < now() - interval '1 hour';
  -- A signature that old is refused by its time already.
  delete from whatssound.webhook_deliveries d where d.received_at < now() - interval '7 days';
  -- Last: detaching locks the whole table until the end of the transaction, so nothing slow may follow.
  v_dropped := whatssound.drop_old_partitions(p_now);
  return jsonb_build_object(
    'partitions_made', v_made, 'partitions_dropped', v_dropped, 'events_deleted', v_events, 'keys_deleted', v_keys,
    'leases_deleted', v_leases, 'server_time', clock_timestamp(),
    'partitions_until', (select max(whatssound.partition_end(i.inhrelid::regclass)) from pg_catalog.pg_inherits i
                         where i.inhparent = 'public.messages'::regclass));
end
$$;
comment on function whatssound.run_upkeep(timestamptz) is 'All upkeep; p_now is an argument so that tests can look ahead.';
revoke all on function whatssound.run_upkeep(timestamptz) from public, anon, authenticated, service_role;

create function public.upkeep()
returns jsonb
language sql volatile security definer
set search_path = ''
as $$ select whatssound.run_upkeep() $$;
comment on function public.upkeep() is 'Service role: makes partitions ahead and deletes what is past its retention. Definer: makes and drops tables.';
revoke all on function public.upkeep() from public, anon, authenticated, service_role;
grant execute on function public.upkeep() to service_role;

create function whatssound.send_left_frames()
returns void
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session record;
begin
  for v_session in
    select c.session_id from public.session_clock c
    where c.frames and c.framed_seq < c.last_seq and c.framed_at < now() - interval '5 seconds'
  loop
    perform whatssound.try_frame(v_session.session_id);
  end loop;
end
$$;
comment on function whatssound.send_left_frames() is 'The net under frames: sends what nobody was left to send.';
revoke all on function whatssound.send_left_frames() from public, anon, authenticated, service_role;

create function public.forget_user(p_user_id uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  v_name text := 'listener-gone';
  v_messages bigint;
begin
  update public.profiles p set username = v_name, avatar_url = null, updated_at = now() where p.user_id = p_user_id;
  update public.messages m set content = '', username = v_name, deleted_at = coalesce(m.deleted_at, clock_timestamp())
  where m.user_id = p_user_id;
  get diagnostics v_messages = row_count;
  update public.votes v set username = v_name where v.user_id = p_user_id;
  update public.tips t set username = v_name, note = null where t.tipper_id = p_user_id;
  update public.session_events e
  set payload = e.payload || jsonb_build_object('username', v_name)
    || case when e.kind = 'message' then '{"content": "", "deleted": true}'::jsonb else '{}' end
  where e.payload ->> 'user_id' = p_user_id::text and e.payload ? 'username';
  update public.session_events e
  set payload = jsonb_set(jsonb_set(e.payload, '{tip,username}', to_jsonb(v_name)), '{tip,note}', 'null')
  where e.kind in ('tip', 'tip_refunded') and e.payload -> 'tip' ->> 'tipper_id' = p_user_id::text;
  return jsonb_build_object('user_id', p_user_id, 'messages', v_messages);
end
$$;
comment on function public.forget_user(uuid) is
  'Service role: takes a person''s name and words out of everything; amounts of tips and votes stay. Definer: tables take no direct writes.';
revoke all on function public.forget_user(uuid) from public, anon, authenticated, service_role;
grant execute on function public.forget_user(uuid) to service_role;

-- Preloaded, not merely available: without its background worker pg_cron would accept jobs and never run them.
do $$
declare
  v_preloaded text := case when pg_catalog.pg_has_role(current_user, 'pg_read_all_settings', 'usage')
                      then current_setting('shared_preload_libraries') else '' end;
begin
  if v_preloaded ~ '\mpg_cron\M' then
    create extension if not exists pg_cron;
    perform cron.schedule('whatssound-upkeep', '17 3 * * *', 'select whatssound.run_upkeep()');
    perform cron.schedule('whatssound-frames', '* * * * *', 'select whatssound.send_left_frames()');
  end if;
exception when others then
  -- Another database is the one pg_cron serves, or this role may not use it: the project works without.
  raise warning 'pg_cron is preloaded but cannot be used here (%): call the RPC upkeep daily from elsewhere', sqlerrm;
end
$$;
