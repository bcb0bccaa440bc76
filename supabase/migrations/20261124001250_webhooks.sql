-- What a payment provider's webhook says about tips: each delivery once, and only for the amount that was promised.

create table whatssound.webhook_deliveries (
  event_id text not null,
  signed_at bigint not null,
  received_at timestamptz not null default now(),
  primary key (event_id, signed_at),
  constraint webhook_deliveries_event_id check (char_length(event_id) between 1 and 255)
);
comment on table whatssound.webhook_deliveries is
  'Deliveries that have been carried out. The provider signs every try anew, so a pair seen before is a replay by somebody else.';
alter table whatssound.webhook_deliveries enable row level security;
revoke all on whatssound.webhook_deliveries from public, anon, authenticated, service_role;

create function whatssound.require_payment(p_tip_id uuid, p_amount bigint, p_currency text)
returns void
language plpgsql stable
set search_path = ''
as $$
declare
  v_tip public.tips;
begin
  select t.* into v_tip from public.tips t where t.id = p_tip_id;
  if not found then
    perform whatssound.refuse('unknown_tip', jsonb_build_object('tip_id', p_tip_id));
  end if;
  perform whatssound.require_argument(v_tip.amount = p_amount, 'p_amount', 'the amount of the tip');
  perform whatssound.require_argument(v_tip.currency = p_currency, 'p_currency', 'the currency of the tip');
end
$$;
comment on function whatssound.require_payment(uuid, bigint, text) is 'Refuses a payment of another amount or currency than the tip''s.';
revoke all on function whatssound.require_payment(uuid, bigint, text) from public, anon, authenticated, service_role;

create function public.settle_tip_event(
  p_event_id text, p_signed_at bigint, p_tip_id uuid, p_status text, p_amount bigint, p_currency text, p_provider_ref text)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '2s'
as $$
begin
  perform whatssound.require_argument(char_length(p_event_id) between 1 and 255, 'p_event_id', 'the provider''s id of the event');
  perform whatssound.require_argument(p_signed_at > 0, 'p_signed_at', 'the time in the signature, in seconds');
  perform whatssound.require_argument(p_provider_ref is not null, 'p_provider_ref', 'the provider''s id of the payment');
  perform whatssound.require_payment(p_tip_id, p_amount, p_currency);
  insert into whatssound.webhook_deliveries (event_id, signed_at) values (p_event_id, p_signed_at)
  on conflict do nothing;
  if not found then
    return jsonb_build_object('replayed', true);
  end if;
  return public.confirm_tip(p_tip_id, p_status, p_provider_ref) || '{"replayed": false}';
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.settle_tip_event(text, bigint, uuid, text, bigint, text, text) is
  'Service role: settles a tip for a webhook''s delivery; the same delivery again is answered {"replayed": true} and changes nothing. Definer: the table has no grants.';
revoke all on function public.settle_tip_event(text, bigint, uuid, text, bigint, text, text) from public, anon, authenticated, service_role;
grant execute on function public.settle_tip_event(text, bigint, uuid, text, bigint, text, text) to service_role;
