"""config.json of a Hugging Face directory, read in its three layouts and written in the released.

Flat (released; Transformers 4.51): the text model's numbers stand at the root. Nested
(Transformers 5): they stand in `text_config`, with `rope_parameters`. Hybrid: both.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r3jax import paths
from r3jax.checkpoint.errors import CheckpointError
from r3jax.model.config import ModelConfig, TextConfig, VisionConfig

VISION_TOKENS = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}
# Our name, then theirs. Released vision_configs are sparse: what is absent is VisionConfig's own
# default, which is the released value (the defaults in Transformers match no released model).
VISION_FIELDS = {
    "depth": ("depth",),
    "hidden_size": ("hidden_size",),
    "num_heads": ("num_heads",),
    "intermediate_size": ("intermediate_size",),
    "out_hidden_size": ("out_hidden_size",),
    "full_attention_blocks": ("fullatt_block_indexes",),
    "window_size": ("window_size",),
    "patch_size": ("patch_size", "spatial_patch_size"),
    "merge_size": ("spatial_merge_size",),
    "temporal_patch_size": ("temporal_patch_size",),
    "in_channels": ("in_channels", "in_chans"),
    "tokens_per_second": ("tokens_per_second",),
}


SPECIAL_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id", "vision_token_id")


@dataclasses.dataclass(frozen=True)
class HFExtras:
    """What config.json says beside the model itself; `dtype` is the one it names, e.g. bfloat16."""

    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    pad_token_id: int | None = None
    vision_token_id: int | None = None
    dtype: str | None = None


def read_config(directory: Path) -> tuple[ModelConfig, HFExtras]:
    """Reads `directory`/config.json in any of the three layouts.

    Raises: CheckpointError that names the field for anything missing, contradictory, or of
    another kind of model.
    """
    file = paths.of(directory) / "config.json"
    if not file.is_file():
        what = file if file.parent.is_dir() else f"the directory {file.parent}"
        below = file.parent / "export"
        found = f" ({below} is one)" if (below / "config.json").is_file() else ""
        raise CheckpointError(f"{what} is missing; name a Hugging Face model directory{found}")
    try:
        config = json.loads(file.read_text())
    except ValueError as error:
        raise CheckpointError(f"{file} is not JSON: {error}") from error
    try:
        return parse_config(config)
    except (ValueError, TypeError) as error:  # the model's own checks raise ValueError
        raise CheckpointError(f"{file}: {error}") from error


def parse_config(config: Mapping[str, Any]) -> tuple[ModelConfig, HFExtras]:
    """Returns what a parsed config.json says; see `read_config`."""
    _check_objects(config)
    fields = _Fields(config)
    _refuse_other_models(config, fields)
    text = _text(fields)
    model = ModelConfig(
        text=text,
        vision=_vision(config.get("vision_config") or {}, text),
        tie_word_embeddings=bool(_first(config, "tie_word_embeddings")),
        **{name: _token(fields, name, text.vocab_size) for name in VISION_TOKENS},
    )
    special = {name: _first(config, name) for name in SPECIAL_TOKENS}
    dtype = _first(config, "dtype") or _first(config, "torch_dtype")
    if dtype is not None and not isinstance(dtype, str):
        raise CheckpointError(f"dtype: expected text such as 'bfloat16', found {dtype!r:.80}")
    return model, HFExtras(**special, dtype=dtype and dtype.removeprefix("torch."))


def released_config(config: ModelConfig, extras: HFExtras) -> dict[str, Any]:
    """Returns config.json in the released flat layout, which Transformers 4.51 to 5 all read.

    Raises: CheckpointError for a head_dim that Transformers would not use.
    """
    text, vision = config.text, config.vision
    if text.head_dim * text.num_heads != text.hidden_size:
        raise CheckpointError(
            f"head_dim {text.head_dim} times num_heads {text.num_heads} is not hidden_size "
            f"{text.hidden_size}; Transformers takes head_dim from the other two, so this "
            "model has no released layout"
        )
    tokens = {name: getattr(config, name) for name in VISION_TOKENS}
    special = dataclasses.asdict(extras)
    dtype = special.pop("dtype")
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": text.max_positions,
        "max_window_layers": text.num_layers,
        "num_attention_heads": text.num_heads,
        "num_hidden_layers": text.num_layers,
        "num_key_value_heads": text.num_kv_heads,
        "rms_norm_eps": text.rms_norm_eps,
        "rope_scaling": {"type": "mrope", "mrope_section": list(text.mrope_section)},
        "rope_theta": text.rope_theta,
        "sliding_window": 32768,
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": dtype or "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": _released_vision(vision),
        "vocab_size": text.vocab_size,
        **tokens,
        **{name: value for name, value in special.items() if value is not None},
    }


def _check_objects(config: Any) -> None:
    """Refuses anything but a JSON object, in the whole and in the parts that are objects."""
    if not isinstance(config, Mapping):
        raise CheckpointError(f"expected a JSON object, found {config!r:.80}")
    text, rope = config.get("text_config"), ("rope_parameters", "rope_scaling")
    parts = {name: config.get(name) for name in ("text_config", "vision_config", *rope)}
    if isinstance(text, Mapping):
        parts |= {f"text_config.{name}": text.get(name) for name in rope}
    for name, value in parts.items():
        if value is not None and not isinstance(value, Mapping):
            raise CheckpointError(f"{name}: expected a JSON object, found {value!r:.80}")


class _Fields:
    """Looks a text field up in `text_config` and at the root; they must not contradict."""

    def __init__(self, config: Mapping[str, Any]):
        self.root = config
        self.text = config.get("text_config") or {}

    def get(self, name: str, default: Any = None) -> Any:
        found = [part[name] for part in (self.text, self.root) if part.get(name) is not None]
        if len(found) == 2 and found[0] != found[1]:
            raise CheckpointError(
                f"{name} is {found[0]} in text_config and {found[1]} at the root; they must agree"
            )
        return found[0] if found else default

    def need(self, name: str) -> Any:
        value = self.get(name)
        if value is None:
            raise CheckpointError(f"{name} is missing, at the root and in text_config")
        return value


def _refuse_other_models(config: Mapping[str, Any], fields: _Fields) -> None:
    if config.get("model_type") != "qwen2_5_vl":
        raise CheckpointError(f"model_type is {config.get('model_type')!r}, expected 'qwen2_5_vl'")
    expected = {"hidden_act": "silu", "use_sliding_window": False}
    for name, value in expected.items():
        if fields.get(name, value) != value:
            raise CheckpointError(f"{name} is {fields.get(name)!r}; only {value!r} is supported")
    if config.get("quantization_config"):
        raise CheckpointError("quantization_config is set; take the unquantised release")


def _text(fields: _Fields) -> TextConfig:
    hidden_size, num_heads = fields.need("hidden_size"), fields.need("num_attention_heads")
    head_dim = fields.get("head_dim")
    if head_dim is None:
        if hidden_size % num_heads:
            raise CheckpointError(
                f"num_attention_heads {num_heads} does not divide hidden_size {hidden_size}, "
                "and head_dim is not given"
            )
        head_dim = hidden_size // num_heads
    mrope_section, rope_theta = _rope(fields)
    return TextConfig(
        vocab_size=fields.need("vocab_size"),
        hidden_size=hidden_size,
        num_layers=fields.need("num_hidden_layers"),
        num_heads=num_heads,
        num_kv_heads=fields.need("num_key_value_heads"),
        intermediate_size=fields.need("intermediate_size"),
        head_dim=head_dim,
        rms_norm_eps=fields.get("rms_norm_eps", TextConfig.rms_norm_eps),
        rope_theta=rope_theta,
        mrope_section=mrope_section,
        max_positions=fields.get("max_position_embeddings", TextConfig.max_positions),
    )


def _rope(fields: _Fields) -> tuple[tuple[int, ...], float]:
    """Returns M-RoPE's section and theta, whatever the names of the entries that hold them."""
    parts = (fields.text, fields.root)
    entries = [
        part[name]
        for part in parts
        for name in ("rope_parameters", "rope_scaling")
        if part.get(name)
    ]
    for entry in entries:
        kinds = {entry[name] for name in ("type", "rope_type") if name in entry}
        if not kinds <= {"mrope", "default"}:
            raise CheckpointError(f"rope type is {kinds}; expected 'mrope' or 'default', unscaled")
    sections = {tuple(entry["mrope_section"]) for entry in entries if "mrope_section" in entry}
    if len(sections) != 1:
        raise CheckpointError(
            f"mrope_section is {sorted(sections) or 'missing'}; expected one, in rope_scaling or "
            "rope_parameters"
        )
    thetas = {float(entry["rope_theta"]) for entry in entries if "rope_theta" in entry}
    thetas |= {float(part["rope_theta"]) for part in parts if "rope_theta" in part}
    if len(thetas) > 1:
        raise CheckpointError(f"rope_theta has contradicting values: {sorted(thetas)}")
    return sections.pop(), thetas.pop() if thetas else TextConfig.rope_theta


