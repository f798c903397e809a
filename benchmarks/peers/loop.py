"""The published loop on Transformers, one episode at a time, and the same loop in batches.

At each turn `generate` starts from nothing, as in the published code: images and crops are cut,
resized and flattened again, all of them encoded, the whole context prefilled; within a turn the
KV cache is used. Two things are kinder to the peer than the published code is: the sampled ids go
on as ids, instead of through text and the tokenizer; images stay in memory, instead of in files.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch

from benchmarks import mini, script
from benchmarks.peers import plain
from r3jax import patches

PAD = 0
SAMPLING = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}

Row = tuple[int, int]  # question and episode


def collect(
    net, pictures: Sequence[np.ndarray], which: Sequence[Row], greedy: bool = False
) -> np.ndarray:
    """Plays these episodes together; what was sampled, int32 [rows, TURNS, TURN].

    `pictures` are the images of all questions. With `greedy` the likeliest tokens are taken.
    """
    prompts = mini.prompts(net.config)
    turns = np.zeros((len(which), 0, script.TURN), np.int32)
    for number in range(script.TURNS):
        contexts = [
            script.sequence(net.config, prompts[question], done)
            for (question, _), done in zip(which, turns)
        ]
        shown = [one for row in which for one in pixels(pictures, row, looks=number)]
        new = generate(net, contexts, shown, greedy)
        turns = np.concatenate([turns, new[:, None]], axis=1)
    return turns


def pixels(pictures: Sequence[np.ndarray], row: Row, looks: int) -> Iterable[np.ndarray]:
    """Patches [P, C] of the image and of each crop that an episode has seen, in order."""
    image = pictures[row[0]]
    yield patches.patchify(image)
    for look in range(looks):
        yield patches.patchify(script.crop(image, *row, look))


def generate(
    net, contexts: Sequence[np.ndarray], shown: Sequence[np.ndarray], greedy: bool = False
) -> np.ndarray:
    """One turn after contexts of any lengths, padded on the left: int32 [rows, TURN].

    `shown` are the patches of all images, row by row.
    """
    net.model.rope_deltas = None  # sticky from call to call
    length = max(map(len, contexts))
    ids = np.full((len(contexts), length), PAD, np.int32)
    mask = np.zeros(ids.shape, np.int64)
    for number, context in enumerate(contexts):
        ids[number, length - len(context) :] = context
        mask[number, length - len(context) :] = 1
    given = plain.inputs(ids, list(shown), net.config, net.dtype)
    given["attention_mask"] = torch.from_numpy(mask)
    how = {"do_sample": False} if greedy else SAMPLING
    out = net.generate(
        **given,
        **how,
        min_new_tokens=script.TURN,
        max_new_tokens=script.TURN,
        suppress_tokens=visual_ids(net.config),
        pad_token_id=PAD,
        use_cache=True,
    )
    assert out.shape[1] == length + script.TURN
    return out[:, length:].numpy().astype(np.int32)


def visual_ids(config) -> list[int]:
    """The tokens that only a look may write: a sampled one would ask for an image."""
    return [
        config.image_token_id,
        config.video_token_id,
        config.vision_start_token_id,
        config.vision_end_token_id,
    ]


def loops(directory: str, dtype: str) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up one episode of the published loop, and a step of 40 in one batch."""
    net, pictures = plain.load(directory, dtype), mini.pictures(mini.QUESTIONS)
    work = {"published": script.rows()[:1], "batched": script.rows()}
    return plain.versions(), {
        name: lambda which=which: collect(net, pictures, which) for name, which in work.items()
    }
