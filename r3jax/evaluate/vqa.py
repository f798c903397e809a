"""Metrics of answers in words, as benchmarks define them: ANLS, VQA soft accuracy, exact match.

They compare an answer with references, to the letter as the published scorers do, oddities
included, so that a number is the one that others would get.
"""

import re
import string
from collections.abc import Sequence

from r3jax.reward import normalise

ANLS_THRESHOLD = 0.5
MOST_POINTS = 32  # that are taken out of an answer: the published code passes a flag as the count

_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = {"none": "0", **normalise.DIGIT_WORDS}
_PUNCTUATION = ';/[]"{}()=+\\_-><@`!'
# Each is also known without any one of its apostrophes.
_CONTRACTIONS = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've
    might've mustn't must've needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've you'll you're
    you've
"""
_WHOLE = {
    word[:at] + word[at + 1 :]: word
    for word in _CONTRACTIONS.split()
    for at, letter in enumerate(word)
    if letter == "'"
} | {"somebody'd": "somebodyd"}


def normalise(answer: str) -> str:
    """An answer as VQA scoring compares it: lower case, without articles and most punctuation,
    number words as digits, contractions with their apostrophes.

    Source: the answer processor of EvalAI.

    >>> normalise("The two men's dogs, (1,000) of them")
    "2 men 's dogs 1000 of them"
    """
    text = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    text = _without_punctuation(text.replace("\n", " ").replace("\t", " ").strip())
    words = [_NUMBERS.get(word, word) for word in text.split()]
    return " ".join(_WHOLE.get(word, word) for word in words if word not in _ARTICLES)


def _without_punctuation(text: str) -> str:
    cleaned = text
    for mark in _PUNCTUATION:
        is_loose = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if is_loose else " ")
    return re.sub(r"\.(?!\d)", "", cleaned, count=MOST_POINTS)


def soft_accuracy(answer: str, references: Sequence[str]) -> float:
    """How well an answer agrees with those of people: with each of them left out in turn, a third
    for every one of the others that gave it, at most 1; the mean of these.

    Source: VQA, as TextVQA uses it. Raises: ValueError where there are no references.
    """
    if not references:
        raise ValueError("soft accuracy: expected the answers of people, found none")
    given = normalise(answer)
    same = [normalise(one) == given for one in references]
    agreeing = sum(same)
    return sum(min(1.0, (agreeing - one) / 3) for one in same) / len(same)


def anls(answer: str, references: Sequence[str]) -> float:
    """One less the smallest edit distance to a reference, as a share of the longer text; 0 below a
    half.

    Distances are between lower-case texts with single spaces, lengths those of what was given.
    Source: DocVQA and InfographicVQA. Raises: ValueError where there are no references.
    """
    if not references:
        raise ValueError("ANLS: expected at least one reference, found none")
    given = answer.strip()
    best = 1 - min(_relative_distance(given, one) for one in references)
    return best if best >= ANLS_THRESHOLD else 0.0


def _relative_distance(given: str, reference: str) -> float:
    longest = max(len(given.upper()), len(reference.upper()))
    first, second = (" ".join(text.lower().split()) for text in (given, reference))
    if abs(len(first) - len(second)) > (1 - ANLS_THRESHOLD) * longest:
        return 1.0  # as good as any distance over the threshold, and long replies take no time
    return edit_distance(first, second) / longest if longest else 0.0


def edit_distance(first: str, second: str) -> int:
    """How many letters are to be put in, taken out or changed to make one text of the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    row = list(range(len(second) + 1))
    for number, letter in enumerate(first, 1):
        diagonal, row[0] = row[0], number
        for at, other in enumerate(second, 1):
            diagonal, row[at] = (
                row[at],
                min(row[at] + 1, row[at - 1] + 1, diagonal + (letter != other)),
            )
    return row[-1]


def exact_match(answer: str, reference: str) -> float:
    """Whether answer and reference are the same words: in lower case, without punctuation, which
    is taken out of words, too ("t-shirt" is "tshirt"). Punctuation alone is itself only.

    Source: GQA, as lmms-eval scores it, but for answers of punctuation alone.
    """
    first, second = answer.strip().lower(), reference.strip().lower()
    taken_out = str.maketrans("", "", string.punctuation)
    given, wanted = first.translate(taken_out), second.translate(taken_out)
    return float(given == wanted if given else first == second)
