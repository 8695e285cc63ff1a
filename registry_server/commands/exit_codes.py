"""How a command ends; 0 is done."""

FAILED = 1  # something went wrong while it ran
UNUSABLE = 2  # the call or the configuration cannot be used
INTERRUPTED = 3  # by SIGINT or SIGTERM
