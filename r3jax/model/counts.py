"""How much a Qwen2.5-VL has to compute and to read, by formula: FLOPs, bytes.

A product of matrices counts two FLOPs a multiplication; norms, softmax and activations count
nothing. What a program does beyond what the model asks for counts nothing either: padding, scores
that a mask hides, layers that are run again for their gradient.
"""

from collections.abc import Sequence

from r3jax import patches
from r3jax.model.config import ModelConfig, TextConfig, VisionConfig
from r3jax.model.layers import Remat

Grid = tuple[int, int]
"""Rows and columns of an image in tokens."""


def layer_weights(text: TextConfig) -> int:
    """Numbers in the matrices of a decoder layer.

    >>> layer_weights(TextConfig(hidden_size=2048, num_heads=16, num_kv_heads=2,
    ...                          intermediate_size=11008))
    77070336
    """
    heads = 2 * text.num_heads + 2 * text.num_kv_heads  # q and o, k and v
    return text.hidden_size * (heads * text.head_dim + 3 * text.intermediate_size)


def causal_pairs(tokens: int, before: int = 0) -> int:
    """Pairs of a query and a key it sees: `tokens` see each other causally, and all `before`.

    >>> causal_pairs(3), causal_pairs(2, before=10)
    (6, 23)
    """
    return tokens * before + tokens * (tokens + 1) // 2


def decoder_flops(text: TextConfig, tokens: int, pairs: int) -> int:
    """A forward pass through the decoder's layers: of `tokens`, whose queries see `pairs` keys."""
    attention = 4 * pairs * text.num_heads * text.head_dim  # scores, then values by weights
    return text.num_layers * (2 * tokens * layer_weights(text) + attention)


def head_flops(text: TextConfig, tokens: int) -> int:
    """The logits of so many tokens."""
    return 2 * tokens * text.hidden_size * text.vocab_size


def vision_flops(vision: VisionConfig, grids: Sequence[Grid]) -> int:
    """A forward pass of the vision tower over images: patches, all blocks, the merger."""
    D, F = vision.hidden_size, vision.intermediate_size
    tokens = sum(rows * columns for rows, columns in grids)
    count, merged = patches.UNIT * tokens, patches.UNIT * D
    full = len(vision.full_attention_blocks)
    whole = sum((patches.UNIT * rows * columns) ** 2 for rows, columns in grids)
    windowed = sum(_window_pairs(*grid) for grid in grids)
    pairs = full * whole + (vision.depth - full) * windowed
    embed = 2 * count * vision.patch_values * D
    blocks = vision.depth * 2 * count * (4 * D * D + 3 * D * F) + 4 * pairs * D
    return embed + blocks + 2 * tokens * merged * (merged + vision.out_hidden_size)


def _window_pairs(rows: int, columns: int) -> int:
    """Pairs of patches within the same window of an image; windows at its edges are smaller."""

    def squares(length: int) -> int:
        whole, rest = divmod(length, patches.WINDOW)
        return whole * patches.WINDOW**2 + rest**2

    return patches.UNIT**2 * squares(rows) * squares(columns)


def update_flops(trained: int, frozen: int = 0, passed: int = 0) -> int:
    """A training step from the forward FLOPs of what is trained, of what is frozen, and of what a
    gradient only passes through, on its way to adapters or to what lies before.

    The gradient takes twice as much as the forward pass: to what came in, and to the weights.
    """
    return 3 * trained + 2 * passed + frozen


def decode_bytes(config: ModelConfig, prefix_tokens: int, filled_slots: int, itemsize: int) -> int:
    """What a step of decoding has to read: every layer's weights, the head, keys and values.

    `prefix_tokens` are summed over groups, which read theirs once, `filled_slots` over rows.
    """
    text = config.text
    weights = text.num_layers * layer_weights(text) + text.hidden_size * text.vocab_size
    kept = 2 * text.num_layers * text.num_kv_heads * text.head_dim
    return itemsize * (weights + kept * (prefix_tokens + filled_slots))


def update_bytes(
    text: TextConfig, weights: int, tokens: int, itemsize: int, remat: Remat, logit_chunk: int
) -> int:
    """About what an update holds at its fullest, for a choice of what fits.

    `weights` of the decoder are there four times, with two moments and the gradient, of `itemsize`
    bytes; what layers keep for their gradient ("dots" or "full") is bf16. For 3B, all of it
    float32, XLA itself counts within a tenth of this.
    """
    D, F = text.hidden_size, text.intermediate_size
    products = (2 * text.num_heads + 2 * text.num_kv_heads) * text.head_dim + 2 * D + 2 * F
    kept = text.num_layers * (D + (products if remat == "dots" else 0))
    # A layer at work holds some of its products and their gradients in float32.
    logits = 3 * 4 * logit_chunk * text.vocab_size
    return 4 * itemsize * weights + 2 * tokens * kept + 4 * tokens * products + logits
