"""The store: one connection to Redis or Valkey, one function library, one typed stub per function."""

from memory_core.store.connection import Store
from memory_core.store.settings import StoreSettings

__all__ = ["Store", "StoreSettings"]
