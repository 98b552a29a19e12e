"""The version of this distribution, spelled once; client/pyproject.toml reads it from here."""

__version__ = "0.1.0"
