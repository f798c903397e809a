"""An episode as values of JSON, for programs; boxes are [x1, y1, x2, y2] in pixels."""

from typing import Any

from r3jax.records import Box, Episode, Look


def episode(one: Episode) -> dict[str, Any]:
    """What `launch/infer.py --json` prints."""
    return {
        "answer": one.answer,
        "text": one.text,
        "looks": [look(each) for each in one.looks],
        "num_tokens": len(one.tokens),
    }


def look(one: Look) -> dict[str, Any]:
    """A look without its crop; boxes that could not be read are null."""
    return {
        "box_resized": _listed(one.box_resized),
        "box_original": _listed(one.box_original),
        "zoom": one.zoom,
        "outcome": one.outcome.value,
    }


def _listed(box: Box | None) -> list[float] | None:
    return None if box is None else [float(side) for side in box]
