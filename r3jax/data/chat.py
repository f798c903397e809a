"""The chat format: a question as prompt tokens, and the tokens that follow a look.

    <|im_start|>system\\n{system}<|im_end|>\\n                     only where there is a system text
    <|im_start|>user\\n
    <|vision_start|><|image_pad|> x n<|vision_end|>              once an image
    {question}\\n{instruction}<|im_end|>\\n                       or the question's own turns
    <|im_start|>assistant\\n                                      the prompt ends here
    ... {"bbox_2d": [x1, y1, x2, y2]}                            the episode: sampled,
    <|vision_start|><|image_pad|> x m<|vision_end|>              a crop (or a message) inserted,
    ... <answer>...</answer>                                     and sampled again

Source: the chat template of Qwen2.5-VL; crops inside the assistant's turn as in VLM-R3.
"""

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence

import numpy as np

from r3jax import patches, positions
from r3jax.data import frames, images, looks
from r3jax.data.tokenizer import Tokenizer
from r3jax.records import LookOutcome, Prompt, Question, Source, Turn

DEFAULT_SYSTEM = "You are a helpful assistant."
DEFAULT_INSTRUCTION = (
    "Reason step by step inside <think></think>. Whenever a part of the image is too small to make "
    'out, write its box there as {"bbox_2d": [x1, y1, x2, y2]} in pixels and you will see that '
    "part enlarged. Then give only the final answer inside <answer></answer>."
)
# Bounds of an image in SFT and of a crop. Source: published VLM-R3 code.
_IMAGE_BOUNDS = frames.PixelBounds.of_tokens(4, 2048)
_LOOK_RULES = looks.LookRules(crop=frames.PixelBounds.of_tokens(4, 1024))
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class ChatFormat:
    """How questions are put to a model. It belongs to the model: see `chat_file`.

    `system` None leaves the system turn out; `instruction` follows every question ("" for none);
    `image_bounds` says at what size images are shown, and so in which frame boxes are written.
    """

    system: str | None = DEFAULT_SYSTEM
    instruction: str = DEFAULT_INSTRUCTION
    image_bounds: frames.PixelBounds = _IMAGE_BOUNDS
    look_rules: looks.LookRules = _LOOK_RULES


def user_text(question: str, chat: ChatFormat) -> str:
    """The words of the user's turn, which follow the images."""
    return f"{question}\n{chat.instruction}" if chat.instruction else question


def turns_of(question: Question, chat: ChatFormat) -> tuple[Turn, ...]:
    """The conversation that a prompt shows: the format's system text first, unless there is one."""
    text = user_text(question.text, chat)
    turns = question.turns or (Turn("user", (*range(len(question.images)), text)),)
    if chat.system is None or turns[0].role == "system":
        return turns
    return (Turn("system", (chat.system,)), *turns)


def build_prompt(
    question: Question, tokenizer: Tokenizer, chat: ChatFormat
) -> tuple[Prompt, frames.Frame | None]:
    """Turn a question into tokens, positions and resized images.

    Returns the prompt and the frame of `images[0]`, in which the model will write its boxes; None
    where there is no image. ValueError where an image is too thin, or the turns show other images
    than the question's.
    """
    turns = turns_of(question, chat)
    shown_numbers = [part for turn in turns for part in turn.parts if isinstance(part, int)]
    if shown_numbers != list(range(len(question.images))):
        raise ValueError(
            f"question {question.id}: turns show the images {shown_numbers}, expected each of its "
            f"{len(question.images)} once and in order"
        )
    shown = tuple(images.prepare(image, chat.image_bounds) for image in question.images)
    grids = [patches.merged_grid(image.shape) for image in shown]
    tokens = _prompt_tokens(turns, grids, tokenizer)
    where, after = positions.rope_index(tokens, grids, tokenizer.ids.image_pad)
    prompt = Prompt(tokens, where, shown, after)
    if not question.images:
        return prompt, None
    height, width = question.images[0].shape[:2]
    return prompt, frames.Frame.fit(height, width, chat.image_bounds)


def _prompt_tokens(
    turns: Sequence[Turn], grids: Sequence[tuple[int, int]], tokenizer: Tokenizer
) -> np.ndarray:
    """The prompt's ids. Texts between special tokens are encoded whole, as Transformers does."""
    ids, encode = tokenizer.ids, tokenizer.encode
    start, end, newline = [ids.im_start], [ids.im_end], encode("\n")
    tokens = []
    for turn in turns:
        tokens.append(start)
        said = itertools.groupby((f"{turn.role}\n", *turn.parts), lambda part: type(part))
        for kind, parts in said:
            if kind is str:
                tokens.append(encode("".join(parts)))
            else:
                sizes = (grids[number] for number in parts)
                tokens += [look_tokens(rows * columns, tokenizer)[0] for rows, columns in sizes]
        tokens += [end, newline]
    return np.concatenate([*tokens, start, encode("assistant\n")]).astype(np.int32)


def look_tokens(num_image_tokens: int, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """What follows a box: a crop in its frame. Returns ids int32 [T] and `Source` int8 [T]."""
    ids = np.full(num_image_tokens + 2, tokenizer.ids.image_pad, np.int32)
    source = np.full(num_image_tokens + 2, Source.IMAGE, np.int8)
    ids[0], ids[-1] = tokenizer.ids.vision_start, tokenizer.ids.vision_end
    source[0] = source[-1] = Source.FORCED
    return ids, source


def failed_look_tokens(outcome: LookOutcome, tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """What follows a box that cannot be served: a short message, ids and `Source` (all FORCED)."""
    ids = tokenizer.encode(looks.message(outcome))
    return ids, np.full(len(ids), Source.FORCED, np.int8)


def answer_in(text: str) -> str | None:
    """The last closed answer of an episode's text, without surrounding white space, or None.

    >>> answer_in("<think>it is red</think><answer> red </answer>")
    'red'
    """
    answers = _ANSWER.findall(text)
    return answers[-1].strip() if answers else None


def chat_template(chat: ChatFormat) -> str:
    """The Jinja template that makes Transformers render prompts as `build_prompt` does.

    The instruction is no part of it: callers append it to the question, as `user_text` does.
    """
    system = ""
    if chat.system is not None:
        # A JSON string is a Jinja string, except that Jinja wants no escaped surrogates.
        turn = json.dumps(f"<|im_start|>system\n{chat.system}<|im_end|>\n", ensure_ascii=False)
        system = (
            f"{{%- if loop.first and m['role'] != 'system' -%}}{{{{- {turn} -}}}}{{%- endif -%}}"
        )
    return (
        "{%- for m in messages -%}" + system + "{{- '<|im_start|>' + m['role'] + '\\n' -}}"
        "{%- if m['content'] is string -%}{{- m['content'] -}}"
        "{%- else -%}{%- for c in m['content'] -%}"
        "{%- if c['type'] == 'image' or 'image' in c or 'image_url' in c -%}"
        "{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}"
        "{%- elif 'text' in c -%}{{- c['text'] -}}{%- endif -%}"
        "{%- endfor -%}{%- endif -%}"
        "{{- '<|im_end|>\\n' -}}"
        "{%- endfor -%}"
        "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"
    )
