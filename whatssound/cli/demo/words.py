"""Made-up chat in several scripts, with emoji, of exactly the length that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Tongue:
    """A language's words for a party.

    Attributes:
        words: what is said.
        laugh: characters to go on laughing with, one after the other.
        gap: what stands between two words; empty where the script has no spaces.
    """

    words: tuple[str, ...]
    laugh: str
    gap: str = " "


TONGUES: tuple[Tongue, ...] = (
    Tongue(("¡temazo!", "qué", "bueno", "dale", "otra", "más", "fuerte", "mi", "gente", "a", "bailar", "🔥"), "ja"),
    Tongue(("what", "a", "tune", "louder", "this", "one", "yes", "again", "the", "bass", "in", "here", "🙌"), "ha"),
    Tongue(("que", "som", "é", "esse", "não", "para", "vamos", "coração", "lindo", "demais", "💃"), "k"),
    Tongue(("давай", "ещё", "это", "огонь", "какой", "трек", "громче", "все", "танцуют", "🎶"), "ха"),
    Tongue(("最高", "この曲", "好き", "もう一回", "踊ろう", "すごい", "音", "やばい", "🎧"), "w", ""),
    Tongue(("好听", "再来", "一首", "大家", "一起", "跳舞", "太棒了", "低音", "🎉"), "哈", ""),
    Tongue(("대박", "이", "노래", "최고", "한번", "더", "같이", "춤춰요", "🕺"), "ㅋ"),
    Tongue(("رائع", "هذه", "الأغنية", "أحب", "مرة", "أخرى", "يلا", "نرقص", "❤"), "ه"),
    Tongue(("क्या", "गाना", "है", "एक", "बार", "और", "ज़ोर", "से", "नाचो", "🎵"), "हा"),
    Tongue(("φοβερό", "πάλι", "αυτό", "το", "κομμάτι", "πιο", "δυνατά", "όλοι", "🎷"), "χα"),
    Tongue(("איזה", "שיר", "עוד", "פעם", "חזק", "יותר", "כולם", "רוקדים", "✨"), "ח"),
    Tongue(("เพลงนี้", "มันมาก", "อีกครั้ง", "เต้น", "กัน", "ดังๆ", "🎤"), "5", ""),
)

NOTES: tuple[str, ...] = (
    "gracias",
    "for the bass",
    "もう一曲",
    "за трек",
    "감사합니다",
    "merci 🎷",
    "شكرا",
    "obrigada",
)

SONGS: tuple[tuple[str, str, float], ...] = (
    ("Luz de Medianoche", "Los Faroles", 214.0),
    ("Paper Satellites", "Owl & Anchor", 187.0),
    ("夜の海", "波止場バンド", 233.0),
    ("Ветер с юга", "Тихий Дом", 205.0),
    ("Samba do Vizinho", "Rosa Clara", 176.0),
    ("ليل المدينة", "فرقة الميناء", 241.0),
    ("Tercer Piso", "La Terraza", 198.0),
    ("Slow Elevator", "Concrete Garden", 262.0),
    ("한강의 밤", "달빛버스", 219.0),
    ("Neon Mango", "DJ Quinta", 301.0),
    ("Θάλασσα", "Οι Γλάροι", 190.0),
    ("Cumbia del Tranvía", "Sonora Central", 228.0),
)


def say(chance: Random, length: int) -> str:
    """Composes one message.

    Args:
        chance: draws the language and the words.
        length: characters (code points) it shall have, at least 1.

    Returns:
        Text of exactly ``length`` characters, with no space at either end.

    Raises:
        ValueError: ``length`` is below 1.
    """
    if length < 1:
        raise ValueError(f"a message has at least one character, not {length}")
    tongue = chance.choice(TONGUES)
    text = ""
    while True:
        word = chance.choice(tongue.words)
        longer = f"{text}{tongue.gap}{word}" if text else word
        if len(longer) > length:
            break
        text = longer
    return text + _laugh(tongue, length - len(text), alone=not text)


def _laugh(tongue: Tongue, length: int, *, alone: bool) -> str:
    gap = "" if alone or length < 2 else tongue.gap
    times = length // len(tongue.laugh) + 1
    return (gap + tongue.laugh * times)[:length]
