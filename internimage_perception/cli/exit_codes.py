"""Exit codes of the commands; 0 is success, 2 a wrong usage."""

EXIT_FAILED = 1
"""Something could not be done; the message says what."""
EXIT_GATE = 3
"""All was done, and what was measured is not good enough."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as the shell has it."""
