"""The one error of the toolchain."""


class ToolchainError(Exception):
    """A program can be neither found nor built; the message says what to do about it."""
