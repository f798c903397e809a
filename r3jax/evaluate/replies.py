"""From what a model wrote to the answer that is scored."""

import re

from r3jax.reward import normalise

_THOUGHTS = re.compile(r"<(think|analysis)>.*?</\1>", re.DOTALL)


def answer_of(reply: str) -> str:
    """The answer in a reply: what the last `<answer>` holds, to its end where none is closed; else
    what stands outside closed thoughts.

    >>> answer_of("<think>A?</think> <answer>A</answer> no: <answer>B</answer>")
    'B'
    >>> answer_of("<think>It is A or B.</think>\\nB")
    'B'
    """
    inside = normalise.last_answer(reply)
    if inside is not None:
        return inside
    _, opened, begun = reply.rpartition("<answer>")
    if opened:
        return begun.strip()
    spoken = _THOUGHTS.sub("", reply)
    return spoken.rpartition("</think>")[2].strip()
