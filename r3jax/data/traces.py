"""From rows of a data file to questions and teacher episodes, with images opened and crops cut.

A teacher episode is token for token what a rollout would have produced: text, a closed box, the
crop that this box gives, text again, the end of the turn.
"""

import dataclasses
import math
import re

import numpy as np

from r3jax import patches, positions
from r3jax.data import chat, frames, images, looks, vlir
from r3jax.data.tokenizer import Tokenizer
from r3jax.data.vlir import RlRow, RowError, SftRow
from r3jax.records import Episode, Look, LookOutcome, Prompt, Question, Source, Stop

_BOX = re.compile(r'("bbox_2d"\s*:\s*)\[([^\[\]{}"]*)\]')


@dataclasses.dataclass(frozen=True)
class Trace:
    """An SFT row with its image: the boxes of question and segments are pixels of `frame`.

    Crop i of `num_crops` follows segment i; segments not `trained` are put in as FORCED; `where`
    names file and row in errors.
    """

    question: Question
    segments: tuple[str, ...]
    trained: tuple[bool, ...]
    num_crops: int
    frame: frames.Frame
    where: str


def load_question(row: SftRow | RlRow, bounds: frames.PixelBounds) -> Question:
    """Open the row's image; boxes in the question are rewritten for an image under `bounds`.

    RowError naming file and row where the image cannot be used.
    """
    return _open(row, bounds)[0]


def load_trace(row: SftRow, bounds: frames.PixelBounds) -> Trace:
    """Open the row's image; every box in its texts is rewritten for an image under `bounds`.

    RowError naming file and row where the image cannot be used.
    """
    question, from_frame, to_frame = _open(row, bounds)
    segments = tuple(rewrite_boxes(text, from_frame, to_frame) for text in row.segments)
    return Trace(question, segments, row.trained, row.num_crops, to_frame, row.where)


def _open(
    row: SftRow | RlRow, bounds: frames.PixelBounds
) -> tuple[Question, frames.Frame, frames.Frame]:
    """The row's question, the frame its boxes were written in and the one they are needed in."""
    try:
        image = images.open_image(row.image)
        from_frame = frames.Frame.fit(image.shape[0], image.shape[1], row.boxes_in)
        to_frame = frames.Frame.fit(image.shape[0], image.shape[1], bounds)
    except images.ImageError as error:
        raise vlir.image_error(row.where, error) from error
    except ValueError as error:
        raise RowError(f"{row.where}: {error}", "image shape") from error
    if isinstance(row, RlRow):
        answer, source = row.answer, row.source
    else:
        answer, source = chat.answer_in("".join(row.segments)), ""
    text = rewrite_boxes(row.question, from_frame, to_frame)
    return Question(row.id, text, (image,), answer, source, row.tags), from_frame, to_frame


def rewrite_boxes(text: str, from_frame: frames.Frame, to_frame: frames.Frame) -> str:
    """Rewrite every `"bbox_2d": [x1, y1, x2, y2]` of a text from one frame of an image to another.

    The new numbers are integers inside the image, at least one pixel apart. Lists that are not four
    finite numbers stay as they are, and so does the whole text where the frames agree.
    """
    if from_frame == to_frame:
        return text

    def rewrite(match: re.Match[str]) -> str:
        box = _four_numbers(match[2])
        if box is None:
            return match[0]
        x1, y1, x2, y2 = to_frame.to_resized(from_frame.to_original(box))
        left, right = _whole(x1, x2, to_frame.resized_width)
        top, bottom = _whole(y1, y2, to_frame.resized_height)
        return f"{match[1]}[{left}, {top}, {right}, {bottom}]"

    return _BOX.sub(rewrite, text)


def _four_numbers(text: str) -> tuple[float, float, float, float] | None:
    try:
        x1, y1, x2, y2 = (float(part) for part in text.split(","))
    except ValueError:  # not four parts, or a part that is no number
        return None
    return (x1, y1, x2, y2) if all(map(math.isfinite, (x1, y1, x2, y2))) else None


