"""Exit codes of the program; 0 is success."""

FAILED = 1  # while the command ran
UNUSABLE = 2  # the call or the configuration cannot be used
INTERRUPTED = 3  # by SIGINT or SIGTERM
