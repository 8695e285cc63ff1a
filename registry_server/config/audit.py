"""`audit`: a record of who changed what, and who was refused."""

from registry_server.config.section import Section
from registry_server.config.values import FilePath


class Audit(Section):
    """`audit`: a line for each change and each refusal, in `file`, or in the log without one."""

    enabled: bool = False
    file: FilePath | None = None
