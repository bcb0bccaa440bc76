-- What the local Realtime needs in the database beside the platform: checks that are run on a caller's behalf.
-- Applied at every start as a superuser; nobody else may use the schema.
-- Made anew, since a data directory may hold the functions of an older version.
drop schema if exists _realtime_local cascade;
create schema _realtime_local;
revoke all on schema _realtime_local from public;

-- Whether a caller may read a topic: rows put there for the purpose are looked for with the caller's role and claims.
-- The transaction around it is rolled back.
create or replace function _realtime_local.read_policies(
  topic text, role_name text, claims text, sub text, headers text, with_presence boolean,
  out broadcast boolean, out presence boolean
) language plpgsql as $$
declare
  broadcast_id uuid := gen_random_uuid();
  presence_id uuid := gen_random_uuid();
begin
  insert into realtime.messages (id, topic, extension) values (broadcast_id, read_policies.topic, 'broadcast');
  if with_presence then
    insert into realtime.messages (id, topic, extension) values (presence_id, read_policies.topic, 'presence');
  end if;
  perform set_config('role', role_name, true), set_config('realtime.topic', read_policies.topic, true),
    set_config('request.jwt.claims', claims, true), set_config('request.jwt.claim.sub', sub, true),
    set_config('request.jwt.claim.role', role_name, true), set_config('request.headers', headers, true);
  broadcast := exists (select from realtime.messages m where m.id = broadcast_id);
  if with_presence then
    presence := exists (select from realtime.messages m where m.id = presence_id);
  end if;
end $$;

-- Whether a caller may write to a topic.
create or replace function _realtime_local.write_policies(
  topic text, role_name text, claims text, sub text, headers text,
  out broadcast boolean, out presence boolean
) language plpgsql as $$
begin
  perform set_config('role', role_name, true), set_config('realtime.topic', write_policies.topic, true),
    set_config('request.jwt.claims', claims, true), set_config('request.jwt.claim.sub', sub, true),
    set_config('request.jwt.claim.role', role_name, true), set_config('request.headers', headers, true);
  begin
    insert into realtime.messages (topic, extension) values (write_policies.topic, 'broadcast');
    broadcast := true;
  exception when insufficient_privilege then
    broadcast := false;
  end;
  begin
    insert into realtime.messages (topic, extension) values (write_policies.topic, 'presence');
    presence := true;
  exception when insufficient_privilege then
    presence := false;
  end;
end $$;

-- Tables that a change binding means, or an exception that says what is wrong with it. An empty answer: there are none.
create or replace function _realtime_local.bound_tables(
  schema_name text, table_name text, role_name text, filters jsonb, selected text[]
) returns setof oid language plpgsql stable as $$
declare
  entity oid;
  condition jsonb;
  readable text[];
  column_type oid;
  wanted text;
begin
  for entity in
    select format('%I.%I', p.schemaname, p.tablename)::regclass::oid from pg_catalog.pg_publication_tables p
    where p.pubname = 'supabase_realtime'
      and p.schemaname like (case schema_name when '*' then '%' else schema_name end) escape ''
      and p.tablename like (case table_name when '*' then '%' else table_name end) escape ''
  loop
    perform quote_ident(role_name)::regrole;
    readable := array(
      select a.attname::text from pg_catalog.pg_attribute a
      where a.attrelid = entity and a.attnum > 0 and not a.attisdropped
        and pg_catalog.has_column_privilege(role_name, a.attrelid, a.attnum, 'SELECT'));
    for condition in select * from jsonb_array_elements(filters) loop
      if not condition ->> 0 = any (readable) then
        raise exception 'invalid column for filter %', condition ->> 0;
      end if;
      select a.atttypid into column_type from pg_catalog.pg_attribute a
      where a.attrelid = entity and a.attname = condition ->> 0;
      perform _realtime_local.check_filter(condition ->> 1, condition ->> 2, column_type);
    end loop;
    foreach wanted in array coalesce(selected, '{}') loop
      if not wanted = any (readable) then
        raise exception 'invalid column for select %', wanted;
      end if;
    end loop;
    return next entity;
  end loop;
end $$;

-- Raises an exception if an operator or value does not go with a column's type.
create or replace function _realtime_local.check_filter(op text, value text, type_oid oid) returns void
language plpgsql stable as $$
declare
  type_name text := type_oid::regtype::text;
