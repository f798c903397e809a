"""Where a step's time went, as a table for a terminal and as a page."""

import dataclasses
from collections.abc import Sequence

from r3jax.phases import Phase, StepTimes
from r3jax.view import columns, page
from r3jax.view.page import escape

MEANING = {
    Phase.DATA: "waiting for rows, building prompts, packing arrays",
    Phase.PREFILL: "arranging the weights, encoding images, computing prompts",
    Phase.DECODE: "sampling until every row has stopped or asks for a look",
    Phase.LOOKS: "cutting and encoding crops, appending them to the cache",
    Phase.REWARDS: "scoring episodes",
    Phase.LOG_PROBS: "scoring tokens without learning: the reference, a held-out loss",
    Phase.UPDATE: "gradients and the optimizer",
    Phase.CHECKPOINT: "saving the state, writing the report",
    Phase.IDLE: "none of these: records of episodes, metrics, the loop itself",
}


@dataclasses.dataclass(frozen=True)
class Profile:
    """The times of some steps of a run, at least one; `notes` are sentences for its reader."""

    title: str
    times: Sequence[StepTimes]
    notes: Sequence[str] = ()

    @property
    def seconds(self) -> float:
        """The mean length of a step."""
        return sum(sum(step.seconds.values()) for step in self.times) / len(self.times)

    @property
    def summary(self) -> str:
        """Which steps, and how long each was."""
        each = ", ".join(f"{sum(step.seconds.values()):.3f}" for step in self.times)
        numbers = ", ".join(str(step.step + 1) for step in self.times)
        return f"{self.seconds:.3f} s a step: steps {numbers} took {each} s"


@dataclasses.dataclass(frozen=True)
class Row:
    """A phase in the mean step: seconds, share of the step, how often it was come to."""

    phase: Phase
    seconds: float
    share: float
    calls: float


def rows(profile: Profile) -> list[Row]:
    """The phases that came, in order, and what is left between them; seconds add up to a step."""
    found, count = [], len(profile.times)
    for phase in Phase:
        seconds = sum(step.seconds[phase] for step in profile.times) / count
        calls = sum(step.calls[phase] for step in profile.times) / count
        if calls or phase is Phase.IDLE:
            found.append(Row(phase, seconds, seconds / profile.seconds, calls))
    return found


def absent(profile: Profile) -> str:
    """A sentence that names the phases that did not come, or nothing."""
    names = [p.value for p in Phase if p not in {row.phase for row in rows(profile)}]
    return f"Not in these steps: {', '.join(names)}." if names else ""


def markdown(profile: Profile) -> str:
    """The profile as Markdown whose columns stand below each other."""
    lines = [("phase", "s/step", "share", "calls/step", "what it is")]
    lines += [(*_cells(row), MEANING[row.phase]) for row in rows(profile)]
    lines.append(("all", f"{profile.seconds:.3f}", "100.0 %", "", ""))
    table = columns.aligned(lines, left=(0, len(lines[0]) - 1))
    parts = [f"# {profile.title}", f"{profile.summary}.", "\n".join(table)]
    return "\n\n".join([*parts, *filter(None, [absent(profile), *profile.notes])]) + "\n"


def html(profile: Profile) -> str:
    """The profile as a page."""
    head = "".join(f"<th>{name}</th>" for name in ("", "seconds a step", "share", "calls a step"))
    body = "".join(_html_row(row) for row in rows(profile))
    notes = filter(None, [absent(profile), *profile.notes])
    return page.render(
        profile.title,
        f'<h1>{escape(profile.title)}</h1><p class="lead">{escape(profile.summary)}.</p>'
        f'<h2>Where the time of a step went</h2><div class="scroll"><table><thead><tr>{head}'
        f"<th></th></tr></thead><tbody>{body}<tr><th>all</th><td>{profile.seconds:.3f}</td>"
        "<td>100.0 %</td><td></td><td></td></tr></tbody></table></div>"
        + "".join(f'<p class="small">{escape(note)}</p>' for note in notes),
    )


def _html_row(row: Row) -> str:
    name, seconds, share, calls = _cells(row)
    bar = f'<div class="bar"><i style="width:{100 * row.share:.2f}%"></i></div>'
    return (
        f"<tr><th>{escape(name)}</th><td>{seconds}</td><td>{share}{bar}</td><td>{calls}</td>"
        f'<td class="small">{escape(MEANING[row.phase])}</td></tr>'
    )


def _cells(row: Row) -> tuple[str, str, str, str]:
    calls = f"{row.calls:.3g}" if row.calls else ""
    return row.phase.value, f"{row.seconds:.3f}", f"{100 * row.share:.1f} %", calls
