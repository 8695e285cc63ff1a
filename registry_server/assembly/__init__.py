"""Parts of access control, each made from the settings by the module that is named after it.

`guarded` puts them together, and imports only what is configured. A registry with a file of users
and without rules has neither FastAPI nor cryptography nor pydantic in memory.
"""
