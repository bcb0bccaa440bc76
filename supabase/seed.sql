-- Demo data for local development: one live session with a DJ and a short queue. Fixed ids, so that docs and scripts can
-- name them. Loaded after the migrations, as role postgres; running it again changes nothing.

insert into public.profiles (user_id, username, avatar_url) values
  ('0d000000-0000-4000-8000-000000000001', 'DJ Cumbia', null)
on conflict (user_id) do nothing;

do $$
begin
  if not exists (select from public.sessions where id = '5e551000-0000-4000-8000-000000000001') then
    -- Through the RPCs, as the DJ, so that clock and event log agree with the rows.
    perform set_config('request.jwt.claims',
      '{"sub": "0d000000-0000-4000-8000-000000000001", "role": "authenticated"}', true);
    perform public.create_session('Cumbia sobre el mar', '{}', '5e551000-0000-4000-8000-000000000001');
    perform public.enqueue_song('5e551000-0000-4000-8000-000000000001', 'Cumbia sobre el mar', 'Quantic', 264000,
      '50260000-0000-4000-8000-000000000001', null, '1de40000-0000-4000-8000-000000000001');
    perform public.enqueue_song('5e551000-0000-4000-8000-000000000001', 'La Pollera Colorá', 'Wilson Choperena', 182000,
      '50260000-0000-4000-8000-000000000002', null, '1de40000-0000-4000-8000-000000000002');
    perform public.enqueue_song('5e551000-0000-4000-8000-000000000001', 'Colegiala', 'Rodolfo y Su Típica', 222000,
      '50260000-0000-4000-8000-000000000003', null, '1de40000-0000-4000-8000-000000000003');
    perform public.advance_queue('5e551000-0000-4000-8000-000000000001', null, '1de40000-0000-4000-8000-000000000004');
    perform set_config('request.jwt.claims', '', true);
  end if;
end
$$;
