"""The one error of this package, and how a long list of problems is put into words."""

from collections.abc import Sequence

SPELT_OUT = 10


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or written; `problems` holds every single one of them."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str]] = ()):
        super().__init__(message)
        self.problems = tuple(problems)


def listed(heading: str, problems: Sequence[tuple[str, str]], advice: str) -> CheckpointError:
    """Makes an error from (name, what is wrong) pairs: the first ten in words, then names only."""
    lines = [f"{heading} ({len(problems)} in all):"]
    lines += [f"  {name}: {wrong}" for name, wrong in problems[:SPELT_OUT]]
    rest = [name for name, _ in problems[SPELT_OUT:]]
    if rest:
        lines.append(f"  and {len(rest)} more: {', '.join(rest)}")
    return CheckpointError("\n".join([*lines, advice]), problems)
