"""One R-GRPO update on Transformers: whole sequences in micro-batches, gradients accumulated.

Each of the five sequences of a group holds the prompt anew, and the model's own forward encodes its
image with it, as trainers built on Transformers do. Kinder to the peer than they are: pixels are
ready before the clock starts, and logits are made for the sampled tokens alone.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from benchmarks import mini, script
from benchmarks.peers import loop, plain

CLIP = (0.2, 0.28)  # below and above 1: RgrpoConfig's
LEARNING_RATE = 1e-6
CLIP_NORM = 1.0
ROWS = 5  # sequences of a micro-batch


@dataclasses.dataclass(frozen=True)
class MicroBatch:
    """Sequences [B, P + T] as the model takes them; their targets int64 [B, SAMPLED] and advantages
    float32 [B]."""

    given: dict[str, torch.Tensor]
    targets: torch.Tensor
    advantage: torch.Tensor


class Found(NamedTuple):
    """Of an update: its loss, and the norm of the gradient before it was clipped."""

    loss: float
    grad_norm: float


def micro_batches(net, rows: int = ROWS) -> list[MicroBatch]:
    """The episodes of the script, `rows` sequences at a time."""
    prompts, pictures = mini.prompts(net.config), mini.pictures(mini.QUESTIONS)
    sampled, advantage = script.sampled(), script.advantages()
    made, which = [], script.rows()
    for begin in range(0, len(which), rows):
        part = which[begin : begin + rows]
        ids = np.stack([script.sequence(net.config, prompts[q], sampled[q, e]) for q, e in part])
        shown = [one for row in part for one in loop.pixels(pictures, row, script.LOOKS)]
        targets = np.stack([sampled[row].reshape(-1) for row in part]).astype(np.int64)
        made.append(
            MicroBatch(
                plain.inputs(ids, shown, net.config, net.dtype),
                torch.from_numpy(targets),
                torch.tensor([advantage[row] for row in part]),
            )
        )
    return made


def log_probs(net, batch: MicroBatch) -> torch.Tensor:
    """Natural log-probs of the sampled tokens over the whole vocabulary, float32 [B, SAMPLED]."""
    net.model.rope_deltas = None  # sticky from call to call
    before = torch.from_numpy(np.flatnonzero(script.is_sampled()) - 1)
    logits = net(**batch.given, use_cache=False, logits_to_keep=before).logits.float()
    chosen = logits.gather(-1, batch.targets[..., None])[..., 0]
    return chosen - logits.logsumexp(-1)


def losses(log_prob: torch.Tensor, old: torch.Tensor, advantage: torch.Tensor) -> torch.Tensor:
    """The clipped loss of each episode, the mean over its tokens: [B, SAMPLED] -> [B]."""
    ratio, advantage = torch.exp(log_prob - old), advantage[:, None]
    clipped = ratio.clamp(1 - CLIP[0], 1 + CLIP[1])
    return -torch.minimum(ratio * advantage, clipped * advantage).mean(-1)


def make_optimizer(net) -> torch.optim.Optimizer:
    """Freezes the vision tower and returns AdamW, fused, over all else."""
    net.model.visual.requires_grad_(False)
    return torch.optim.AdamW(
        _trained(net), lr=LEARNING_RATE, betas=(0.9, 0.999), weight_decay=0.0, fused=True
    )


def update(net, optimizer: torch.optim.Optimizer, batches: Sequence[MicroBatch]) -> Found:
    """The first update on these episodes: the old policy is the one that is updated."""
    episodes = sum(len(batch.targets) for batch in batches)
    net.train()
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for batch in batches:
        log_prob = log_probs(net, batch)
        loss = losses(log_prob, log_prob.detach(), batch.advantage).sum() / episodes
        loss.backward()
        total += loss.item()
    norm = torch.nn.utils.clip_grad_norm_(_trained(net), CLIP_NORM)
    optimizer.step()
    net.eval()
    return Found(total, norm.item())


def _trained(net) -> Iterator[torch.nn.Parameter]:
    return (one for one in net.parameters() if one.requires_grad)


def rgrpo(
    directory: str, dtype: str, rows: int = ROWS
) -> tuple[dict, dict[str, Callable[[], Found]]]:
    """Sets up an update of the script's eight groups; parameters and moments are of this dtype."""
    net = plain.load(directory, dtype)
    optimizer, batches = make_optimizer(net), micro_batches(net, rows)
    return plain.versions(), {"update": lambda: update(net, optimizer, batches)}
