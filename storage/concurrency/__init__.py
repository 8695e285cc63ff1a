"""Tasks and threads: cancellation, shared work, fair queues and thread pools."""
