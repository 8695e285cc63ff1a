"""HTTP/1.1 as a registry needs it: uvicorn's server and parser, and bytes by the shortest way.

    Connection    one client: heads to the parser, bodies to their framing, one answer after another
    Exchange      one request and its answer: what ASGI's `receive` and `send` do
    framing       where a body ends, chunked or counted (pure)
    pace          how fast a body has to come
    direct        an extension: a body received straight into large buffers
    zerocopy      an extension: a file's bytes sent by the kernel

Both extensions are offered in `scope["extensions"]`, on plain TCP and unix sockets. Whoever does
not find them there uses ASGI's events, which work everywhere.
"""
