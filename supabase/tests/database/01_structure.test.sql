-- What exists and who may touch it, read from the catalog, so that a new table or function cannot forget its rules.
begin;
\ir helpers.psql
select * from no_plan();

select is_empty($$
  select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('public', 'whatssound') and c.relkind in ('r', 'p') and not c.relrowsecurity
    and pg_get_userbyid(c.relowner) = 'postgres'
$$, 'every table and partition has row level security');

select is_empty($$
  select c.oid::regclass, a.grantee::regrole, a.privilege_type
  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
  where n.nspname = 'whatssound' and c.relkind in ('r', 'p', 'v', 'm', 'S') and a.grantee <> c.relowner
$$, 'nothing in schema whatssound is granted to anybody');

select is_empty($$
  select c.oid::regclass, a.grantee::regrole, a.privilege_type
  from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
  where n.nspname = 'public' and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = 'postgres'
    and a.grantee <> c.relowner and a.privilege_type <> 'SELECT'
$$, 'no role but the owner may do more than SELECT on a table');

select is_empty($$
  select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('public', 'whatssound') and pg_get_userbyid(p.proowner) = 'postgres'
    and not coalesce(p.proconfig @> array['search_path=""'], false)
$$, 'every function has an empty search_path');

select is_empty($$
  select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('public', 'whatssound') and pg_get_userbyid(p.proowner) = 'postgres'
    and has_function_privilege('public', p.oid, 'execute')
$$, 'no function is executable by public');

select is_empty($$
  select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('public', 'whatssound') and pg_get_userbyid(p.proowner) = 'postgres'
    and obj_description(p.oid, 'pg_proc') is null
$$, 'every function has a comment');

select is_empty($$
  select c.oid::regclass from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('public', 'whatssound') and c.relkind in ('r', 'p') and pg_get_userbyid(c.relowner) = 'postgres'
    and obj_description(c.oid, 'pg_class') is null
$$, 'every table has a comment');

select is_empty($$
  select p.oid::regprocedure from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname in ('public', 'whatssound') and p.prosecdef and pg_get_userbyid(p.proowner) = 'postgres'
    and obj_description(p.oid, 'pg_proc') !~ 'Definer: '
$$, 'every security definer function says why');

-- Who may execute what: anon, authenticated, service_role.
select set_eq($$
  select p.proname::text,
    has_function_privilege('anon', p.oid, 'execute') as a,
    has_function_privilege('authenticated', p.oid, 'execute') as b,
    has_function_privilege('service_role', p.oid, 'execute') as c
  from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'public' and pg_get_userbyid(p.proowner) = 'postgres'
$$, $$ values
  ('advance_queue', false, true, false),
  ('ban_member', false, true, true),
  ('cast_vote', false, true, false),
  ('configure_project', false, false, true),
  ('confirm_tip', false, false, true),
  ('create_session', false, true, false),
  ('delete_message', false, true, true),
  ('dj_leaderboard', true, true, true),
  ('end_session', false, true, true),
  ('enqueue_song', false, true, false),
  ('events_since', true, true, true),
  ('flush_frame', false, true, true),
  ('forget_user', false, false, true),
  ('freeze_chat', false, true, true),
  ('heartbeat', true, true, true),
  ('insert_messages', false, true, true),
  ('join_session', false, true, false),
  ('message_history', true, true, true),
  ('move_queue_item', false, true, false),
  ('mute_member', false, true, true),
  ('remove_queue_item', false, true, false),
  ('retract_vote', false, true, false),
  ('send_reactions', false, true, false),
  ('send_tip', false, true, false),
  ('session_snapshot', true, true, true),
  ('set_member_role', false, true, true),
  ('set_profile', false, true, false),
  ('set_slow_mode', false, true, true),
  ('settle_tip_event', false, false, true),
  ('song_leaderboard', true, true, true),
  ('update_session', false, true, true),
  ('upkeep', false, false, true)
$$, 'the API is executable by exactly these roles');

select set_eq($$
  select p.proname::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  where n.nspname = 'whatssound' and (has_function_privilege('anon', p.oid, 'execute')
    or has_function_privilege('authenticated', p.oid, 'execute') or has_function_privilege('service_role', p.oid, 'execute'))
$$, array['can_read', 'is_crew', 'may_broadcast', 'may_hear'], 'of the internals only what policies call is executable');

select set_eq($$
  select t.schemaname || '.' || t.tablename from pg_publication_tables t where t.pubname = 'supabase_realtime'
$$, array['public.queue_items', 'public.tips', 'public.votes'], 'these tables are published to Postgres Changes');

select has_index('public', 'messages', 'idx_messages_session_created', array['session_id', 'created_at'], 'messages by time');
select has_index('public', 'votes', 'idx_votes_session_song', array['session_id', 'song_id'], 'votes by song');
select has_index('public', 'tips', 'idx_tips_dj_amount', 'tips by DJ and amount');
select is_empty($$
  select l.code from whatssound.refusals() l where l.status not between 400 and 503
$$, 'every refusal has an HTTP status of refusals');

select * from finish();
rollback;
