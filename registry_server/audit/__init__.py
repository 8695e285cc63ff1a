"""The audit log: a line for each change and each refusal, which says who, what, and by which rule.

    Audit ─► Dispatcher ─► Authenticator, AccessController
      │                        │ fill in
      │  Notes ◄───────────────┘
      └► Sink: a file, or the log

A line holds what was checked or is bounded, and no secret: of a query only what a push is about.
"""

from registry_server.audit.notes import Notes, notes_of
from registry_server.audit.sinks import FileSink, LogSink, Sink, Sinks, open_file
from registry_server.audit.wrapper import Audit

__all__ = [
    "Audit",
    "FileSink",
    "LogSink",
    "Notes",
    "Sink",
    "Sinks",
    "notes_of",
    "open_file",
]
