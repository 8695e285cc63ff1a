#!/bin/sh
# Understands what the registry:2 and registry:3 images do: a configuration file alone is served,
# a command or an option goes to the registry, anything else is a program of its own.
set -e

case "${1:-}" in
    *.yml | *.yaml) set -- registry-server serve "$@" ;;
    serve | check | garbage-collect | purge-uploads | scrub | htpasswd | -*)
        set -- registry-server "$@" ;;
    registry) shift; set -- registry-server "$@" ;;
esac

exec "$@"
