"""The bases for wrappers of a driver pass on every call of the contract, and nothing is missing.

A wrapper that overrides nothing returns what the inner object returned, whatever is called.
"""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from storage.drivers import base, wrapping

BASES: dict[type, type] = {
    base.Driver: wrapping.WrappedDriver,
    base.Reader: wrapping.WrappedReader,
    base.ExclusiveEditor: wrapping.WrappedEditor,
    base.Staging: wrapping.WrappedStaging,
    base.StagedFile: wrapping.WrappedStagedFile,
}

ANSWER = object()


class _Recorder:
    """Has the members of a protocol; each records its name and arguments, and returns ANSWER."""

    def __init__(self, protocol: type) -> None:
        self._protocol = protocol
        self.calls: list[tuple[str, tuple[object, ...], dict[str, object]]] = []

    def __getattr__(self, name: str) -> Any:
        declared = inspect.getattr_static(self._protocol, name)
        if isinstance(declared, property):
            return f"the {name} of the inner object"

        def call(*args: object, **kwargs: object) -> object:
            self.calls.append((name, args, kwargs))
            return _answer() if inspect.iscoroutinefunction(declared) else ANSWER

        return call


async def _answer() -> object:
    return ANSWER


def _members(protocol: type) -> list[str]:
    return sorted(
        {name for one in protocol.__mro__ for name in vars(one) if not name.startswith("_")}
    )


def _arguments(function: Any) -> tuple[list[object], dict[str, object]]:
    """Return a distinct value for each parameter but `self`; a starred one gets two values."""
    positional: list[object] = []
    named: dict[str, object] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = f"a value of {parameter.name}"
        elif parameter.kind is parameter.VAR_POSITIONAL:
            positional += ["the first of them", "the second of them"]
        else:
            positional.append(f"a value of {parameter.name}")
    return positional, named


@pytest.mark.parametrize(
    ("protocol", "name"),
    [(protocol, name) for protocol in BASES for name in _members(protocol)],
    ids=lambda one: one if isinstance(one, str) else one.__name__,
)
async def test_every_member_is_passed_on(protocol: type, name: str) -> None:
    """The base defines the member, and passes each argument on under its own name and place."""
    recorder = _Recorder(protocol)
    wrapped = BASES[protocol](recorder)
    declared = inspect.getattr_static(protocol, name)
    if isinstance(declared, property):
        assert getattr(wrapped, name) == f"the {name} of the inner object"
        return
    positional, named = _arguments(declared)
    result = getattr(wrapped, name)(*positional, **named)
    result = await result if inspect.isawaitable(result) else result
    [(called, args, kwargs)] = recorder.calls
    assert called == name
    assert [*args, *kwargs.values()] == [*positional, *named.values()]
    assert set(named) <= set(kwargs)
    assert result is (None if inspect.signature(declared).return_annotation == "None" else ANSWER)


def test_the_bases_pass_on_what_has_no_base() -> None:
    """A protocol of the contract has a base, or is a small object that wrappers need not wrap."""
    protocols = {
        one
        for one in vars(base).values()
        if inspect.isclass(one)
        and getattr(one, "_is_protocol", False)
        and one.__module__ == base.__name__
    }
    assert protocols - set(BASES) == {base.FolderLock, base.OpenFile, base.TouchingReader}
