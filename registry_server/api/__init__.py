"""The management API: JSON under `/api/v1`, hosted by FastAPI, which describes it as OpenAPI.

    app.py ─► Api ─► an endpoint ─► RobotStore
               │        │  1. authorize (a dependency: AccessController)
               │        │  2. read the body (bodies.py: JSON, a few KiB)
               │        └  3. do the work in a thread
               └► errors.py: any refusal as the registry's envelope

It exists if access rules are configured; `assembly.own_tokens` builds it. Other modules import only
`paths`. Every endpoint has an admission check.
"""
