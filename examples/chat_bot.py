"""A chat bot: answers !np and !next, and thanks whoever adds a song. Runs until the session ends.

    python examples/chat_bot.py SESSION_ID

Needs SUPABASE_URL and SUPABASE_ANON_KEY.
"""

import asyncio
import sys

from whatssound import (
    ChatConfirmed,
    ChatMessage,
    Message,
    QueueChanged,
    Session,
    SessionChanged,
    WhatsSound,
)


def answer(session: Session, message: Message) -> str | None:
    """What the bot says to a message; None to keep quiet."""
    state = session.state
    match message.content.strip().lower():
        case "!np":
            if state.now_playing is None:
                return "Nothing plays at the moment."
            return f"Now playing: {state.now_playing.title}, {state.position() or 0:.0f} s in."
        case "!next":
            return f"Next: {state.queue[0].title}." if state.queue else "The queue is empty. Add a song!"
    return None


async def main(session_id: str) -> None:
    """Signs in, joins and answers."""
    async with WhatsSound.from_env() as sound:
        await sound.sign_in_anonymously(username="bot")
        async with sound.session(session_id) as session:
            events = session.events()
            print("ready", flush=True)
            async for event in events:
                match event:
                    case SessionChanged(action="ended"):
                        break
                    case QueueChanged(action="added", item=item) if item.added_by != sound.user_id:
                        await session.chat.send(f"Thanks for {item.title}!")
                    # Only the database's word counts: a broadcast alone may claim to be from anybody. A message arrives
                    # confirmed, or is confirmed later.
                    case ChatConfirmed(message=message, own=False) | ChatMessage(message=message, own=False):
                        if message.confirmed and (text := answer(session, message)):
                            await session.chat.send(text)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
