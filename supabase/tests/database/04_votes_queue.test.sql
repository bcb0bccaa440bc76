-- Votes and the queue: outcomes, refusals, keys.
begin;
\ir helpers.psql
select * from no_plan();
create temporary table k as select gen_random_uuid() as one, gen_random_uuid() as two;
grant select on k to public;

select pg_temp.as_user(:ana);
create temporary table v as select cast_vote(:open, :song, 1::smallint, (select one from k)) as r;
select is(r -> 'tally', '{"up": 1, "down": 0, "score": 1}'::jsonb, 'a vote counts') from v;
select is((r ->> 'changed')::boolean, true, 'and is a change') from v;
select is(cast_vote(:open, :song, 1::smallint, (select one from k)) -> 'seq', (select r -> 'seq' from v), 'the same key gets the first answer');
select is(cast_vote(:open, :song, 1::smallint, gen_random_uuid()) ->> 'changed', 'false', 'the same vote under another key changes nothing');
select is(cast_vote(:open, :song, -1::smallint, gen_random_uuid()) -> 'tally', '{"up": 0, "down": 1, "score": -1}'::jsonb, 'a changed vote moves the tally');
select is(cast_vote(:open, :song, 1::smallint, (select one from k)) -> 'seq', (select r -> 'seq' from v), 'a late retry of the first does not vote again');
select is((select value from votes where user_id = :ana), -1::smallint, 'the vote stays as it was last cast');
select results_eq('select tally_up, tally_down from votes where user_id = ' || quote_literal(:ana), 'values (0, 1)', 'the row carries the tally');
select is(retract_vote(:open, :song, gen_random_uuid()) -> 'tally', '{"up": 0, "down": 0, "score": 0}'::jsonb, 'taken back it counts no more');
select is((select value from votes where user_id = :ana), 0::smallint, 'the row stays, at 0');
select is(retract_vote(:open, :song, gen_random_uuid()) ->> 'changed', 'false', 'twice is no change');
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 0::smallint, gen_random_uuid())', :open, :song)), 'PT422 invalid_argument', '0 is not cast');
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 2::smallint, gen_random_uuid())', :open, :song)), 'PT422 invalid_argument', 'nor 2');
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 1::smallint, null)', :open, :song)), 'PT422 invalid_argument', 'a key is required');
select is(pg_temp.outcome(format('select cast_vote(%L, gen_random_uuid(), 1::smallint, gen_random_uuid())', :open)), 'PT404 unknown_song', 'only songs of the session');
select is(pg_temp.outcome(format('select cast_vote(%L, %L, -1::smallint, (select one from k))', :open, :song)), 'PT409 idempotency_mismatch', 'a key is for one vote');
select is(pg_temp.outcome(format('select retract_vote(%L, %L, (select one from k))', :open, :song)), 'PT409 idempotency_mismatch', 'and one operation');
select pg_temp.as_user(:bo);
select is(cast_vote(:open, :song, 1::smallint, (select one from k)) ->> 'changed', 'true', 'keys belong to their caller');
select pg_temp.as_user(:gus, true);
select is(cast_vote(:open, :song2, 1::smallint, gen_random_uuid()) ->> 'changed', 'true', 'an anonymous sign-in votes by default');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''g'', p_key => gen_random_uuid())', :open)), 'ok', 'and queues');
select pg_temp.as_user(:dj);
select update_session(:open, '{"anonymous_may_vote": false, "anonymous_may_queue": false}') is not null;
select pg_temp.as_user(:gus, true);
select is(pg_temp.outcome(format('select cast_vote(%L, %L, -1::smallint, gen_random_uuid())', :open, :song2)), 'PT403 not_allowed', 'not where the session says no');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''h'', p_key => gen_random_uuid())', :open)), 'PT403 not_allowed', 'nor queue');

