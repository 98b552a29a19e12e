"""Counting tokens: exactly for OpenAI's encodings, offline; by a bounded estimate where the memory allows one."""

from memory_core.tokens.counter import Count, TokenCounter

__all__ = ["Count", "TokenCounter"]
