"""Regular expressions in Go's syntax, which is what distribution's configuration holds.

RE2 matches them. Its time is proportional to the length of the text, whatever the expression: it
does not backtrack. It is imported with the first expression and takes 1.6 MB of memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

# Bytes for one compiled expression and the states that it has met, which RE2 discards when they
# fill this memory.
MOST_MEMORY = 8 << 20

_TOO_LARGE = "pattern too large"
# A quoted part, or a backslash with what follows it.
_ESCAPE = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.", re.DOTALL)
# RE2 has this escape, for any byte, and Go has not.
_ANY_BYTE = r"\C"


@dataclass(frozen=True, slots=True)
class Matcher:
    """A compiled expression.

    `size` is the number of its instructions, the most steps that one byte of a text takes.
    """

    size: int
    _compiled: Any

    def matches(self, text: bytes) -> bool:
        """Tell whether the expression matches some part of a text in UTF-8.

        Other threads run meanwhile: RE2 does not need the interpreter.
        """
        return self._compiled.search(text) is not None


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that compiles, as the operator wrote it."""

    text: str

    @staticmethod
    def parse(text: str) -> Expression:
        """Check an expression; raise ValueError, which says what is wrong with it."""
        if _ANY_BYTE in _ESCAPE.findall(text):
            raise ValueError(f"{_ANY_BYTE} is not supported")
        expression = Expression(text)
        expression.compiled()
        return expression

    def compiled(self) -> Matcher:
        """Compile the expression; raise ValueError, which says what is wrong with it."""
        import re2

        options = re2.Options()
        options.max_mem = MOST_MEMORY
        options.log_errors = False
        options.never_capture = True  # where a group matches is not needed
        try:
            compiled = re2.compile(self.text, options)
        except re2.error as error:
            raise ValueError(_in_words(error.args[0].decode(errors="replace"))) from None
        return Matcher(compiled.programsize, compiled)


def _in_words(error: str) -> str:
    """Return what RE2 says is wrong, without the part of the expression that it quotes."""
    if error.startswith(_TOO_LARGE):
        return f"it needs more than {MOST_MEMORY >> 20} MiB of memory"
    return error.partition(":")[0]
