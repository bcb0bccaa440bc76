"""A tip jar for the DJ's screen: each confirmed tip and the totals. Runs until the session ends.

    python examples/tip_jar.py SESSION_ID

Needs SUPABASE_URL and SUPABASE_ANON_KEY. With SUPABASE_ACCESS_TOKEN it is that user, and as the DJ also sees tips that
are still waiting for their payment.
"""

import asyncio
import os
import sys

from whatssound import Session, SessionChanged, TipPending, TipRefunded, TipSent, WhatsSound


def money(amount: int, currency: str) -> str:
    """Minor units for people: most currencies have two decimals, the yen and a few others none."""
    return f"{amount} {currency}" if currency in {"JPY", "KRW", "CLP"} else f"{amount / 100:.2f} {currency}"


def totals(session: Session) -> str:
    """The jar's content."""
    tips = session.state.tips
    sums = ", ".join(money(amount, currency) for currency, amount in sorted(tips.totals.items()))
    return f"{tips.count} tips: {sums or 'nothing yet'}"


async def main(session_id: str) -> None:
    """Joins and prints."""
    async with WhatsSound.from_env() as sound:
        if not os.environ.get("SUPABASE_ACCESS_TOKEN"):
            await sound.sign_in_anonymously(username="tip-jar")
        async with sound.session(session_id) as session:
            events = session.events()
            print(totals(session), flush=True)
            async for event in events:
                match event:
                    case TipPending(tip=tip):
                        print(f"{tip.username} promises {money(tip.amount, tip.currency)}", flush=True)
                    case TipSent(tip=tip):
                        note = f": {tip.note}" if tip.note else ""
                        print(f"{tip.username} gives {money(tip.amount, tip.currency)}{note}", flush=True)
                        print(totals(session), flush=True)
                    case TipRefunded(tip=tip):
                        print(f"{money(tip.amount, tip.currency)} went back to {tip.username}", flush=True)
                        print(totals(session), flush=True)
                    case SessionChanged(action="ended"):
                        break


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
