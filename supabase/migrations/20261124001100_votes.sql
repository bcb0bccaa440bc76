-- Votes: one a user and song, up or down; taken back means 0. Rows are never deleted: under row level security a
-- DELETE would be announced to strangers.

create table public.votes (
  session_id uuid not null references public.sessions (id) on delete cascade,
  song_id uuid not null references public.songs (id),
  user_id uuid not null references public.profiles (user_id),
  username text not null,
  value smallint not null,
  seq bigint not null,
  tally_up integer not null,
  tally_down integer not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (session_id, user_id, song_id),
  constraint votes_value check (value in (-1, 0, 1)),
  constraint votes_tally check (tally_up >= 0 and tally_down >= 0)
) with (fillfactor = 90);
comment on table public.votes is 'One row a session, song and user. tally_up and tally_down are the song''s totals just after this vote.';
create index idx_votes_session_song on public.votes (session_id, song_id);
alter table public.votes enable row level security;
revoke all on public.votes from public, anon, authenticated, service_role;
grant select on public.votes to anon, authenticated, service_role;
create policy votes_select_readers on public.votes for select to anon, authenticated
  using (whatssound.can_read(session_id));

create table public.song_tallies (
  session_id uuid not null references public.sessions (id) on delete cascade,
  song_id uuid not null references public.songs (id),
  up integer not null default 0,
  down integer not null default 0,
  score integer not null generated always as (up - down) stored,
  seq bigint not null,
  primary key (session_id, song_id),
  constraint song_tallies_counts check (up >= 0 and down >= 0)
) with (fillfactor = 50);
comment on table public.song_tallies is 'Votes of a song in a session, counted; kept by cast_vote in the same transaction.';
create index idx_song_tallies_song on public.song_tallies (song_id) include (up, down);
alter table public.song_tallies enable row level security;
revoke all on public.song_tallies from public, anon, authenticated, service_role;
grant select on public.song_tallies to anon, authenticated, service_role;
create policy song_tallies_select_readers on public.song_tallies for select to anon, authenticated
  using (whatssound.can_read(session_id));

create function whatssound.tally_json(p_up integer, p_down integer)
returns jsonb
language sql immutable
set search_path = ''
as $$ select jsonb_build_object('up', p_up, 'down', p_down, 'score', p_up - p_down) $$;
comment on function whatssound.tally_json(integer, integer) is 'A tally as the API shows it.';
revoke all on function whatssound.tally_json(integer, integer) from public, anon, authenticated, service_role;

create function whatssound.count_vote(p_session_id uuid, p_song_id uuid, p_old smallint, p_new smallint, p_seq bigint)
returns public.song_tallies
language sql volatile
set search_path = ''
as $$
  insert into public.song_tallies as t (session_id, song_id, up, down, seq)
  values (p_session_id, p_song_id, (p_new = 1)::integer, (p_new = -1)::integer, p_seq)
  on conflict (session_id, song_id) do update
  set up = t.up + (p_new = 1)::integer - (p_old = 1)::integer,
      down = t.down + (p_new = -1)::integer - (p_old = -1)::integer,
      seq = p_seq
  returning t.*
$$;
comment on function whatssound.count_vote(uuid, uuid, smallint, smallint, bigint) is 'Moves a song''s tally from the old vote to the new.';
revoke all on function whatssound.count_vote(uuid, uuid, smallint, smallint, bigint) from public, anon, authenticated, service_role;

create function whatssound.write_vote(p_actor whatssound.actor, p_song_id uuid, p_old smallint, p_new smallint)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session_id uuid := (p_actor.session).id;
  v_seq bigint := whatssound.next_seq(v_session_id);
  v_tally public.song_tallies := whatssound.count_vote(v_session_id, p_song_id, p_old, p_new, v_seq);
begin
  insert into public.votes as v (session_id, song_id, user_id, username, value, seq, tally_up, tally_down)
  values (v_session_id, p_song_id, p_actor.user_id, p_actor.username, p_new, v_seq, v_tally.up, v_tally.down)
  on conflict (session_id, user_id, song_id) do update
  set value = excluded.value, username = excluded.username, seq = excluded.seq,
      tally_up = excluded.tally_up, tally_down = excluded.tally_down, updated_at = now();
  perform whatssound.log_event(v_session_id, v_seq, 'vote', jsonb_build_object(
    'song_id', p_song_id, 'user_id', p_actor.user_id, 'username', p_actor.username, 'value', p_new,
    'tally', whatssound.tally_json(v_tally.up, v_tally.down)));
  return jsonb_build_object('song_id', p_song_id, 'value', p_new, 'seq', v_seq, 'changed', true,
                            'tally', whatssound.tally_json(v_tally.up, v_tally.down));
