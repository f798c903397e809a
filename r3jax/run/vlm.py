"""A model in a notebook: logits of any input, answers with looks, and saving.

vlm = r3jax.from_pretrained("runs/look_again/rgrpo/export")
vlm.look_again("street.jpg", "What is the number on the red door?").answer
"""

import dataclasses
import functools
import os
from pathlib import Path
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageOps

from r3jax import paths
from r3jax.checkpoint import hf
from r3jax.data import chat, images
from r3jax.data.tokenizer import Tokenizer
from r3jax.kernels import attention
from r3jax.model import qwen
from r3jax.model.config import ModelConfig
from r3jax.records import Episode, Question
from r3jax.rollout import engine, sampling, weights
from r3jax.run import hf_inputs, pretrained, shapes

AnyImage: TypeAlias = str | Path | Image.Image | np.ndarray
"""A path, a Pillow image, or uint8 [height, width, 3]."""


def from_pretrained(directory: str | Path, dtype: str = "float32") -> "VLM":
    """Reads a Hugging Face directory of Qwen2.5-VL, ours or a released one.

    `dtype` ("float32", "bfloat16") is that of the weights, also when they are saved again, and of
    computation.

    Raises: CheckpointError (a ValueError) where the directory holds no such model.
    """
    directory = paths.of(directory)
    loaded = hf.load_hf(directory, dtype)
    return VLM(directory, loaded.config, loaded.params, dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class VLM:
    """A model with its tokenizer and chat format, which are read when first needed. Its `params`
    are on the host; they come to the device as what is asked of it needs them."""

    directory: Path
    config: ModelConfig
    params: dict
    dtype: str = "float32"

    @functools.cached_property
    def tokenizer(self) -> Tokenizer:
        return Tokenizer.from_dir(self.directory)

    @functools.cached_property
    def form(self) -> chat.ChatFormat:
        """How the model is asked: its r3jax.json, or Qwen2.5-VL's way where there is none."""
        return pretrained.chat_format(self.directory)

    @functools.cached_property
    def _model(self) -> qwen.Qwen25VL:
        backend = attention.default_backend(jax.default_backend(), self.dtype)
        return qwen.Qwen25VL(self.config, jnp.dtype(self.dtype), backend=backend)

    @functools.cached_property
    def _apply(self):
        model = self._model
        return jax.jit(lambda params, *inputs: model.apply({"params": params}, *inputs))

    @functools.cached_property
    def _on_device(self) -> dict:
        self.__dict__.pop("_policy", None)  # weights lie there once
        return jax.tree.map(jnp.asarray, self.params)

    @functools.cached_property
    def _policy(self) -> qwen.Policy:
        self.__dict__.pop("_on_device", None)
        return weights.sent(self.params, self._model.dtype)

    @functools.cached_property
    def _engines(self) -> dict[tuple, engine.Engine]:
        """The engines made so far, by the settings of `look_again` that need one of their own."""
        return {}

    def logits(
        self,
        input_ids: np.ndarray,
        pixel_values: np.ndarray | None = None,
        image_grid_thw: np.ndarray | None = None,
        attention_mask: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns float32 [B, T, V] for what Transformers' processor returns.

        input_ids int [B, T]; pixel_values float [patches, 1176] and image_grid_thw int [images, 3]
        (None without images); attention_mask [B, T] is 0 at padding, on either side: logits there
        are 0. Arrays are padded to a few sizes, so calls with many lengths compile few times.

        Raises: ValueError where image tokens and images do not belong together.
        """
        ids = _integers("input_ids", input_ids)
        mask = np.ones_like(ids) if attention_mask is None else np.asarray(attention_mask)
        if mask.shape != ids.shape:
            raise ValueError(
                f"attention_mask: expected the shape of input_ids {list(ids.shape)}, found "
                f"{list(mask.shape)}"
            )
        valid = mask.astype(bool)
        given = hf_inputs.convert(self.config, ids, pixel_values, image_grid_thw, valid)
        fields = (getattr(given, field.name) for field in dataclasses.fields(given))
        found = np.asarray(self._apply(self._on_device, *fields))
        out = np.zeros((*ids.shape, found.shape[-1]), np.float32)
        for row, keep in enumerate(valid):
            out[row, keep] = found[row, : keep.sum()]
        return out

    def look_again(
        self,
        image: AnyImage,
        question: str,
        temperature: float = 0.0,
        seed: int = 0,
        max_looks: int | None = None,
        max_text_tokens: int = 1024,
    ) -> Episode:
        """Answers a question about an image, looking closer wherever the model asks for it.

        `temperature` 0 is greedy; `max_looks` None is what the chat format says. There is room
        for `max_text_tokens` beside that many looks; text may use what looks leave. The episode
        has `answer`, `text`, `looks`, and every token with its source and log-prob.

        Raises: ImageError (a ValueError) where the image cannot be used.
        """
        asked = as_question(image, question)
        made = self._engine(temperature, max_looks, max_text_tokens)
        (group,) = engine.collect(made, self._policy, [asked], seed, step=0)
        return group.episodes[0]

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes a Hugging Face directory, tokenizer, processor and chat files carried along."""
        hf.save_hf(directory, self.config, self.params, carry_from=self.directory)

    def _engine(
        self, temperature: float, max_looks: int | None, max_text_tokens: int
    ) -> engine.Engine:
        settings = (temperature, max_looks, max_text_tokens)
        if settings not in self._engines:
            form = self.form
            if max_looks is not None:
                rules = dataclasses.replace(form.look_rules, max_looks=max_looks)
                form = dataclasses.replace(form, look_rules=rules)
            self._engines[settings] = engine.make_engine(
                self._model,
                self.tokenizer,
                form,
                shapes.buckets_for(form, self.tokenizer, text_tokens=max_text_tokens),
                engine.RolloutConfig(1, 1, sampling.SamplingConfig(temperature)),
            )
        return self._engines[settings]


def as_question(image: AnyImage, text: str) -> Question:
    """A question of one image, opened and turned to RGB."""
    if isinstance(image, str | os.PathLike):
        return Question(Path(image).name, text, (images.open_image(image),))
    if isinstance(image, Image.Image):
        turned = images.to_rgb(ImageOps.exif_transpose(image))
        return Question("image", text, (np.asarray(turned),))
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"image: expected uint8 [height, width, 3], found {image.dtype} {list(image.shape)}"
        )
    return Question("image", text, (image,))


def _integers(name: str, values: np.ndarray) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim != 2 or not values.size or not np.issubdtype(values.dtype, np.integer):
        raise ValueError(f"{name}: expected int [B, T], found {values.dtype} {list(values.shape)}")
    return values
