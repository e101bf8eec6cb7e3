"""Explores all that a few threads can do with the C that ships: docs/verification.md."""