begin
  if op = 'in' then
    if coalesce(jsonb_array_length(_realtime_local.as_json(value, (type_name || '[]')::regtype::oid)), 0) > 100 then
      raise exception 'too many values for `in` filter. Maximum 100';
    end if;
  elsif op = 'is' then
    if value not in ('null', 'true', 'false', 'unknown') then
      raise exception 'invalid value for is filter: must be null, true, false, or unknown';
    elsif value <> 'null' and type_oid <> 'boolean'::regtype then
      raise exception 'is % filter requires a boolean column, got %', value, type_name;
    end if;
  elsif op in ('like', 'ilike') then
    if not exists (select from pg_catalog.pg_operator where oprname = '~~' and oprleft = type_oid) then
      raise exception 'operator % requires a text-compatible column type, got %', op, type_name;
    end if;
  elsif op in ('match', 'imatch') then
    if not exists (
      select from pg_catalog.pg_operator
      where oprname = case op when 'imatch' then '~*' else '~' end
        and oprleft = type_oid and oprright = type_oid and oprresult = 'boolean'::regtype
    ) then
      raise exception 'operator % requires a text-compatible column type, got %', op, type_name;
    end if;
    begin
      perform '' ~ value;
    exception when others then
      raise exception 'invalid regular expression for % filter: %', op, sqlerrm;
    end;
  else
    -- The type's own name, so that the message of a wrong value names it.
    execute format('select %L::%s', value, type_name);
  end if;
end $$;

-- A value of the log as JSON. The usual types are cast without dynamic SQL, which costs more than the rest together.
create or replace function _realtime_local.as_json(value text, type_oid oid) returns jsonb
language plpgsql stable as $$
declare
  result jsonb;
begin
  case type_oid
    when 25, 1043, 2950 then return to_jsonb(value);
    when 20, 21, 23 then return to_jsonb(value::bigint);
    when 16 then return to_jsonb(value::boolean);
    when 1184 then return to_jsonb(value::timestamptz);
    when 1700 then return to_jsonb(value::numeric);
    when 3802 then return value::jsonb;
    when 17 then return to_jsonb(substr(value, 3));
    else
      -- With a type modifier of -1, char(n) keeps its length.
      execute format('select to_jsonb(%L::%s)', value, pg_catalog.format_type(type_oid, -1)) into result;
      return result;
  end case;
end $$;

-- Whether a value meets a condition; one that cannot be evaluated is not met.
create or replace function _realtime_local.meets(value text, type_oid oid, condition jsonb) returns boolean
language plpgsql stable as $$
declare
  op text := condition ->> 1;
  operand text := condition ->> 2;
  negate boolean := (condition ->> 3)::boolean;
  type_name text := pg_catalog.format_type(type_oid, -1);
  result boolean;
begin
  if op = 'isdistinct' then
    execute format('select %L::%s is distinct from %L::%s', value, type_name, operand, type_name) into result;
  elsif op = 'is' then
    execute format('select %L::%s is %s', value, type_name, upper(operand)) into result;
  else
    execute format(
      'select %L::%s %s (%L::%s)', value, type_name,
      case op when 'eq' then '=' when 'neq' then '!=' when 'lt' then '<' when 'lte' then '<=' when 'gt' then '>'
        when 'gte' then '>=' when 'in' then '= any' when 'like' then 'like' when 'ilike' then 'ilike'
        when 'match' then '~' when 'imatch' then '~*' end,
      operand, case op when 'in' then type_name || '[]' else type_name end) into result;
  end if;
  return coalesce(case when negate then not result else result end, false);
exception when others then
  return false;
end $$;

-- Waits until a transaction that the log already tells of is over for everybody: the log is written a moment before,
-- and in that moment a look at the row finds nothing.
create or replace function _realtime_local.await_commit(xid bigint) returns void language plpgsql as $$
declare
  mask constant bigint := 4294967295;
  snapshot pg_snapshot;
begin
  for attempt in 1 .. 5000 loop
    snapshot := pg_current_snapshot();
    exit when ((xid - (pg_snapshot_xmax(snapshot)::text::bigint & mask)) & mask) >= 2147483648
      and not exists (select from pg_snapshot_xip(snapshot) running where running::text::bigint & mask = xid);
    perform pg_sleep(0.001);
  end loop;
end $$;

-- What the subscribers of one changed row get to see, one row per role.
--   vals/old_vals: the log's values by column; types: each column's type
--   groups: [{"role", "filters": [[condition]], "selects": [null | [column]], "claims": [text],
--             "pairs": [[claims, filter]]}]
create or replace function _realtime_local.apply_change(
  entity oid, action text, vals jsonb, old_vals jsonb, types jsonb, too_large boolean, groups jsonb, xid bigint
) returns table (columns text[], records text[], olds text[], passed boolean[], access boolean[], error text)
language plpgsql as $$
declare
  rls boolean := (select relrowsecurity from pg_catalog.pg_class where oid = entity);
  keys text[] := array(
    select a.attname::text from pg_catalog.pg_index i
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any (i.indkey)
    where i.indrelid = entity and i.indisprimary);
  new_json jsonb;
  old_json jsonb;
  grp jsonb;
  selected jsonb;
  readable text[];
  shown text[];
  allowed boolean;
  needed boolean[];
  counter int;
  row_query text;
