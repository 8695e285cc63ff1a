"""Builds the parts of access control from the settings, one module for each part.

`assembly` imports only the modules for configured parts. So a registry with a file of users and
no rules imports neither FastAPI nor cryptography nor pydantic.
"""
