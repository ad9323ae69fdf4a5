"""How the tables came to be what they are, step by step."""

from __future__ import annotations

from typing import Final

REVISIONS: Final = ("v0001", "v0002", "v0003", "v0004")
"""Every step this code knows, oldest first: all that a start reads. Alembic is loaded to take a step."""