-- The queue.
select pg_temp.as_user(:ana);
create temporary table q as select enqueue_song(:open, 'Third', 'A', 1000, null, null, (select two from k)) as r;
grant select on q to public;
select is(r #>> '{item,action}', 'added', 'a song is added') from q;
select is(enqueue_song(:open, 'Third', 'A', 1000, null, null, (select two from k)) #> '{item,id}', (select r #> '{item,id}' from q), 'once a key');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''Other'', p_key => (select two from k))', :open)), 'PT409 idempotency_mismatch', 'a key is for one song');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''x'')', :open)), 'PT422 invalid_argument', 'a key is required');
select is(enqueue_song(:open, 'third', 'a', 240000, p_key => gen_random_uuid()) #> '{item}' ->> 'duration_ms', '240000', 'who adds it says how long it plays');
select is(enqueue_song(:open, 'THIRD', 'a', p_key => gen_random_uuid()) #>> '{item,duration_ms}', null, 'and takes no length from a stranger who was first');
select is(count(distinct song_id), 1::bigint, 'it is one song all the same') from queue_items where session_id = :open and lower(title) = 'third';
select is(enqueue_song(:open, 'Third', p_song_id => (r #>> '{item,song_id}')::uuid, p_key => gen_random_uuid()) #>> '{item,duration_ms}', '1000', 'a song named by its id has its length') from q;
select pg_temp.as_user(:mod);
select remove_queue_item(:open, id, version, gen_random_uuid()) is not null from queue_items
where session_id = :open and lower(title) = 'third' and id <> (select (r #>> '{item,id}')::uuid from q);
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select enqueue_song(%L, '''', p_key => gen_random_uuid())', :open)), 'PT422 invalid_argument', 'an empty title');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''x'', p_duration_ms => 0, p_key => gen_random_uuid())', :open)), 'PT422 invalid_argument', 'no duration');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''x'', p_source_url => ''javascript:x'', p_key => gen_random_uuid())', :open)), 'PT422 invalid_argument', 'a source that is no web address');
select is(pg_temp.outcome(format('select move_queue_item(%L, %L, p_before => gen_random_uuid(), p_expected_version => 1, p_key => gen_random_uuid())', :open, r #>> '{item,id}')), 'PT403 not_allowed', 'a listener does not move') from q;
select is(pg_temp.outcome(format('select advance_queue(%L, null, gen_random_uuid())', :open)), 'PT403 not_allowed', 'nor advance');
select is(pg_temp.outcome(format('select remove_queue_item(%L, id, version, gen_random_uuid()) from queue_items where song_id = %L', :open, :song)), 'PT403 not_allowed', 'nor remove what others added');
select pg_temp.as_user(:mod);
select is(pg_temp.outcome(format('select move_queue_item(%L, %L, %L, %L, 1, gen_random_uuid())', :open, r #>> '{item,id}', :song, :song2)), 'PT422 invalid_argument', 'before or after, not both') from q;
select is(pg_temp.outcome(format('select move_queue_item(%L, gen_random_uuid(), %L, null, 1, gen_random_uuid())', :open, :song)), 'PT404 unknown_item', 'an unknown item');
select is((move_queue_item(:open, (r #>> '{item,id}')::uuid, (select id from queue_items where song_id = :song), null, 1, gen_random_uuid()) -> 'order' ->> 0),
  r #>> '{item,id}', 'moved before the first it is first') from q;
select is(pg_temp.outcome(format('select move_queue_item(%L, %L, %L, null, 1, gen_random_uuid())', :open, r #>> '{item,id}', (select id from queue_items where song_id = :song2))),
  'PT409 queue_conflict', 'an old version is a conflict') from q;
select is(move_queue_item(:open, (r #>> '{item,id}')::uuid, null, (select id from queue_items where song_id = :song2), 2, gen_random_uuid()) #>> '{item,version}', '3', 'moved after another') from q;
create temporary table a as select advance_queue(:open, null, gen_random_uuid()) as r;
grant select on a to public;
select is(r #>> '{item,status}', 'playing', 'the first one plays') from a;
select is(r #>> '{item,song_id}', :song, 'the first in order') from a;
select ok((r #>> '{item,started_at}')::timestamptz <= (r ->> 'server_time')::timestamptz, 'with the server''s time of start') from a;
select is(r -> 'previous', 'null'::jsonb, 'nothing played before') from a;
select is(pg_temp.outcome(format('select advance_queue(%L, null, gen_random_uuid())', :open)), 'PT409 queue_conflict', 'who thinks that nothing plays is told');
select is(pg_temp.outcome(format('select remove_queue_item(%L, %L, 2, gen_random_uuid())', :open, r #>> '{item,id}')), 'PT409 queue_conflict', 'what plays is not removed') from a;
create temporary table b as select advance_queue(:open, (r #>> '{item,id}')::uuid, gen_random_uuid(), true) as r from a;
select is(r #>> '{previous,status}', 'skipped', 'a skipped song says so') from b;
select is(r #>> '{previous,action}', 'skipped', 'in status and action') from b;
select is((r #>> '{item,seq}')::bigint - (r #>> '{previous,seq}')::bigint, 1::bigint, 'two changes, two events') from b;
select pg_temp.as_user(:ana);
select is(remove_queue_item(:open, (r #>> '{item,id}')::uuid, 3, gen_random_uuid()) #>> '{item,status}', 'removed', 'one''s own song may be withdrawn') from q;
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 1::smallint, gen_random_uuid())', :open, r #>> '{item,song_id}')), 'PT404 unknown_song', 'what was removed gets no votes') from q;
select pg_temp.as_user(:dj);
select update_session(:open, '{"max_queue_length": 1, "listeners_may_queue": true}') is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select enqueue_song(%L, ''full'', p_key => gen_random_uuid())', :open)), 'PT409 queue_full', 'a full queue');
select pg_temp.as_user(:dj);
select update_session(:open, '{"max_queue_length": 100, "listeners_may_queue": false}') is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select enqueue_song(%L, ''no'', p_key => gen_random_uuid())', :open)), 'PT403 not_allowed', 'a queue for the crew only');

-- A hundred moves into the same gap never lose the order.
select pg_temp.as_user(:dj);
select update_session(:open, '{"listeners_may_queue": true}') is not null;
select enqueue_song(:open, 'filler ' || n, p_key => gen_random_uuid()) is not null from generate_series(1, 4) n;
do $$
declare
  v_ids uuid[];
  v_reply jsonb;
begin
  perform set_config('whatssound.test_ok', 'yes', true);
  for i in 1..100 loop
    v_ids := array(select q.id from public.queue_items q where q.session_id = 'a0000000-0000-4000-8000-000000000001' and q.status = 'queued' order by q.rank, q.id);
    -- The last goes between the first two.
    v_reply := public.move_queue_item('a0000000-0000-4000-8000-000000000001', v_ids[cardinality(v_ids)], v_ids[2], null,
      (select q.version from public.queue_items q where q.id = v_ids[cardinality(v_ids)]), gen_random_uuid());
    if v_reply -> 'order' <> to_jsonb(array[v_ids[1], v_ids[cardinality(v_ids)]] || v_ids[2:cardinality(v_ids) - 1]) then
      perform set_config('whatssound.test_ok', 'no, at ' || i, true);
    end if;
  end loop;
end $$;
select is(current_setting('whatssound.test_ok'), 'yes', 'a hundred moves into one gap keep the order');

select end_session(:open) is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select cast_vote(%L, %L, 1::smallint, gen_random_uuid())', :open, :song2)), 'PT410 session_ended', 'no votes after the end');
select is(pg_temp.outcome(format('select enqueue_song(%L, ''x'', p_key => gen_random_uuid())', :open)), 'PT410 session_ended', 'no songs either');
select is(cast_vote(:open, :song, 1::smallint, (select one from k)) -> 'seq', (select r -> 'seq' from v), 'but a retry gets its answer');
select pg_temp.as_owner();
update whatssound.rate_limits set capacity = 1, per_second = 0.1 where bucket = 'command';
delete from whatssound.rate_buckets;
select pg_temp.as_user(:ana);
select join_session(:closed) is not null;
select is(pg_temp.outcome(format('select join_session(%L)', :closed)), 'PT429 rate_limited', 'too many commands are refused');
select * from finish();
rollback;
