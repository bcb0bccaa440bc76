-- Profiles: the name a user goes by.
--
-- user_id has no foreign key to auth.users on purpose: tokens of third-party sign-in carry users that auth.users does
-- not know, the table belongs to another role, and deleting an account must not delete what others have seen (tips!).
-- `forget_user` takes a person's name and words out instead.

create table public.profiles (
  user_id uuid primary key,
  username text not null,
  avatar_url text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint profiles_username_length check (char_length(username) between 1 and 32),
  constraint profiles_username_clean check (whatssound.is_clean_name(username) and username = btrim(username)),
  constraint profiles_avatar_url check (char_length(avatar_url) <= 500 and avatar_url ~ '^https?://[^\s]+$')
);
comment on table public.profiles is 'Display names. Names are not unique; user_id is who somebody is.';
alter table public.profiles enable row level security;
revoke all on public.profiles from public, anon, authenticated, service_role;
grant select on public.profiles to anon, authenticated, service_role;

create policy profiles_select_everybody on public.profiles for select to anon, authenticated using (true);

create function whatssound.default_username(p_user_id uuid)
returns text
language plpgsql stable
set search_path = ''
as $$
declare
  v_name text;
begin
  if p_user_id = auth.uid() then
    v_name := btrim(auth.jwt() -> 'user_metadata' ->> 'username');
  end if;
  if char_length(v_name) between 1 and 32 and whatssound.is_clean_name(v_name) then
    return v_name;
  end if;
  return 'listener-' || left(p_user_id::text, 8);
end
$$;
comment on function whatssound.default_username(uuid) is 'The name in the caller''s token if it is a valid one, else listener-xxxxxxxx.';
revoke all on function whatssound.default_username(uuid) from public, anon, authenticated, service_role;

create function whatssound.checked_username(p_username text)
returns text
language plpgsql immutable
set search_path = ''
as $$
declare
  v_name text := btrim(p_username);
begin
  perform whatssound.require_argument(char_length(v_name) between 1 and 32, 'p_username', '1 to 32 characters');
  perform whatssound.require_argument(whatssound.is_clean_name(v_name), 'p_username', 'no control characters');
  return v_name;
end
$$;
comment on function whatssound.checked_username(text) is 'The trimmed name; refuses with invalid_argument.';
revoke all on function whatssound.checked_username(text) from public, anon, authenticated, service_role;

create function whatssound.ensure_profile(p_user_id uuid, p_username text default null)
returns text
language plpgsql volatile
set search_path = ''
as $$
declare
  v_name text;
begin
  select p.username into v_name from public.profiles p where p.user_id = p_user_id;
  if found and (p_username is null or p_username = v_name) then
    return v_name;
  end if;
  insert into public.profiles as p (user_id, username)
  values (p_user_id, coalesce(p_username, whatssound.default_username(p_user_id)))
  on conflict (user_id) do update
  set username = coalesce(p_username, p.username), updated_at = now()
  returning p.username into v_name;
  return v_name;
end
$$;
comment on function whatssound.ensure_profile(uuid, text) is 'Makes the profile if there is none, renames it if a name is given; returns the name.';
revoke all on function whatssound.ensure_profile(uuid, text) from public, anon, authenticated, service_role;

create function public.set_profile(p_username text, p_avatar_url text default null)
returns jsonb
language plpgsql volatile security definer
set search_path = ''
set lock_timeout = '2s'
as $$
declare
  v_user_id uuid := whatssound.require_user('manage');
  v_name text := whatssound.checked_username(p_username);
begin
  perform whatssound.require_argument(
    p_avatar_url is null or (char_length(p_avatar_url) <= 500 and p_avatar_url ~ '^https?://[^\s]+$'),
    'p_avatar_url', 'an http or https address of at most 500 characters');
  perform whatssound.spend_tokens(v_user_id, 'manage', 1);
  insert into public.profiles as p (user_id, username, avatar_url)
  values (v_user_id, v_name, p_avatar_url)
  on conflict (user_id) do update
  set username = excluded.username, avatar_url = excluded.avatar_url, updated_at = now();
  return jsonb_build_object(
    'profile', jsonb_build_object('user_id', v_user_id, 'username', v_name, 'avatar_url', p_avatar_url));
exception when lock_not_available or deadlock_detected then
  return whatssound.busy();
end
$$;
comment on function public.set_profile(text, text) is 'Signed-in users: sets the caller''s own name and picture. Definer: the table takes no direct writes.';
revoke all on function public.set_profile(text, text) from public, anon, authenticated, service_role;
grant execute on function public.set_profile(text, text) to authenticated;
