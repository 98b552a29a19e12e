"""Key templates: compiled once, rendered for every request."""

from memory_core.templates.key_template import KeyTemplate, check_key
from memory_core.templates.parts import FACT_ROOTS

__all__ = ["FACT_ROOTS", "KeyTemplate", "check_key"]
