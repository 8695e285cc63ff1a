"""Regular expressions in Go's syntax, as in distribution's configuration.

RE2 matches them without backtracking, in time proportional to the length of the text. It is
imported with the first expression, because it takes 1.6 MB of memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Bytes for one compiled expression and its cached states, which RE2 discards when they exceed this.
MOST_MEMORY = 8 << 20

_TOO_LARGE = "pattern too large"
# A quoted part, or a backslash and the character after it.
_ESCAPE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.", re.DOTALL)
# This escape means any byte. RE2 has it and Go does not.
_ANY_BYTE = r"\C"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled expression; `size` is the most steps that it takes for one byte of text."""

    size: int
    _compiled: Any

    def matches(self, text: bytes) -> bool:
        """Return whether the expression matches any part of a UTF-8 text.

        RE2 releases the interpreter's lock while it matches.
        """
        return self._compiled.search(text) is not None


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that compiles, as the operator wrote it."""

    text: str

    @staticmethod
    def parse(text: str) -> Expression:
        """Return a valid expression; raise ValueError with the reason if it is not one."""
        if _ANY_BYTE in _ESCAPE.findall(text):
            raise ValueError(f"{_ANY_BYTE} is not supported")
        expression = Expression(text)
        expression.compiled()
        return expression

    def compiled(self) -> Matcher:
        """Compile the expression; raise ValueError with the reason if that fails."""
        import re2

        options = re2.Options()
        options.max_mem = MOST_MEMORY
        options.log_errors = False
        options.never_capture = True  # the positions of groups are not needed
        try:
            compiled = re2.compile(self.text, options)
        except re2.error as error:
            raise ValueError(_in_words(error.args[0].decode(errors="replace"))) from None
        return Matcher(compiled.programsize, compiled)


def _in_words(error: str) -> str:
    """Return RE2's message without the part of the expression that it quotes."""
    if error.startswith(_TOO_LARGE):
        return f"it needs more than {MOST_MEMORY >> 20} MiB of memory"
    return error.partition(":")[0]