def _vision(vision: Mapping[str, Any], text: TextConfig) -> VisionConfig:
    if vision.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"vision hidden_act is {vision['hidden_act']!r}, expected 'silu'")
    values: dict[str, Any] = {"out_hidden_size": text.hidden_size}
    for ours, theirs in VISION_FIELDS.items():
        found = {
            vision[name] if ours != "full_attention_blocks" else tuple(vision[name])
            for name in theirs
            if vision.get(name) is not None
        }
        if len(found) > 1:
            raise CheckpointError(f"vision {' and '.join(theirs)} contradict: {sorted(found)}")
        if found:
            values[ours] = found.pop()
    return VisionConfig(**values)


def _released_vision(vision: VisionConfig) -> dict[str, Any]:
    named = {name: getattr(vision, ours) for ours, names in VISION_FIELDS.items() for name in names}
    blocks = list(vision.full_attention_blocks)
    return {
        "model_type": "qwen2_5_vl",
        "hidden_act": "silu",
        **named,
        "fullatt_block_indexes": blocks,
    }


def _token(fields: _Fields, name: str, vocab_size: int) -> int:
    token = fields.get(name, VISION_TOKENS[name])
    if not 0 <= token < vocab_size:
        raise CheckpointError(f"{name} is {token}; expected an id below vocab_size {vocab_size}")
    return token


def _first(config: Mapping[str, Any], name: str) -> Any:
    """Returns the root's value where it has one, as Transformers does, else text_config's."""
    text = config.get("text_config") or {}
    return text.get(name) if config.get(name) is None else config[name]
