"""`http.cors`: the origins whose web pages may use the registry from a browser.

Browsers write each origin in one form. An origin in another form is normalized or refused.
"""

import re
from datetime import timedelta
from typing import Annotated

from registry_server.config.section import Section
from registry_server.config.validators import AfterValidator
from registry_server.config.values import Age

ANY_ORIGIN = "*"

# RFC 6454, section 6.2. Wildcards are not part of it. "null" is refused: any page can have that
# origin in a sandboxed frame.
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
    """`http.cors`: the `origins` whose pages may read responses.

    Browsers cache the answer to a preflight for `maxage`. With `credentials` they send the
    credentials that they have stored.
    """

    origins: tuple[Origin, ...] = ()
    maxage: Age = timedelta(minutes=10)
    credentials: bool = False

    def __post_init__(self) -> None:
        if self.credentials and ANY_ORIGIN in self.origins:
            raise ValueError(
                "has credentials: true, so list the origins instead of *: any page could use its "
                "visitor's credentials"
            )