def _whole(low: float, high: float, size: int) -> tuple[int, int]:
    """Both ends of a side as integers in 0..size; ends in order stay at least a pixel apart."""
    first, last = (round(min(max(end, 0), size)) for end in (low, high))
    if low < high and first == last:
        first = min(first, size - 1)
        last = first + 1
    return first, last


def build_teacher_episode(
    trace: Trace, prompt: Prompt, frame: frames.Frame, tokenizer: Tokenizer, form: chat.ChatFormat
) -> Episode:
    """Write a trace as the episode that follows `prompt`; both must be of the same `frame`.

    The teacher's words are SAMPLED (FORCED where not trained), crops are cut by the looks their own
    boxes ask for, `<|im_end|>` ends the turn. RowError where a segment that a crop follows does not
    end with a box, or where the box cannot be served.
    """
    if trace.frame != frame:
        raise ValueError(
            f"{trace.where}: boxes are in {trace.frame}, the prompt shows {frame}: load the trace "
            "with the chat format's image_bounds"
        )
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    served: list[Look] = []
    for place, text in enumerate(trace.segments):
        has_crop = place < trace.num_crops
        text = up_to_box(text, place, trace.where) if has_crop else text
        parts.append(_text_tokens(text, trace.trained[place], tokenizer))
        if has_crop:
            look = looks.take_look(text, trace.question.images[0], frame, served, form.look_rules)
            parts.append(_crop_tokens(look, place, trace.where, tokenizer))
            served.append(look)
    parts.append((np.array([tokenizer.ids.im_end]), np.array([Source.SAMPLED])))
    return _assemble(parts, served, prompt.next_position, tokenizer)


def up_to_box(text: str, place: int, where: str) -> str:
    """The segment without white space behind its last box: a rollout stops where the box closes.

    RowError where something else stands there, or no box.
    """
    parsed = looks.parse_box(text)
    if parsed.end < 0 or text[parsed.end :].strip():
        raise RowError(
            f"{where}: a crop follows 'response_list'[{place}], so that text must end with a box "
            f'{{"bbox_2d": [x1, y1, x2, y2]}}; it ends with {text[-60:]!r}',
            "no box before a crop",
        )
    return text[: parsed.end]


def _text_tokens(text: str, trained: bool, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    ids = tokenizer.encode(text)
    return ids, np.full(len(ids), Source.SAMPLED if trained else Source.FORCED)


def check_look(look: Look, place: int, where: str) -> None:
    """RowError where the box that ends a segment gives no crop."""
    if look.outcome is not LookOutcome.OK:
        raise RowError(
            f"{where}: the box {look.text} that ends 'response_list'[{place}] gives no crop "
            f"({look.outcome}); correct it or remove its crop from 'img_crop_list'",
            f"box {look.outcome.replace('_', ' ')}",
        )


def _crop_tokens(
    look: Look, place: int, where: str, tokenizer: Tokenizer
) -> tuple[np.ndarray, np.ndarray]:
    check_look(look, place, where)
    rows, columns = patches.merged_grid(look.crop.shape)
    return chat.look_tokens(rows * columns, tokenizer)


def _assemble(
    parts: list[tuple[np.ndarray, np.ndarray]],
    served: list[Look],
    start: int,
    tokenizer: Tokenizer,
) -> Episode:
    """Join the parts of an episode whose first token has M-RoPE position `start`."""
    tokens = np.concatenate([ids for ids, _ in parts]).astype(np.int32)
    source = np.concatenate([marks for _, marks in parts]).astype(np.int8)
    grids = [patches.merged_grid(look.crop.shape) for look in served]
    where, _ = positions.rope_index(tokens, grids, tokenizer.ids.image_pad, start)
    text = tokenizer.decode(tokens[source != Source.IMAGE])
    answer = chat.answer_in(text)
    return Episode(
        tokens=tokens,
        source=source,
        positions=where,
        logp=np.zeros(len(tokens), np.float32),
        looks=tuple(served),
        stop=Stop.END if answer is None else Stop.ANSWER,
        text=text,
        answer=answer,
    )
