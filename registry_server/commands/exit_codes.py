"""Exit codes of the program; 0 is success."""

FAILED = 1  # while the command ran
UNUSABLE = 2  # the command line or the configuration is invalid
INTERRUPTED = 3  # by SIGINT or SIGTERM