begin
  perform _realtime_local.await_commit(xid);
  new_json := (
    select jsonb_object_agg(key, _realtime_local.as_json(value, (types ->> key)::oid))
    from jsonb_each_text(coalesce(old_vals, '{}') || vals));
  old_json := (
    select jsonb_object_agg(key, _realtime_local.as_json(value, (types ->> key)::oid)) from jsonb_each_text(old_vals));
  if rls and action <> 'DELETE' then
    row_query := format('select exists (select from %s where %s)', entity::regclass, (
      select string_agg(format('%I = %L::%s', key, vals ->> key, pg_catalog.format_type((types ->> key)::oid, -1)), ' and ')
      from unnest(keys) key));
  end if;
  for grp in select * from jsonb_array_elements(groups) loop
    columns := '{}'; records := '{}'; olds := '{}'; passed := '{}'; access := '{}'; error := null;
    readable := array(
      select a.attname::text from pg_catalog.pg_attribute a
      where a.attrelid = entity and a.attnum > 0 and not a.attisdropped
        and pg_catalog.has_column_privilege(grp ->> 'role', entity, a.attnum, 'SELECT'));
    if action <> 'DELETE' and cardinality(keys) = 0 then
      error := 'Error 400: Bad Request, no primary key';
      return next;
      continue;
    elsif action <> 'DELETE' and not keys <@ readable then
      error := 'Error 401: Unauthorized';
      return next;
      continue;
    end if;

    for selected in select * from jsonb_array_elements(grp -> 'selects') loop
      shown := array(
        select name from unnest(readable) name
        where selected = 'null' or selected ? name or name = any (keys));
      columns := columns || (
        select jsonb_agg(jsonb_build_object('name', a.attname, 'type', t.typname) order by a.attnum)::text
        from pg_catalog.pg_attribute a join pg_catalog.pg_type t on t.oid = a.atttypid
        where a.attrelid = entity and a.attnum > 0 and a.attname::text = any (shown));
      records := records || (
        select jsonb_object_agg(key, value)::text from jsonb_each(new_json)
        where key = any (shown) and (not too_large or octet_length(value::text) <= 64));
      olds := olds || (
        select jsonb_object_agg(key, value)::text from jsonb_each(old_json)
        where key = any (shown) and (not too_large or octet_length(value::text) <= 64)
          and (action <> 'DELETE' or not rls or key = any (keys)));
    end loop;

    passed := array(
      select not exists (
        select from jsonb_array_elements(conditions) c
        where not case
          when action = 'DELETE' then old_vals ? (c ->> 0)
            and _realtime_local.meets(old_vals ->> (c ->> 0), (types ->> (c ->> 0))::oid, c)
          else vals ? (c ->> 0) and _realtime_local.meets(vals ->> (c ->> 0), (types ->> (c ->> 0))::oid, c)
        end)
      from jsonb_array_elements(grp -> 'filters') with ordinality f (conditions, place) order by place);

    if row_query is null then
      access := array_fill(true, array[jsonb_array_length(grp -> 'claims')]);
      return next;
      continue;
    end if;
    needed := array_fill(false, array[jsonb_array_length(grp -> 'claims')]);
    for selected in select * from jsonb_array_elements(grp -> 'pairs') loop
      if passed[(selected ->> 1)::int + 1] then
        needed[(selected ->> 0)::int + 1] := true;
      end if;
    end loop;
    begin
      if exists (select from pg_catalog.pg_prepared_statements where name = '_realtime_local_row') then
        deallocate _realtime_local_row;
      end if;
      execute 'prepare _realtime_local_row as ' || row_query;
      perform set_config('role', grp ->> 'role', true);
      counter := 0;
      for selected in select * from jsonb_array_elements(grp -> 'claims') loop
        counter := counter + 1;
        allowed := false;
        if needed[counter] then
          perform set_config('request.jwt.claims', selected #>> '{}', true);
          begin
            execute 'execute _realtime_local_row' into allowed;
          exception when others then
            -- One user's failing policy must not cost the others their rows.
            allowed := false;
          end;
        end if;
        access := access || allowed;
      end loop;
      perform set_config('role', null, true);
    exception when others then
      perform set_config('role', null, true);
      error := sqlerrm;
    end;
    return next;
  end loop;
end $$;

revoke all on all functions in schema _realtime_local from public;
