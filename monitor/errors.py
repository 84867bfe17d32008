"""The error that is meant for the operator, not for a stack trace."""

from __future__ import annotations


class StartupError(Exception):
    """What keeps a command from starting or going on, in one sentence: expected, found, what to do.

    The command line prints it on stderr and exits with code 2.
    """
