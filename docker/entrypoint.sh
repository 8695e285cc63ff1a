#!/bin/sh
# Takes the commands that the images registry:2 and registry:3 take: a configuration file alone is
# served, a command or an option goes to the registry, anything else is a program of its own.
# A command of the registry wins over a program of the same name, such as du.
set -eu

COMMANDS=/opt/registry/commands # written by the build, from the command line itself

case "${1-}" in
    *.yml | *.yaml) set -- registry-server serve "$@" ;;
    -*) set -- registry-server "$@" ;;
    *) ! grep -qxF -e "${1-}" "$COMMANDS" || set -- registry-server "$@" ;;
esac

exec "$@"
