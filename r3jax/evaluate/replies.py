"""From what a model wrote to the answer that is scored."""

import re

_THOUGHTS = re.compile(r"<(think(?:ing)?|analysis|reasoning)>.*?</\1>", re.DOTALL)
_ANSWERS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
MOST_CHARACTERS = 20_000  # of a reply: an answer is at its end


def answer_of(reply: str) -> str:
    """The answer in a reply: what the last `<answer>` holds, to its end where none is closed; else
    what stands outside closed thoughts.

    >>> answer_of("<think>A?</think> <answer>A</answer> no: <answer>B</answer>")
    'B'
    >>> answer_of("<think>It is A or B.</think>\\nB")
    'B'
    """
    reply = reply[-MOST_CHARACTERS:]
    spoken = _THOUGHTS.sub("", reply) if "</" in reply else reply
    spoken = spoken.rpartition("</think>")[2]
    for text in (spoken, reply):
        if found := [one.strip() for one in _ANSWERS.findall(text) if one.strip()]:
            return found[-1]
    _, opened, begun = spoken.rpartition("<answer>")
    return (begun if opened and "</answer>" not in begun else spoken).strip()


def ends_in_thought(reply: str) -> bool:
    """Whether a reply broke off while it thought, and gives no answer.

    >>> ends_in_thought("<think>It may be A"), ends_in_thought("<think>A? <answer>B</answer>")
    (True, False)
    """
    thought = reply.rpartition("<think>")
    return bool(thought[1]) and "</think>" not in thought[2] and "<answer>" not in reply
