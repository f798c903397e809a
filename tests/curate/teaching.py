"""Teacher, recogniser and judge of a drawn world behind one scripted endpoint, at odds with some of
their tasks on purpose, and as unreliable as a test wants them."""

import base64
import hashlib
import json
import pathlib
import random
import threading
from collections.abc import Callable

from r3jax.data import frames, images, vlir
from tests.scripted_endpoint import Reply

OUTSIDE = '{"bbox_2d": [4000, 4000, 5000, 5000]}'
REFUSAL = "I cannot help with this."
FAILURES = (
    Reply(status=500, body="overloaded"),
    Reply(status=429, body="slow down", headers=(("retry-after", "0"),)),
    Reply(body="<html>garbage"),
    Reply(body='{"choices": []}'),
    Reply("I would rather not say anything about this, thank you. " * 5),
    Reply(drops=True),
    Reply(status=503, body="overloaded", breaks_off=True),
    Reply("KEEP", breaks_off=True),
    Reply(delay_s=1.2, status=500, body="late"),
)


class School:
    """Answers requests about the questions of an RL file.

    `fails(body, tries)` is asked before each request for a failure. `said` counts the answers given
    to each request (a refusal is none), `tries` how often it came.
    """

    def __init__(
        self, data: pathlib.Path, fails: Callable[[str, int], Reply | None] = lambda body, n: None
    ):
        rows = json.loads(data.read_text())
        self.tasks = {_key(row, data.parent): (number, row) for number, row in enumerate(rows)}
        self.frames = {}
        for key, (_, row) in self.tasks.items():
            height, width = images.open_image(data.parent / row["image_path"]).shape[:2]
            self.frames[key] = frames.Frame.fit(height, width, vlir.VLIR_BOUNDS)
        self.fails = fails
        self.said: dict[str, int] = {}
        self.tries: dict[str, int] = {}
        self.lock = threading.Lock()

    def __call__(self, number: int, request: dict) -> Reply:
        body = self.key(request)
        with self.lock:
            self.tries[body] = self.tries.get(body, 0) + 1
            failure = self.fails(body, self.tries[body])
        if failure is not None:
            return failure
        text = {"teacher": self.teach, "small": recognise, "judge": judge}[request["model"]](
            request["messages"]
        )
        if text != REFUSAL:
            with self.lock:
                self.said[body] = self.said.get(body, 0) + 1
        usage = {"prompt_tokens": 100, "completion_tokens": len(text)}
        message = {"choices": [{"message": {"content": text}}], "usage": usage}
        return Reply(body=json.dumps(message))

    @staticmethod
    def key(request: dict) -> str:
        """A request as kept answers name it."""
        return hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()

    def teach(self, messages: list[dict]) -> str:
        """One look a box that the world knows, then the answer; every fifth task goes wrong."""
        picture, asked = messages[1]["content"]
        question = asked["text"].rpartition("Question: ")[2]
        key = (question, picture["image_url"]["url"])
        number, row = self.tasks[key]
        boxes = json.loads(row["tags"]["gold_boxes"])
        turn = sum(message["role"] == "assistant" for message in messages)
        if number % 10 == 1:
            return f"<think>Clear at once.</think><answer>{row['answer']}</answer>"
        if number % 10 == 2:
            return f"<think>There. {OUTSIDE}"
        if number % 10 == 3:
            return REFUSAL
        if turn == len(boxes):
            answer = "none" if number % 10 == 4 else row["answer"]
            return f"It says so.</think> <answer> {answer} </answer>"
        box = [round(side) for side in self.frames[key].to_resized(boxes[turn])]
        return f'<think>Look {turn + 1}. ```json\n[{{"bbox_2d": {box}, "label": "x"}}]```\nAnd on.'


def _key(row: dict, folder: pathlib.Path) -> tuple[str, str]:
    image = images.prepare(images.open_image(folder / row["image_path"]), vlir.VLIR_BOUNDS)
    data = base64.b64encode(images.to_png(image)).decode()
    return row["question"], f"data:image/png;base64,{data}"


def recognise(messages: list[dict]) -> str:
    """Something in most crops."""
    url = messages[1]["content"][0]["image_url"]["url"]
    return "NONE." if zlib(url) % 8 == 0 else f"SEEN: a number, {zlib(url) % 100}"


def judge(messages: list[dict]) -> str:
    """Keeps most chains; in the world, rules decide about answers."""
    asked = json.loads(messages[1]["content"])
    return "DROP REDUNDANT" if zlib(json.dumps(asked)) % 6 == 0 else "Keep."


def zlib(text: str) -> int:
    """A number that follows from a text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)


def often(share: float) -> Callable[[str, int], Reply | None]:
    """Failures of all kinds in so many of the tries, never in the fourth of a request."""

    def fails(body: str, tries: int) -> Reply | None:
        rng = random.Random(f"{body} {tries}")
        return rng.choice(FAILURES) if rng.random() < share and tries % 4 else None

    return fails
