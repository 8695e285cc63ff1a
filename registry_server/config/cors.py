"""`http.cors`: which web pages may talk to the registry from a browser.

A browser writes an origin in one way only. What could never match that is refused, or written so.
"""

import re
from datetime import timedelta
from typing import Annotated

from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import Age

ANY_ORIGIN = "*"

# RFC 6454, 6.2, for pages of the web. There are no wildcards in it, and no "null": that is what
# any page can become, in a frame that is sandboxed.
_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]{1,253}|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}


def _origin(text: str) -> str:
    if text == ANY_ORIGIN:
        return text
    origin = text.lower()
    if _ORIGIN.fullmatch(origin) is None:
        raise ValueError("must be *, or an origin such as https://ui.example.com, without a path")
    return origin.removesuffix(_USUAL_PORTS[origin.partition(":")[0]])


Origin = Annotated[str, AfterValidator(_origin)]


class Cors(Section):
    """`http.cors`: the `origins` of pages that may read answers, and how long that is remembered.

    With `credentials` browsers send passwords along that they remember themselves.
    """

    origins: tuple[Origin, ...] = ()
    maxage: Age = timedelta(minutes=10)
    credentials: bool = False

    def __post_init__(self) -> None:
        if self.credentials and ANY_ORIGIN in self.origins:
            raise ValueError(
                "has credentials: true, so origins must be named: any page could act "
                "for its visitor"
            )