end
$$;
comment on function whatssound.write_vote(whatssound.actor, uuid, smallint, smallint) is 'Stores a changed vote, its tally and its event.';
revoke all on function whatssound.write_vote(whatssound.actor, uuid, smallint, smallint) from public, anon, authenticated, service_role;

create function whatssound.unchanged_vote(p_session_id uuid, p_song_id uuid, p_value smallint)
returns jsonb
language sql volatile
set search_path = ''
as $$
  select jsonb_build_object('song_id', p_song_id, 'value', p_value, 'seq', coalesce(max(t.seq), 0), 'changed', false,
    'tally', whatssound.tally_json(coalesce(max(t.up), 0), coalesce(max(t.down), 0)))
  from public.song_tallies t where t.session_id = p_session_id and t.song_id = p_song_id
$$;
comment on function whatssound.unchanged_vote(uuid, uuid, smallint) is 'What voting the same again answers: no event.';
revoke all on function whatssound.unchanged_vote(uuid, uuid, smallint) from public, anon, authenticated, service_role;

create function whatssound.set_vote(p_actor whatssound.actor, p_song_id uuid, p_value smallint)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_session_id uuid := (p_actor.session).id;
  v_old smallint;
begin
  perform whatssound.require_live(p_actor.session);
  perform whatssound.require_anonymous_may(p_actor, 'anonymous_may_vote');
  -- A vote on a song that was removed may still be taken back.
  if not exists (select from public.queue_items q
                 where q.session_id = v_session_id and q.song_id = p_song_id and (q.status <> 'removed' or p_value = 0)) then
    perform whatssound.refuse('unknown_song', jsonb_build_object('song_id', p_song_id));
  end if;
  select v.value into v_old from public.votes v
  where v.session_id = v_session_id and v.user_id = p_actor.user_id and v.song_id = p_song_id;
  v_old := coalesce(v_old, 0);
  if v_old = p_value then
    return whatssound.unchanged_vote(v_session_id, p_song_id, p_value);
  end if;
  return whatssound.write_vote(p_actor, p_song_id, v_old, p_value);
end
$$;
comment on function whatssound.set_vote(whatssound.actor, uuid, smallint) is 'Sets the caller''s vote on a song of the queue.';
revoke all on function whatssound.set_vote(whatssound.actor, uuid, smallint) from public, anon, authenticated, service_role;

create function whatssound.vote_once(p_session_id uuid, p_song_id uuid, p_value smallint, p_key uuid, p_operation text)
returns jsonb
language plpgsql volatile
set search_path = ''
as $$
declare
  v_user_id uuid := whatssound.require_user('command');
  v_request jsonb := jsonb_build_array(p_session_id, p_song_id, p_value);
  v_reply jsonb;
begin
  perform whatssound.lock_clock(p_session_id);
  v_reply := whatssound.earlier_reply(v_user_id, p_key, p_operation, v_request);
  if v_reply is null then
    v_reply := whatssound.set_vote(whatssound.admit(p_session_id, v_user_id), p_song_id, p_value);
    perform whatssound.remember_reply(v_user_id, p_key, p_operation, v_request, v_reply);
    perform whatssound.spend_tokens(v_user_id, 'command', 1);
  end if;
  return whatssound.finish_write(p_session_id, v_reply);
end
$$;
comment on function whatssound.vote_once(uuid, uuid, smallint, uuid, text) is 'Carries out a vote once a key.';
revoke all on function whatssound.vote_once(uuid, uuid, smallint, uuid, text) from public, anon, authenticated, service_role;

create function public.cast_vote(p_session_id uuid, p_song_id uuid, p_value smallint, p_key uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
begin
  perform whatssound.require_argument(p_value in (-1, 1), 'p_value', '1 or -1');
  return whatssound.vote_once(p_session_id, p_song_id, p_value, p_key, 'cast_vote');
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.cast_vote(uuid, uuid, smallint, uuid) is
  'Signed-in users, as the session''s settings allow: votes on a song of the session. Definer: tables take no direct writes.';
revoke all on function public.cast_vote(uuid, uuid, smallint, uuid) from public, anon, authenticated, service_role;
grant execute on function public.cast_vote(uuid, uuid, smallint, uuid) to authenticated;

create function public.retract_vote(p_session_id uuid, p_song_id uuid, p_key uuid)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
begin
  return whatssound.vote_once(p_session_id, p_song_id, 0::smallint, p_key, 'retract_vote');
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.retract_vote(uuid, uuid, uuid) is
  'Signed-in users: takes back the caller''s vote (value 0). Definer: tables take no direct writes.';
revoke all on function public.retract_vote(uuid, uuid, uuid) from public, anon, authenticated, service_role;
grant execute on function public.retract_vote(uuid, uuid, uuid) to authenticated;
