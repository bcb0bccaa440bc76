"""A DJ and a listener in one live room: chat, a queue, a vote and a tip.

Needs SUPABASE_URL and SUPABASE_ANON_KEY, as `whatssound dev` prints them.
"""

import asyncio

from whatssound import ChatMessage, QueueChanged, VoteCast, WhatsSound


async def main() -> None:
    """Opens a room, says and does something in it, and hears of it."""
    async with WhatsSound.from_env() as dj, WhatsSound.from_env() as ana:
        await dj.sign_in_anonymously(username="dj-cumbia")
        await ana.sign_in_anonymously(username="ana")
        room = await dj.create_session("Cumbia sobre el mar")

        async with dj.session(room.id) as booth, ana.session(room.id) as session:
            events = booth.events()  # from here on, nothing is missed

            added = await session.queue.add(title="Cumbia sobre el mar", artist="Quantic", duration=264.0)
            assert added.item is not None
            await booth.queue.advance()  # the DJ starts it

            receipt = await session.chat.send("¡Temazo! 🎶")  # heard now, stored by the next batch
            await session.tips.send(500, currency="EUR", note="gracias")  # minor units; exactly once
            vote = await session.votes.cast(added.item.song_id, 1)  # stored before it returns
            stored = await receipt.stored()  # or raises MessageRejectedError, saying why

            async for event in events:
                match event:
                    case ChatMessage(message=message):
                        print(f"{message.username}: {message.content}")
                    case QueueChanged(action="started", item=item):
                        print(f"now playing: {item.title} by {item.artist}")
                    case VoteCast(username=username, tally=tally):
                        print(f"{username} voted; the song is at {tally.score:+d}")
                        break

            print(f"chat is event {stored.seq}, the vote is event {vote.seq}; {booth.state.occupancy} are here")


asyncio.run(main())
