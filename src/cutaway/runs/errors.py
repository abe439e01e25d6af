"""The errors a person may meet. Each says in one line what was wrong, with what, and what to do."""

from __future__ import annotations


class CutawayError(Exception):
    """A failure with a one-line message for a person; the command line exits with `exit_code`."""

    exit_code = 1

    def __str__(self) -> str:
        # Messages quote other people's errors and file contents: fold whatever line breaks came with them.
        return " ".join(super().__str__().split())


class BadInput(CutawayError):
    """The person's own input (a file, a key, a name, a number) is at fault."""

    exit_code = 2


class Terminated(BaseException):
    """The process was asked to end by SIGTERM; like Ctrl-C, it is no failure.

    No `KeyboardInterrupt`, for libraries make Ctrl-C's exit code of that.
    """
