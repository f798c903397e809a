"""A request body as a record: every value is checked, whatever somebody sends.

    {"model": "export", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,..."}},
        {"type": "text", "text": "What number is on the cyan sign?"}]}]}

Keys that are not known are ignored, since clients send many; what is known and would change the
answer, but is not done, is refused. Source: OpenAI's chat completions.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from r3jax.records import Turn
from r3jax.serve.errors import RequestError, wrong

ANSWER = ":answer"
"""Behind a model's name: the answer alone is wanted."""

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MOST_STOPS = 16
MOST_VALUES = 2**17  # of a body, about: what is in base64 counts as one
_SEEDS = 2**31

# Key, what it may be, and why another value is refused.
_UNDONE = (
    ("n", (None, 1), "one answer a request is given: send the request again for another"),
    ("tools", (None, []), "no tools are called: leave it out"),
    ("functions", (None, []), "no functions are called: leave it out"),
    ("response_format", (None, {"type": "text"}), 'text is written as it comes: {"type": "text"}'),
    ("logprobs", (None, False), "log-probs are not returned: leave it out"),
    ("logit_bias", (None, {}), "tokens are chosen as the model likes them: leave it out"),
    ("frequency_penalty", (None, 0), "what was said is not counted: leave it out"),
    ("presence_penalty", (None, 0), "what was said is not counted: leave it out"),
    ("tool_choice", (None, "none", "auto"), "no tools are called: leave it out"),
)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a server takes: its model's `name`, how many images and characters of text a request
    may have, and what holds where a request does not say: `temperature`, and whether the answer
    alone is returned."""

    name: str
    max_images: int
    max_characters: int
    temperature: float = 0.0
    answer_only: bool = False


@dataclasses.dataclass(frozen=True)
class ChatRequest:
    """A request that can be answered, but for its images: `urls` in the order of their numbers,
    `places` say where each stood. `seed` None is any."""

    model: str
    turns: tuple[Turn, ...]
    urls: tuple[str, ...]
    places: tuple[str, ...]
    answer_only: bool
    temperature: float
    top_p: float
    max_tokens: int | None
    seed: int | None
    stops: tuple[str, ...]
    stream: bool
    include_usage: bool
    trace: bool


def read(body: bytes, rules: Rules) -> ChatRequest:
    """Reads a request.

    Raises: RequestError (400, or 404 for another model) that names what is wrong.
    """
    given = _parse(body)
    for key, fine, why in _UNDONE:
        if given.get(key) not in fine or (isinstance(given.get(key), bool) and key == "n"):
            raise RequestError(400, f"{key}: {why}", key, "unsupported_value")
    name, answer_only = _model(given.get("model"), rules)
    turns, urls, places = _messages(given.get("messages"), rules)
    stream = _flag(given, "stream")
    options = given.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", "an object", options)
    return ChatRequest(
        model=name,
        turns=turns,
        urls=urls,
        places=places,
        answer_only=answer_only or rules.answer_only,
        temperature=_number(given, "temperature", 0, 2, rules.temperature),
        top_p=_number(given, "top_p", 0, 1, 1.0),
        max_tokens=_max_tokens(given),
        seed=_seed(given.get("seed")),
        stops=_stops(given.get("stop")),
        stream=stream,
        include_usage=stream and _flag(options or {}, "include_usage", "stream_options."),
        trace=_flag(given, "trace"),
    )


def _parse(body: bytes) -> dict[str, Any]:
    # A small body can hold millions of values, which nobody could do anything beside reading.
    if sum(map(body.count, (b"[", b"{", b","))) > MOST_VALUES:
        raise RequestError(400, "the body holds too many values", code="invalid_json")
    try:
        given = json.loads(body)
    except RecursionError as error:
        raise RequestError(400, "the body is nested too deeply", code="invalid_json") from error
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise RequestError(400, f"the body is no JSON: {error}", code="invalid_json") from error
    if not isinstance(given, dict):
        raise wrong("the body", "an object", given)
    return given


def check_model(name: str, rules: Rules) -> None:
    """Raises RequestError (404) for the name of another model."""
    if name not in (rules.name, rules.name + ANSWER):
        shown = _text(name, "model")[:80]
        raise RequestError(
            404,
            f"the model {shown!r} does not exist; there are {rules.name} and {rules.name}{ANSWER}",
            "model",
            "model_not_found",
        )


def _model(name: object, rules: Rules) -> tuple[str, bool]:
    """The name, and whether the answer alone is wanted of it."""
    if not isinstance(name, str):
        raise wrong("model", f"the name of a model ({rules.name})", name)
    check_model(name, rules)
    return name, name != rules.name


def _messages(
    messages: object, rules: Rules
) -> tuple[tuple[Turn, ...], tuple[str, ...], tuple[str, ...]]:
    """The conversation, and URL and place of each image."""
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a list of messages", messages)
    images: list[tuple[str, str]] = []
    turns = tuple(_message(one, f"messages[{i}]", images) for i, one in enumerate(messages))
    if turns[-1].role != "user":
        raise wrong("messages", "a message of the user at the end", turns[-1].role)
    if len(images) > rules.max_images:
        raise RequestError(
            400,
            f"messages: at most {rules.max_images} images are taken, found {len(images)}: send "
            "fewer",
            "messages",
            "too_many_images",
        )
    length = sum(len(part) for one in turns for part in one.parts if isinstance(part, str))
    if length > rules.max_characters:
        raise RequestError(
            400,
            f"messages: at most {rules.max_characters} characters of text are taken, found "
            f"{length}: shorten it",
            "messages",
            "context_length_exceeded",
        )
    return turns, tuple(url for url, _ in images), tuple(place for _, place in images)


def _message(message: object, where: str, images: list[tuple[str, str]]) -> Turn:
    """One message; its images are added to those before."""
    if not isinstance(message, dict):
        raise wrong(where, "an object with role and content", message)
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise wrong(f"{where}.role", f"one of {', '.join(ROLES)}", role)
    if isinstance(content, str):
        return Turn(ROLES[role], (_text(content, f"{where}.content"),))
    if not isinstance(content, list) or not content:
        raise wrong(f"{where}.content", "text or a list of parts", content)
    parts: list[str | int] = []
    for i, part in enumerate(content):
        place = f"{where}.content[{i}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            text = _text(part.get("text"), f"{place}.text")
            # Texts side by side are one, as in Qwen's template.
            parts[-1:] = [parts[-1] + text] if _ends_in_text(parts) else [*parts[-1:], text]
        elif kind == "image_url":
            if ROLES[role] != "user":
                raise wrong(place, f"text alone in a message of the role {role}", part)
            parts.append(len(images))
            images.append((_url(part.get("image_url"), place), place))
        else:
            raise wrong(place, "a part of the type text or image_url", kind or part)
    return Turn(ROLES[role], tuple(parts))


def _ends_in_text(parts: Sequence[str | int]) -> bool:
    return bool(parts) and isinstance(parts[-1], str)


def _url(image: object, where: str) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    if not isinstance(url, str):
        raise wrong(f"{where}.image_url", "an object with a url", image)
    return url


def _text(text: object, where: str) -> str:
    if not isinstance(text, str):
        raise wrong(where, "text", text)
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can spell halves of characters
        raise RequestError(400, f"{where}: no text of Unicode: {error.reason}", where) from error
    return text


def _flag(given: Mapping[str, Any], key: str, prefix: str = "") -> bool:
    value = given.get(key)
    if value is not None and not isinstance(value, bool):
        raise wrong(prefix + key, "true or false", value)
    return bool(value)


def _number(given: Mapping[str, Any], key: str, low: float, high: float, default: float) -> float:
    value = given.get(key)
    if value is None:
        return default
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # NaN fails every comparison.
    if not is_number or not low <= value <= high:
        raise wrong(key, f"a number from {low} to {high}", value)
    return float(value)


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _max_tokens(given: Mapping[str, Any]) -> int | None:
    """The newer name goes first where both are given."""
    for key in ("max_completion_tokens", "max_tokens"):
        value = given.get(key)
        if value is not None:
            if not _whole(value) or value < 1:
                raise wrong(key, "a whole number from 1 on", value)
            return value
    return None


def _seed(seed: object) -> int | None:
    """Seeds of any size; keys are made of 31 bits."""
    if seed is not None and not _whole(seed):
        raise wrong("seed", "a whole number", seed)
    return None if seed is None else seed % _SEEDS


def _stops(stop: object) -> tuple[str, ...]:
    stops = [] if stop is None else [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > MOST_STOPS:
        raise wrong("stop", f"text, or a list of up to {MOST_STOPS} texts", stop)
    found = tuple(_text(one, f"stop[{i}]") for i, one in enumerate(stops))
    if not all(found):
        raise wrong("stop", "texts that are not empty", "")
    return found
