"""HTTP/1.1 on uvicorn's server and parser, with direct paths for request and response bodies.

    Connection    one client connection: parses heads, frames bodies, answers requests in order
    Exchange      one request and its response: implements ASGI's `receive` and `send`
    incoming_head finds the head of the next request in the bytes of a connection
    framing       where a body ends: Content-Length or chunked (pure)
    pace          the minimum rate of a request body
    direct        an ASGI extension: receives a body straight into large buffers
    zerocopy      an ASGI extension: sends a file with `sendfile`

`scope["extensions"]` offers both extensions on plain TCP and unix sockets. An application that does
not find them uses ASGI's events, which always work.
"""
