"""Buckets for a model that nobody wrote a config for: a ladder of sizes up to what can come.

A bucket costs nothing until something of its size comes, so the ladders reach as far as the chat
format allows.
"""

import bisect
import dataclasses
import math

from r3jax.buckets import Buckets, ImageBucket
from r3jax.data import chat, frames
from r3jax.data.tokenizer import Tokenizer
from r3jax.patches import FACTOR, UNIT, WINDOW
from r3jax.records import LookOutcome

QUESTION_TOKENS = 4096  # the longest question, its instruction and system text included
USUAL_QUESTION = 512  # a question that is not long
SMALLEST_TEXT = 64  # the smallest bucket of tokens
CROPS_AT_ONCE = 16384  # image tokens of crops that are encoded in one call, about


def ladder(largest: int, smallest: int = 1) -> tuple[int, ...]:
    """Sizes in half octaves from `smallest` until one holds `largest`: under half is padding.

    >>> ladder(11)
    (1, 2, 3, 4, 6, 8, 12)
    """
    octaves = max(1, largest - 1).bit_length()
    sizes = sorted({(n * smallest << k) // 2 for k in range(octaves + 1) for n in (2, 3)})
    return tuple(sizes[: bisect.bisect_left(sizes, largest) + 1])


def round_up(needed: int, smallest: int = 1) -> int:
    """The size of the ladder that holds `needed`.

    >>> round_up(70, smallest=64), round_up(0)
    (96, 1)
    """
    return ladder(needed, smallest)[-1]


def buckets_for(
    form: chat.ChatFormat,
    tokenizer: Tokenizer,
    questions: int = 1,
    episodes: int = 1,
    text_tokens: int = 1024,
    arriving: int | None = None,
    images: int = 1,
) -> Buckets:
    """Returns buckets for rollouts of `questions` groups of `episodes` rows at a time, of which
    `arriving` (default: all) come in together, with up to so many `images` each.

    An episode may have `text_tokens` of its own and as many looks as the format allows; any image
    that the format can show fits.
    """
    shown = most_tokens(form.image_bounds)
    crop = form.look_rules.crop.max_pixels // FACTOR**2
    failed = [o for o in LookOutcome if o not in (LookOutcome.OK, LookOutcome.TOO_MANY)]
    messages = [len(chat.failed_look_tokens(outcome, tokenizer)[0]) for outcome in failed]
    look_tokens = max(crop + 2, *messages)
    rows = min(questions * episodes, max(1, CROPS_AT_ONCE // crop))
    return Buckets(
        prompt_tokens=ladder(images * shown + QUESTION_TOKENS, SMALLEST_TEXT),
        suffix_tokens=(text_tokens + form.look_rules.max_looks * look_tokens,),
        look_tokens=look_tokens,
        images=_image_buckets(_rows(arriving or questions, images), shown),
        crops=_image_buckets(sorted({1, math.ceil(rows / 4), rows}), crop),
    )


def _rows(questions: int, images: int) -> list[int]:
    """Rows for the images of questions: for one each, and for the most that they may have."""
    return sorted({questions, questions * images})


def serving_buckets(
    form: chat.ChatFormat,
    tokenizer: Tokenizer,
    rows: int,
    text_tokens: int = 1024,
    question_tokens: int = QUESTION_TOKENS,
    most_images: int = 1,
) -> Buckets:
    """Returns buckets for a server, few enough to be compiled all before it is ready: for `rows`
    questions, each with up to `most_images` images and so many tokens of its own, that come in one
    by one. Episodes may be as long as those of `buckets_for`.
    """
    made = buckets_for(form, tokenizer, rows, text_tokens=text_tokens)
    shown, crop, tokens = made.images[-1], made.crops[-1], most_tokens(form.image_bounds)
    one = {math.ceil(shown.windows / 4), shown.windows}
    images = [ImageBucket(1, windows, shown.slots) for windows in sorted(one)]
    if most_images > 1:
        images.append(ImageBucket(most_images, shown.windows, shown.slots))
    usual, most = tokens + USUAL_QUESTION, most_images * tokens + question_tokens
    longest = max(made.suffix_tokens)
    return dataclasses.replace(
        made,
        prompt_tokens=(usual, most) if 2 * usual <= most else (most,),
        suffix_tokens=tuple(sorted({math.ceil(longest / 4), longest})),
        images=tuple(images),
        crops=tuple(dataclasses.replace(crop, rows=n) for n in sorted({1, crop.rows})),
    )


def most_tokens(bounds: frames.PixelBounds) -> int:
    """The most tokens that an image under `bounds` can have.

    An image so thin that one side is held at 28 pixels may end above the bound.
    """
    thinnest = math.isqrt(frames.MAX_ASPECT * bounds.max_pixels) // FACTOR
    return max(bounds.max_pixels // FACTOR**2, thinnest)


def _image_buckets(rows, tokens: int) -> tuple[ImageBucket, ...]:
    """Rows that hold an image of up to `tokens` each; the thinnest takes the most windows."""
    slots = UNIT * min(WINDOW**2, tokens)
    windows = ladder(math.ceil(tokens / WINDOW))
    return tuple(ImageBucket(n, w, slots) for n in rows for w in windows)
