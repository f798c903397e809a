"""Whether whatever a model can ask for fits the buckets of a run."""

import math

from r3jax import buckets, patches
from r3jax.data import chat, looks
from r3jax.data.tokenizer import Tokenizer
from r3jax.patches import FACTOR
from r3jax.records import LookOutcome


def check_buckets(tokenizer: Tokenizer, form: chat.ChatFormat, shapes: buckets.Buckets) -> None:
    """Raises ValueError where something that a model can ask for would fit no bucket."""
    _check_look_tokens(tokenizer, form, shapes)
    most = max(bucket.rows for bucket in shapes.crops)
    windows, slots = largest_crop(form.look_rules)
    if not any(b.rows == most and b.windows >= windows and b.slots >= slots for b in shapes.crops):
        raise ValueError(
            f"buckets.crops must have one of {most} rows (the most) with at least {windows} "
            f"windows of {slots} slots, what the largest and the thinnest crop take under the look "
            "rules: raise it, or lower the crop's max_pixels or max_aspect"
        )


def largest_crop(rules: looks.LookRules) -> tuple[int, int]:
    """The most windows, and the most slots of a window, that a crop can take."""
    tokens, shapes = rules.crop.max_pixels // FACTOR**2, []
    for short in range(1, math.isqrt(tokens) + 1):
        # Sides rounded to whole tokens can be twice as far apart as those of the box.
        long = min(tokens // short, int(2 * rules.max_aspect * short))
        shapes += [patches.window_shape(short, long), patches.window_shape(long, short)]
    return max(windows for windows, _ in shapes), max(slots for _, slots in shapes)


def _check_look_tokens(
    tokenizer: Tokenizer, form: chat.ChatFormat, shapes: buckets.Buckets
) -> None:
    failed = [o for o in LookOutcome if o not in (LookOutcome.OK, LookOutcome.TOO_MANY)]
    messages = {o: len(chat.failed_look_tokens(o, tokenizer)[0]) for o in failed}
    messages["crop"] = form.look_rules.crop.max_pixels // FACTOR**2 + 2
    longest = max(messages, key=messages.get)
    if messages[longest] > shapes.look_tokens:
        raise ValueError(
            f"buckets.look_tokens is {shapes.look_tokens}, but what follows a box ({longest}) can "
            f"have {messages[longest]} tokens: raise it, or lower the crop's max_pixels"
        )
