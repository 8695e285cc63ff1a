"""The short forms of the file, written out: `storage: filesystem`, `auth: silly`.

Naming a driver or a way to authenticate is a choice even when nothing follows the name, so an
empty one becomes an empty mapping. Everywhere else an empty place is the same as none. `none` may
be written in capitals, as in distribution.
"""

from registry_server.config.document import Document, Value

_CHOICES = ("storage", "auth")


def expand(document: Document) -> None:
    """Write out the short forms in place."""
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
    """The same tree without the keys that were left empty."""
    if isinstance(value, dict):
        return {key: pruned(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [pruned(item) for item in value]
    return value
