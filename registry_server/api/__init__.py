"""The management API: JSON under `/api/v1`, hosted by FastAPI, which describes it as OpenAPI.

    app.py ─► Api ─► an endpoint ─► RobotStore
               │        │  1. who asks (a dependency: AccessController)
               │        │  2. what is sent (bodies.py: JSON, a few KiB)
               │        └  3. what is done, in a thread
               └► errors.py: any refusal as the registry's envelope

It exists where access rules are configured, and `assembly.own_tokens` makes it. Other modules
import only `paths`. Every endpoint names who may ask it; there is none without.
"""
