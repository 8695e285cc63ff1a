"""Parts of access control, with a module for each that makes it from the settings.

`guarded` imports only the modules of what is configured. So a registry with a file of users and
without rules has neither FastAPI nor cryptography nor pydantic in memory.
"""
