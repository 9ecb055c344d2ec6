"""Serve an ASGI application so that it drains before it stops: ``python -m actors.asgi app:app``."""

from __future__ import annotations

import argparse
import os
import sys

from actors.asgi.serving import SERVERS, find_server, load, serve


def main() -> None:
    """Read the command line, and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m actors.asgi",
        description="Serve an ASGI application; on SIGTERM or Ctrl-C its devices are told, its runs finish, then it "
        "stops. A second signal does not wait.",
    )
    parser.add_argument("application", help="module:application, for example app:app")
    parser.add_argument("--bind", default="127.0.0.1:8000", help="where it listens (%(default)s)")
    parser.add_argument("--server", choices=SERVERS, help="the server (the first of these that is installed)")
    parser.add_argument("--loop", choices=("trio", "asyncio"), default="trio", help="(%(default)s)")
    options = parser.parse_args()
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as the interpreter spells it for -m
    try:
        server = find_server(options.server)
        application, runtimes = load(options.application)
    except ValueError as error:
        parser.error(str(error))
    serve(application, runtimes, server=server, bind=options.bind, loop=options.loop)


if __name__ == "__main__":
    main()
