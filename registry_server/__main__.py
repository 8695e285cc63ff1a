"""`python -m registry_server` is the command line."""

from registry_server.cli import main

if __name__ == "__main__":
    main()
