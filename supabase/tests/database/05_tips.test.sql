-- Tips: once a key, forward only, seen by whom they concern.
begin;
\ir helpers.psql
select * from no_plan();
create temporary table k as select gen_random_uuid() as one, gen_random_uuid() as two;
grant select on k to public;

select pg_temp.as_user(:ana);
create temporary table t as select send_tip(:open, 500, 'EUR', 'gracias', (select one from k)) as r;
grant select on t to public;
select is(r #>> '{tip,status}', 'pending', 'a tip begins as pending') from t;
select is(r #>> '{tip,seq}', null, 'and is no event') from t;
select is(send_tip(:open, 500, 'EUR', 'gracias', (select one from k)) #>> '{tip,id}', r #>> '{tip,id}', 'the same key returns the first') from t;
select is(send_tip(:open, 500, 'EUR', 'gracias', (select one from k)) ->> 'duplicate', 'true', 'and says so');
select is(pg_temp.outcome(format('select send_tip(%L, %s, (select one from k))', :open, a)), 'PT409 idempotency_mismatch', 'with other values it is a mismatch: ' || a)
from unnest(array['501, ''EUR'', ''gracias''', '500, ''USD'', ''gracias''', '500, ''EUR'', ''thanks''', '500, ''EUR'', null']) a;
select is(pg_temp.outcome(format('select send_tip(%L, 500, ''EUR'', ''gracias'', (select one from k))', :closed)), 'PT409 idempotency_mismatch', 'or in another session');
select is(pg_temp.outcome(format('select send_tip(%L, %s, gen_random_uuid())', :open, a)), 'PT422 ' || c, 'refused: ' || a)
from (values ('0, ''EUR'', null', 'invalid_argument'), ('-5, ''EUR'', null', 'invalid_argument'), ('null, ''EUR'', null', 'invalid_argument'),
  ('5, ''eur'', null', 'invalid_argument'), ('5, ''XXX'', null', 'invalid_argument'), ('5, ''EURO'', null', 'invalid_argument'),
  ('5, null, null', 'invalid_argument'), ('5, ''EUR'', ''''', 'invalid_argument'), ('5, ''EUR'', repeat(''x'', 201)', 'invalid_argument'),
  ('100001, ''EUR'', null', 'tip_too_large')) x (a, c);
select is(pg_temp.outcome(format('select send_tip(%L, 5, ''EUR'', null, null)', :open)), 'PT422 invalid_argument', 'a key is required');
select isnt_empty('select 1 from tips where tipper_id = ' || quote_literal(:ana), 'the tipper sees the pending tip');
select pg_temp.as_user(:dj);
select isnt_empty('select 1 from tips where tipper_id = ' || quote_literal(:ana), 'the DJ sees it');
select pg_temp.as_user(:bo);
select is_empty('select 1 from tips where tipper_id = ' || quote_literal(:ana), 'others do not');
select is_empty(format('select 1 from jsonb_array_elements(events_since(%L, 0) -> ''events'') e where e ->> ''kind'' ~ ''tip''', :open), 'nor does the log');
select is(session_snapshot(:open) -> 'tips', '{"totals": {}, "count": 0}'::jsonb, 'nor do the totals');
select is(send_tip(:open, 7, 'EUR', null, (select one from k)) ->> 'duplicate', 'false', 'keys belong to their caller');
select is(dj_leaderboard('EUR') -> 'entries', '[]'::jsonb, 'the leaderboard counts confirmed tips only');

select pg_temp.as_service();
select is(pg_temp.outcome('select confirm_tip(gen_random_uuid())'), 'PT404 unknown_tip', 'an unknown tip');
select is(pg_temp.outcome(format('select confirm_tip(%L, ''pending'')', r #>> '{tip,id}')), 'PT422 invalid_argument', 'nothing goes back to pending') from t;
create temporary table c as select confirm_tip((r #>> '{tip,id}')::uuid, 'confirmed', 'pi_1') as r from t;
select is(r #>> '{tip,status}', 'confirmed', 'confirmed') from c;
select is((r #>> '{tip,seq}')::bigint, (r ->> 'last_seq')::bigint, 'it is an event now') from c;
select is(confirm_tip((r #>> '{tip,id}')::uuid, 'confirmed', 'pi_1') #>> '{tip,seq}', (select r #>> '{tip,seq}' from c), 'confirmed twice is once') from t;
select is(pg_temp.outcome(format('select confirm_tip(%L, ''confirmed'', ''pi_2'')', r #>> '{tip,id}')), 'PT409 idempotency_mismatch', 'by another payment it is refused') from t;
select is(pg_temp.outcome(format('select confirm_tip(id, ''confirmed'', ''pi_1'') from tips where tipper_id = %L', :bo)), 'PT409 idempotency_mismatch', 'one payment is for one tip');
select pg_temp.as_user(:bo);
select isnt_empty('select 1 from tips where tipper_id = ' || quote_literal(:ana), 'a confirmed tip is seen by all');
select is(session_snapshot(:open) -> 'tips', '{"totals": {"EUR": 500}, "count": 1}'::jsonb, 'and counted');
select is((dj_leaderboard('EUR') #>> '{entries,0,amount}')::bigint, 500::bigint, 'on the leaderboard too');
select is(dj_leaderboard('USD') -> 'entries', '[]'::jsonb, 'of its own currency');
select is(pg_temp.outcome('select dj_leaderboard(''eur'')'), 'PT422 invalid_argument', 'a currency that is none');
select is(e #>> '{payload,tip,username}', 'ana', 'the event names the tipper')
from jsonb_array_elements(events_since(:open, 0) -> 'events') e where e ->> 'kind' = 'tip';
select pg_temp.as_service();
select is(confirm_tip((r #>> '{tip,id}')::uuid, 'refunded') #>> '{tip,status}', 'refunded', 'a payment may be refunded later') from t;
select is(pg_temp.outcome(format('select confirm_tip(%L)', r #>> '{tip,id}')), 'PT409 tip_state', 'refunded is final') from t;
select is(session_snapshot(:open) -> 'tips' -> 'count', '0'::jsonb, 'and not counted');
select confirm_tip(id, 'refunded') is not null from tips where tipper_id = :bo;
select is(jsonb_agg(e #> '{payload,was}'), '["confirmed"]', 'a refund of what was confirmed is an event that says so; of what was pending it is none')
from jsonb_array_elements(events_since(:open, 0) -> 'events') e where e ->> 'kind' = 'tip_refunded';
select is(seq, null, 'a payment that never came about has no place in the log') from tips where tipper_id = :bo;
select is(confirm_tip(id, 'refunded', 'pi_7') ->> 'duplicate', 'true', 'the payment''s reference may come later') from tips where tipper_id = :bo;
select is(provider_ref, 'pi_7', 'and is kept') from tips where tipper_id = :bo;
select is(session_snapshot(:open) -> 'tips', '{"totals": {}, "count": 0}'::jsonb, 'none of it is in the totals');
select pg_temp.as_anon();
select is_empty('select 1 from tips where tipper_id = ' || quote_literal(:bo), 'it stays hidden from role anon');
select isnt_empty('select 1 from tips where tipper_id = ' || quote_literal(:ana), 'while what was confirmed stays public');
select pg_temp.as_user(:ana);
select is_empty('select 1 from tips where tipper_id = ' || quote_literal(:bo), 'and from other users');
select pg_temp.as_user(:bo);
select isnt_empty('select 1 from tips where tipper_id = ' || quote_literal(:bo), 'but not from the tipper');

-- A webhook's deliveries.
select pg_temp.as_user(:bo);
create temporary table w as select send_tip(:open, 900, 'EUR', null, gen_random_uuid()) #>> '{tip,id}' as id;
grant select on w to public;
select is(pg_temp.outcome(format('select settle_tip_event(''e'', 1, %L, ''confirmed'', 900, ''EUR'', ''pi'')', id)), '42501', 'users do not deliver') from w;
select pg_temp.as_service();
select is(pg_temp.outcome(format('select settle_tip_event(%s)', replace(a, '$1', quote_literal(id)))), c, 'delivery: ' || a) from w, (values
  ('''e1'', 1, gen_random_uuid(), ''confirmed'', 900, ''EUR'', ''pi_9''', 'PT404 unknown_tip'), ('''e1'', 1, $1, ''confirmed'', 901, ''EUR'', ''pi_9''', 'PT422 invalid_argument'),
  ('''e1'', 1, $1, ''confirmed'', 900, ''USD'', ''pi_9''', 'PT422 invalid_argument'), ('''e1'', 1, $1, ''pending'', 900, ''EUR'', ''pi_9''', 'PT422 invalid_argument'),
  ('''e1'', 1, $1, ''confirmed'', 900, ''EUR'', null', 'PT422 invalid_argument'), ('null, 1, $1, ''confirmed'', 900, ''EUR'', ''pi_9''', 'PT422 invalid_argument')) x (a, c);
select is(settle_tip_event('e1', 1, id::uuid, 'confirmed', 900, 'EUR', 'pi_9') #>> '{tip,status}', 'confirmed', 'a delivery confirms') from w;
select is(settle_tip_event('e1', 1, id::uuid, 'confirmed', 900, 'EUR', 'pi_9'), '{"replayed": true}'::jsonb, 'a replay is told') from w;
select is(settle_tip_event('e1', 2, id::uuid, 'confirmed', 900, 'EUR', 'pi_9') ->> 'duplicate', 'true', 'the provider''s next try is fine and changes nothing') from w;
select is(settle_tip_event('e2', 3, id::uuid, 'refunded', 900, 'EUR', 'pi_9') #>> '{tip,status}', 'refunded', 'a refund too') from w;

-- Not even the owner changes what a tip is.
select pg_temp.as_owner();
select is(pg_temp.outcome('update tips set ' || a || ' where session_id = ' || quote_literal(:open)), 'PT409 tip_state', 'not even the owner: ' || a)
from unnest(array['amount = 1', 'currency = ''USD''', 'status = ''confirmed''', 'status = ''pending'', settled_at = null, seq = null', 'dj_id = tipper_id']) a;

-- A retry after the end, or after a ban, still gets its receipt.
select pg_temp.as_user(:dj);
select ban_member(:open, :ana) is not null;
select pg_temp.as_user(:ana);
select is(pg_temp.outcome(format('select send_tip(%L, 5, ''EUR'', null, gen_random_uuid())', :open)), 'PT403 banned', 'a banned user does not tip');
select is(send_tip(:open, 500, 'EUR', 'gracias', (select one from k)) ->> 'duplicate', 'true', 'but gets the receipt of a tip made before');
select pg_temp.as_user(:dj);
select update_session(:open, '{"anonymous_may_tip": false}') is not null;
select pg_temp.as_user(:gus, true);
select is(pg_temp.outcome(format('select send_tip(%L, 5, ''EUR'', null, gen_random_uuid())', :open)), 'PT403 not_allowed', 'anonymous sign-ins tip where the session allows');
select pg_temp.as_user(:dj);
select end_session(:open) is not null;
select pg_temp.as_user(:bo);
select is(pg_temp.outcome(format('select send_tip(%L, 5, ''EUR'', null, gen_random_uuid())', :open)), 'PT410 session_ended', 'no tips after the end');
select is(send_tip(:open, 7, 'EUR', null, (select one from k)) ->> 'duplicate', 'true', 'but receipts');
select * from finish();
rollback;
