#!/bin/sh
# Accepts the commands of the images registry:2 and registry:3: serves a configuration file, passes
# a command or an option to the registry, and runs anything else as a program. A command of the
# registry takes precedence over a program of the same name, such as du.
set -eu

COMMANDS=/opt/registry/commands # the build writes it with list_commands.py

case "${1-}" in
    *.yml | *.yaml) set -- registry-server serve "$@" ;;
    -*) set -- registry-server "$@" ;;
    *) ! grep -qxF -e "${1-}" "$COMMANDS" || set -- registry-server "$@" ;;
esac

exec "$@"
