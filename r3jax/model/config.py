"""The numbers that make a Qwen2.5-VL: released sizes and how they fit together."""

import dataclasses

from r3jax import patches


def _divides(small_name: str, small: int, large_name: str, large: int) -> None:
    if large % small:
        raise ValueError(f"{small_name} {small} must divide {large_name} {large}")


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """The vision tower. Blocks outside `full_attention_blocks` attend within windows."""

    depth: int = 32
    hidden_size: int = 1280
    num_heads: int = 16
    intermediate_size: int = 3420
    out_hidden_size: int = 3584
    full_attention_blocks: tuple[int, ...] = (7, 15, 23, 31)
    window_size: int = 112
    patch_size: int = 14
    merge_size: int = 2
    temporal_patch_size: int = 2
    in_channels: int = 3
    tokens_per_second: int = 2

    def __post_init__(self):
        _divides("vision num_heads", self.num_heads, "hidden_size", self.hidden_size)
        fixed = {
            "window_size": patches.WINDOW * patches.FACTOR,
            "patch_size": patches.PATCH,
            "merge_size": patches.MERGE,
            "temporal_patch_size": patches.TEMPORAL,
            "in_channels": 3,
        }
        for name, expected in fixed.items():
            if getattr(self, name) != expected:
                raise ValueError(
                    f"vision {name} is {getattr(self, name)}; every Qwen2.5-VL has {expected}, "
                    "and no other value is supported"
                )
        if any(not 0 <= block < self.depth for block in self.full_attention_blocks):
            raise ValueError(
                f"full_attention_blocks {self.full_attention_blocks} must lie within "
                f"0..{self.depth - 1}"
            )
        if self.head_dim % 4:
            raise ValueError(f"vision head width {self.head_dim} must be a multiple of 4 (rotary)")

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def patch_values(self) -> int:
        return self.in_channels * self.temporal_patch_size * self.patch_size**2


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Adapters of a `rank` beside every product of the decoder's layers, which add
    alpha / rank * (x @ a) @ b to it.

    Source: LoRA (Hu et al. 2021), on all linear layers as in QLoRA (Dettmers et al. 2023).
    """

    rank: int = 32
    alpha: float = 32.0

    def __post_init__(self):
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError(f"lora needs a rank and an alpha above 0, found {self}")

    @property
    def scale(self) -> float:
        return self.alpha / self.rank


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """The decoder. `mrope_section` splits half of a head among time, height and width; `lora` says
    which adapters it has, which no released model does."""

    vocab_size: int = 152064
    hidden_size: int = 3584
    num_layers: int = 28
    num_heads: int = 28
    num_kv_heads: int = 4
    intermediate_size: int = 18944
    head_dim: int = 128
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    mrope_section: tuple[int, int, int] = (16, 24, 24)
    max_positions: int = 128000
    lora: LoraConfig | None = None

    def __post_init__(self):
        _divides("text num_kv_heads", self.num_kv_heads, "num_heads", self.num_heads)
        if 2 * sum(self.mrope_section) != self.head_dim:
            raise ValueError(
                f"mrope_section {self.mrope_section} must add up to half of head_dim "
                f"{self.head_dim}, found {sum(self.mrope_section)}"
            )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A whole Qwen2.5-VL."""

    text: TextConfig = TextConfig()
    vision: VisionConfig = VisionConfig()
    tie_word_embeddings: bool = False
    image_token_id: int = 151655
    video_token_id: int = 151656
    vision_start_token_id: int = 151652
    vision_end_token_id: int = 151653

    def adapted(self, lora: LoraConfig | None) -> "ModelConfig":
        """The same model with these adapters, or without any."""
        return dataclasses.replace(self, text=dataclasses.replace(self.text, lora=lora))

    def __post_init__(self):
        if self.vision.out_hidden_size != self.text.hidden_size:
            raise ValueError(
                f"vision out_hidden_size {self.vision.out_hidden_size} must equal the text "
                f"hidden_size {self.text.hidden_size}: image features stand beside word embeddings"
            )


SIZES = {
    "3B": ModelConfig(
        TextConfig(151936, 2048, 36, 16, 2, 11008),
        VisionConfig(out_hidden_size=2048),
        tie_word_embeddings=True,
    ),
    "7B": ModelConfig(),
    "32B": ModelConfig(
        TextConfig(152064, 5120, 64, 40, 8, 27648),
        VisionConfig(intermediate_size=3456, out_hidden_size=5120),
    ),
    "72B": ModelConfig(
        TextConfig(152064, 8192, 80, 64, 8, 29568),
        VisionConfig(intermediate_size=3456, out_hidden_size=8192),
    ),
}
"""The released sizes by name. Source: config.json of Qwen/Qwen2.5-VL-*-Instruct."""
