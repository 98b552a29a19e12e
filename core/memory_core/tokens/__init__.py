"""Counting tokens: exactly for OpenAI's encodings, offline; by a bounded estimate where the memory allows one."""

from memory_core.tokens.counter import Count, TokenCounter
from memory_core.tokens.models import context_window, encoding_for

__all__ = ["Count", "TokenCounter", "context_window", "encoding_for"]
