"""The audit log: a line for each change and each refusal, with the caller, the action and the rule.

    Audit ─► Dispatcher ─► Authenticator, AccessController
      │                        │ fill in
      │  RequestContext ◄──────┘
      └► Sink: a file, or the log

All fields are validated or of limited length, and none has a secret: of the query, only the
parameters of a push are logged.
"""

from registry_server.audit.sinks import FileSink, LogSink, Sink, Sinks, open_file
from registry_server.audit.wrapper import Audit

__all__ = [
    "Audit",
    "FileSink",
    "LogSink",
    "Sink",
    "Sinks",
    "open_file",
]
