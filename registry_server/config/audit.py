"""`audit`: the audit log of changes and refusals."""

from registry_server.config.section import Section
from registry_server.config.values import FilePath


class Audit(Section):
    """`audit`: a line for each change and each refusal, in `file`, or in the log if it is None."""

    enabled: bool = False
    file: FilePath | None = None
