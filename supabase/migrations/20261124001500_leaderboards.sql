-- Leaderboards: DJs by tips, songs by votes.

create function public.dj_leaderboard(p_currency text, p_limit integer default 10)
returns jsonb
language plpgsql stable security definer
set search_path = ''
-- The index holds all that is needed in a third of the table's pages and in the order to group by; the planner's guess
-- about random pages would read the table instead.
set enable_seqscan = off
set enable_bitmapscan = off
as $$
declare
  v_entries jsonb;
begin
  perform whatssound.require_argument(whatssound.is_currency(p_currency), 'p_currency', 'an ISO 4217 code in upper case');
  select coalesce(jsonb_agg(jsonb_build_object(
      'rank', l.place, 'dj_id', l.dj_id, 'username', p.username, 'amount', l.amount, 'currency', p_currency, 'tips', l.tips)
    order by l.place), '[]')
  into v_entries
  from (
    select t.dj_id, sum(t.amount) as amount, count(*) as tips,
           row_number() over (order by sum(t.amount) desc, t.dj_id) as place
    from public.tips t
    where t.currency = p_currency and t.status = 'confirmed'
    group by t.dj_id
    order by place limit greatest(1, least(coalesce(p_limit, 10), 100))) l
  join public.profiles p on p.user_id = l.dj_id;
  return jsonb_build_object('entries', v_entries, 'server_time', clock_timestamp());
end
$$;
comment on function public.dj_leaderboard(text, integer) is
  'Everybody: DJs by confirmed tips in one currency (amounts of different currencies do not add up). Definer: totals include private sessions, the rows stay hidden.';
revoke all on function public.dj_leaderboard(text, integer) from public, anon, authenticated, service_role;
grant execute on function public.dj_leaderboard(text, integer) to anon, authenticated, service_role;

create function whatssound.session_song_ranking(p_session_id uuid, p_limit integer)
returns table (song_id uuid, up bigint, down bigint)
language sql stable
set search_path = ''
as $$
  select t.song_id, t.up, t.down from public.song_tallies t
  where t.session_id = p_session_id and t.up + t.down > 0
  order by t.score desc, t.up desc, t.song_id limit p_limit
$$;
comment on function whatssound.session_song_ranking(uuid, integer) is 'Songs of a session by score.';
revoke all on function whatssound.session_song_ranking(uuid, integer) from public, anon, authenticated, service_role;

create function whatssound.public_song_ranking(p_limit integer)
returns table (song_id uuid, up bigint, down bigint)
language sql stable
set search_path = ''
as $$
  select t.song_id, sum(t.up), sum(t.down) from public.song_tallies t
  join public.sessions s on s.id = t.session_id and s.visibility = 'public'
  where t.up + t.down > 0
  group by t.song_id
  order by sum(t.up) - sum(t.down) desc, sum(t.up) desc, t.song_id limit p_limit
$$;
comment on function whatssound.public_song_ranking(integer) is 'Songs by score over all public sessions.';
revoke all on function whatssound.public_song_ranking(integer) from public, anon, authenticated, service_role;

create function public.song_leaderboard(p_session_id uuid default null, p_limit integer default 10)
returns jsonb
language plpgsql stable security definer
set search_path = ''
as $$
declare
  v_limit integer := greatest(1, least(coalesce(p_limit, 10), 100));
  v_entries jsonb;
begin
  if p_session_id is not null then
    perform whatssound.readable_session(p_session_id);
  end if;
  select coalesce(jsonb_agg(jsonb_build_object(
      'rank', r.place, 'song_id', r.song_id, 'title', s.title, 'artist', s.artist, 'up', r.up, 'down', r.down, 'score', r.up - r.down)
    order by r.place), '[]')
  into v_entries
  from (
    select one.*, row_number() over (order by one.up - one.down desc, one.up desc, one.song_id) as place
    from (
      select * from whatssound.session_song_ranking(p_session_id, v_limit) where p_session_id is not null
      union all
      select * from whatssound.public_song_ranking(v_limit) where p_session_id is null) one) r
  join public.songs s on s.id = r.song_id;
  return jsonb_build_object('entries', v_entries, 'server_time', clock_timestamp());
end
$$;
comment on function public.song_leaderboard(uuid, integer) is
  'Everybody who may see the session (null: all public sessions): songs by score. Definer: one check a call rather than one a row.';
revoke all on function public.song_leaderboard(uuid, integer) from public, anon, authenticated, service_role;
grant execute on function public.song_leaderboard(uuid, integer) to anon, authenticated, service_role;
