"""Users by the hundred, without a sign-in each: rows in the database, and tokens signed with the local secret."""

from __future__ import annotations

import time
import uuid

import asyncpg

from whatssound.local.tokens import Keyring

_LIFETIME = 3600
_INSERT = """
insert into auth.users (instance_id, id, aud, role, raw_app_meta_data, raw_user_meta_data, created_at, updated_at,
  is_anonymous, confirmation_token, recovery_token, email_change_token_new, email_change)
select '00000000-0000-0000-0000-000000000000', p.id, 'authenticated', 'authenticated', '{}',
  jsonb_build_object('username', p.name), now(), now(), true, '', '', '', ''
from unnest($1::uuid[], $2::text[]) p(id, name)
"""


async def make_people(db_url: str, jwt_secret: str, names: list[str]) -> list[str]:
    """Makes anonymous users as Auth would, and answers a token for each.

    Args:
        db_url: the local database, by a role that owns the schema.
        jwt_secret: what its tokens are signed with.
        names: of the users.
    """
    ids = [uuid.uuid4() for _ in names]
    connection = await asyncpg.connect(db_url)
    try:
        await connection.execute(_INSERT, ids, names)
    finally:
        await connection.close()
    keyring, now = Keyring(jwt_secret), int(time.time())
    return [
        keyring.sign(
            {
                "sub": str(user_id),
                "aud": "authenticated",
                "role": "authenticated",
                "exp": now + _LIFETIME,
                "iat": now,
                "is_anonymous": True,
                "user_metadata": {"username": name},
                "app_metadata": {},
                "session_id": str(uuid.uuid4()),
            }
        )
        for user_id, name in zip(ids, names, strict=True)
    ]
