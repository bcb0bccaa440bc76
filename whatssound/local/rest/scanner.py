"""Reads text left to right, one piece at a time, and says what was expected where it stops."""

from __future__ import annotations

from typing import Final

_IDENTIFIER_EXTRAS: Final = frozenset("_ $")


class ParseFailure(Exception):  # noqa: N818 - caught within the parser and told as an ApiError
    """The text does not follow the grammar.

    Args:
        position: Index of the character that does not fit.
        details: What was found and what was expected, for people.
    """

    def __init__(self, position: int, details: str) -> None:
        super().__init__(details)
        self.position = position
        self.details = details


class Scanner:
    """A position in a text.

    Args:
        text: What to read.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    @property
    def at_end(self) -> bool:
        """Whether everything was read."""
        return self.position >= len(self.text)

    def peek(self) -> str:
        """The next character, or an empty string at the end."""
        return self.text[self.position : self.position + 1]

    def looking_at(self, piece: str) -> bool:
        """Whether `piece` comes next."""
        return self.text.startswith(piece, self.position)

    def take(self, piece: str) -> bool:
        """Reads `piece` if it comes next."""
        if not self.looking_at(piece):
            return False
        self.position += len(piece)
        return True

    def expect(self, piece: str, name: str | None = None) -> None:
        """Reads `piece`.

        Args:
            piece: What must come next.
            name: What to call it when it does not.

        Raises:
            ParseFailure: Something else comes next.
        """
        if not self.take(piece):
            raise self.failure(name or f'"{piece}"')

    def take_while(self, allowed: frozenset[str] | None = None, stop: str = "") -> str:
        """Reads characters that are in `allowed`, or up to one in `stop`."""
        start = self.position
        while not self.at_end:
            character = self.text[self.position]
            if (allowed is not None and character not in allowed) or character in stop:
                break
            self.position += 1
        return self.text[start : self.position]

    def identifier(self, name: str) -> str:
        """Reads letters, digits, underscores, spaces and dollar signs, and trims the spaces around them.

        Args:
            name: What to call it when there is none.

        Raises:
            ParseFailure: None of them comes next.
        """
        start = self.position
        while not self.at_end:
            character = self.text[self.position]
            if not (character.isalnum() or character in _IDENTIFIER_EXTRAS):
                break
            self.position += 1
        if start == self.position:
            raise self.failure(name)
        return self.text[start : self.position].strip()

    def quoted(self) -> str:
        """Reads a double-quoted text in which a backslash takes the next character as it is.

        Raises:
            ParseFailure: The closing quote is missing.
        """
        self.expect('"')
        pieces: list[str] = []
        while True:
            pieces.append(self.take_while(stop='\\"'))
            if self.take('"'):
                return "".join(pieces)
            if not self.take("\\") or self.at_end:
                raise self.failure('"\\""')
            pieces.append(self.peek())
            self.position += 1

    def skip_blanks(self) -> None:
        """Reads spaces and tabs."""
        self.take_while(frozenset(" \t"))

    def failure(self, *expected: str) -> ParseFailure:
        """The failure to raise here.

        Args:
            expected: Names of what would have fitted.
        """
        found = f'"{self.peek()}"' if not self.at_end else "end of input"
        listed = ", ".join(expected[:-1]) + (" or " if len(expected) > 1 else "") + expected[-1]
        return ParseFailure(self.position, f"unexpected {found} expecting {listed}")
