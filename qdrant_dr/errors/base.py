"""The root of all errors, and those that belong to no area."""

from __future__ import annotations

from typing import ClassVar

from qdrant_dr.hints import marked


class DRError(Exception):
    """The base of all errors.

    `message` is lower case, without a full stop. `hint` is the next step, see `hints`.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False
    blames_copy: ClassVar[bool] = False
    default_hint: ClassVar[str] = "run it again with -v, and read the last lines."

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        name = cls.__name__
        cls.code = "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = self.mark(hint or self.default_hint)

    @classmethod
    def mark(cls, hint: str) -> str:
        """Return the hint in one of the three forms of `hints`."""
        return marked(hint)

    def __str__(self) -> str:
        return f"{self.message}\nHINT: {self.hint}"


class SetupFailed(DRError):
    default_hint = "read the log named above, then run `qdrant-dr up` again: it continues."


class ProjectMissing(SetupFailed):
    default_hint = "`pip install --force-reinstall qdrant-dr` there, then run it again."


class ProjectShadowed(SetupFailed):
    default_hint = (
        "use an environment where nothing imports another package of that name, then run it again."
    )


class UnitLost(DRError):
    default_hint = "look at the workers and their logs, then run it again."


class Interrupted(DRError):
    exit_code = 130
    default_hint = "run the same command again; it continues from the records."
