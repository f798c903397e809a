"""Alarms for a policy that stops looking or stops thinking while its reward still looks well, and
for a judge that fails.

Source: the evaluation logs published with the VLM-R3 code, where almost every answer holds exactly
one crop, no thought is ever closed and most answers have no text after the last crop.
"""

import dataclasses
from collections.abc import Mapping

_ADVICE = {
    "looks_per_answer": (
        "the policy is giving up looking; check the share of failed looks (look/*), raise the "
        "region reward, or lower the learning rate and go back to an earlier checkpoint"
    ),
    "text_after_look": (
        "the policy answers straight after a crop without saying what it saw; raise the length "
        "reward or add such text to the SFT data"
    ),
    "closed_thoughts": (
        "answers are no longer preceded by a closed thought; use a format reward that asks for "
        "</think>, or more SFT steps"
    ),
    "tool_rate": (
        "fewer episodes make any look at all; check that questions need one (accuracy without "
        "crops), and raise the region reward"
    ),
    "judge_failed": (
        "so many answers that it was asked about have no verdict and teach nothing; see what its "
        "endpoint says"
    ),
}


@dataclasses.dataclass(frozen=True)
class AlarmConfig:
    """When to raise an alarm; a threshold of 0 is never crossed.

    A metric is alarming below its threshold, or below `drop` times its running mean (a mean with
    decay `decay`, trusted after `warmup` steps); `judge_failed`, where there is a judge, above its
    own. The same alarm comes again after `repeat` steps.
    """

    looks_per_answer: float = 0.5
    text_after_look: float = 0.2
    closed_thoughts: float = 0.2
    tool_rate: float = 0.4
    judge_failed: float = 0.2
    drop: float = 0.5
    decay: float = 0.95
    warmup: int = 10
    repeat: int = 50

    def thresholds(self) -> dict[str, float]:
        """The threshold of each metric that is watched for falling."""
        return {
            "looks_per_answer": self.looks_per_answer,
            "text_after_look": self.text_after_look,
            "closed_thoughts": self.closed_thoughts,
            "tool_rate": self.tool_rate,
        }


class Alarms:
    """Watches the summaries of a run, one `check` a step.

    What it remembers follows from those summaries alone: checking them again brings it back.
    """

    def __init__(self, config: AlarmConfig):
        self.config = config
        self._means: dict[str, float] = {}
        self._last: dict[str, int] = {}
        self._seen = 0

    def check(self, step: int, summary: Mapping[str, float]) -> list[str]:
        """Messages for what is wrong at this step: what, how much, and what to do.

        Errors: KeyError names a watched metric that the summary lacks.
        """
        messages = []
        for name, threshold in self.config.thresholds().items():
            if name not in summary:
                raise KeyError(f"summary has no {name!r}; give check() the result of summarise()")
            value, mean = summary[name], self._means.get(name, summary[name])
            reason = self._reason(value, mean, threshold)
            if reason and self._due(name, step):
                self._last[name] = step
                messages.append(f"step {step}: {name} is {value:.3f}, {reason}: {_ADVICE[name]}")
            decay = self.config.decay
            self._means[name] = decay * mean + (1 - decay) * value
        self._seen += 1
        failed, most = summary.get("judge_failed", 0.0), self.config.judge_failed
        if most and failed > most and self._due("judge_failed", step):
            self._last["judge_failed"] = step
            messages.append(
                f"step {step}: judge_failed is {failed:.3f}, above the threshold {most:g}: "
                f"{_ADVICE['judge_failed']}"
            )
        return messages

    def numbers(self, step: int) -> dict[str, float]:
        """`alarm/<name>` of each watched metric: 1 where `check` raised it at `step`, else 0."""
        return {f"alarm/{name}": float(self._last.get(name) == step) for name in _ADVICE}

    def _reason(self, value: float, mean: float, threshold: float) -> str:
        """Why a value is alarming, or ""."""
        if value < threshold:
            return f"below the threshold {threshold:g}"
        if self._seen >= self.config.warmup and value < self.config.drop * mean:
            return f"under {self.config.drop:.0%} of its running mean {mean:.3f}"
        return ""

    def _due(self, name: str, step: int) -> bool:
        """Whether enough steps have passed since the same alarm."""
        return name not in self._last or step - self._last[name] >= self.config.repeat
