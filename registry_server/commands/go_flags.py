"""Options in Go's flag syntax, which scripts written for `registry` use.

    --dry-run=false  -m=true  -dm  -d=0          flags with a value, or several in one word

Typer accepts no value for a flag, so the words are rewritten into its syntax first. The options are
read from the commands: a new command or option needs no change here. As in Go, the last of several
values of a flag wins. Flags may precede or follow the other arguments.
"""

from __future__ import annotations

from collections.abc import Sequence

from typer.core import TyperCommand, TyperGroup, TyperOption

# What Go's strconv.ParseBool reads.
_TRUE = frozenset({"1", "t", "T", "true", "True", "TRUE"})
_FALSE = frozenset({"0", "f", "F", "false", "False", "FALSE"})


class NoBoolean(ValueError):
    """A flag has a value that is neither true nor false."""


def in_typer_spelling(command: TyperCommand | TyperGroup, words: Sequence[str]) -> list[str]:
    """Rewrite the arguments of a command line for Typer; raise `NoBoolean`.

    Options that `command` does not have are left unchanged, for Typer to reject.
    """
    reader, rest, others = _Reader(command), list(words), list[str]()
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word not in ("-", "--"):
            others += reader.read(word, rest)
            continue
        others.append(word)
        if word == "--":
            others += rest
            break
        if isinstance(command, TyperGroup):
            others += _below(command, word, rest)
            break
    return [*reader.flags(), *others]


def _below(group: TyperGroup, name: str, words: Sequence[str]) -> Sequence[str]:
    command = group.commands.get(name)
    if isinstance(command, TyperCommand | TyperGroup):
        return in_typer_spelling(command, words)
    return words


class _Reader:
    """Reads the options of one command and collects its flags."""

    def __init__(self, command: TyperCommand | TyperGroup) -> None:
        options = [param for param in command.params if isinstance(param, TyperOption)]
        self._names = {name: option for option in options for name in option.opts}
        self._flags: dict[str, bool] = {}

    def flags(self) -> list[str]:
        """Return the flags that are true, each once."""
        return [name for name, value in self._flags.items() if value]

    def read(self, word: str, rest: list[str]) -> list[str]:
        """Read the option in `word`, with its value in `rest`; return what is not a flag."""
        if not word.startswith("--"):
            return self._read_letters(word[1:], rest)
        name, equals, value = word.partition("=")
        option = self._names.get(name)
        if option is not None and option.is_bool_flag:
            self._set(option, name, value if equals else "true")
            return []
        return [word] if option is None or equals else [word, *_next(rest)]

    def _read_letters(self, letters: str, rest: list[str]) -> list[str]:
        """Read `dm`, `m=true`, or the letter of an option and its value."""
        while letters:
            name, after = f"-{letters[0]}", letters[1:]
            option = self._names.get(name)
            if option is None:
                return [f"-{letters}"]
            if not option.is_bool_flag:
                return [name, after.removeprefix("=")] if after else [name, *_next(rest)]
            if after.startswith("="):
                self._set(option, name, after[1:])
                return []
            self._set(option, name, "true")
            letters = after
        return []

    def _set(self, option: TyperOption, name: str, value: str) -> None:
        if value not in _TRUE | _FALSE:
            raise NoBoolean(f"{name}={value}: the value must be true or false")
        self._flags[option.opts[0]] = value in _TRUE


def _next(rest: list[str]) -> list[str]:
    return [rest.pop(0)] if rest else []
