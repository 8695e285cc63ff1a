"""Expands the short forms of a configuration: `storage: filesystem`, `auth: silly`.

A driver or a way to authenticate is chosen by its name, so one without a value becomes an empty
mapping. Any other key without a value counts as missing. `none` may be written in capitals, as in
distribution.
"""

from registry_server.config.document import Document, Value

_CHOICES = ("storage", "auth")


def expand(document: Document) -> None:
    """Expand the short forms in place."""
    data = document.data
    if not isinstance(data, dict):
        return
    for name in _CHOICES:
        chosen = data.get(name)
        if isinstance(chosen, str):
            data[name] = {_spelled(chosen): {}} if chosen else None
        elif isinstance(chosen, dict):
            for key in [key for key, value in chosen.items() if value is None]:
                chosen[key] = {}


def _spelled(choice: str) -> str:
    return choice.lower() if choice.lower() == "none" else choice


def pruned(value: Value) -> Value:
    """Return the same tree without keys that have no value."""
    if isinstance(value, dict):
        return {key: pruned(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [pruned(item) for item in value]
    return value
