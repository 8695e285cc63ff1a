"""HTTP as every endpoint shares it: errors, headers, proxies, CORS and ASGI middleware."""
