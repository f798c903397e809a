"""The plain way to load the same rows: a PyTorch Dataset and Transformers' processors.

As the published SFT of VLM-R3 has it: image and crops are opened from their files, the processor
resizes and flattens them, the whole conversation is one text, and what the teacher did not write is
masked out of the labels. Workers are processes; what they made comes through shared memory.
"""

import functools
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence

import torch
import transformers
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from benchmarks import load, mini
from r3jax import patches
from r3jax.data import chat

IGNORED = -100  # a label that is not trained
IMAGE, FRAMED = "<|image_pad|>", "<|vision_start|><|image_pad|><|vision_end|>"
ASSISTANT = "<|im_start|>assistant\n"

Example = tuple[str, list[Image.Image]]


class Rows(torch.utils.data.Dataset):
    """Rows of a file in VLIR's format: the conversation as text, and its images, opened."""

    def __init__(self, path: str):
        self.root = pathlib.Path(path).parent
        self.rows = json.loads(pathlib.Path(path).read_text("utf-8"))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        row = self.rows[index]
        names = [row["image_path"], *row["img_crop_list"]]
        shown = [Image.open(self.root / name).convert("RGB") for name in names]
        reply = FRAMED.join(row["response_list"])
        question = chat.user_text(row["question"], load.FORM)
        text = (
            f"<|im_start|>system\n{load.FORM.system}<|im_end|>\n"
            f"<|im_start|>user\n{FRAMED}{question}<|im_end|>\n{ASSISTANT}{reply}<|im_end|>"
        )
        return text, shown


def collate(tokenizer, processor, examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """A batch as the model takes it: ids, mask and labels int64 [B, T], flat patches, grids."""
    shown = [image for _, images in examples for image in images]
    given = processor(images=shown, return_tensors="pt")
    counts = iter((given["image_grid_thw"].prod(1) // patches.UNIT).tolist())
    texts = [_expand(text, counts) for text, _ in examples]
    made = tokenizer(texts, padding=True, return_tensors="pt", add_special_tokens=False)
    labels = made["input_ids"].clone()
    visual = tokenizer.convert_tokens_to_ids([IMAGE, "<|vision_start|>", "<|vision_end|>"])
    labels[torch.isin(labels, torch.tensor(visual)) | (made["attention_mask"] == 0)] = IGNORED
    for row, (text, (_, images)) in enumerate(zip(texts, examples)):
        prompt = text[: text.index(ASSISTANT) + len(ASSISTANT)]
        labels[row, : len(tokenizer(prompt, add_special_tokens=False)["input_ids"])] = IGNORED
        assert len(images) == 1 + load.LOOKS
    return {**made, **given, "labels": labels}


def _expand(text: str, counts: Iterator[int]) -> str:
    """The text with as many image tokens as each image has."""
    first, *rest = text.split(IMAGE)
    return first + "".join(IMAGE * next(counts) + part for part in rest)


def data_loader(path: str, workers: int) -> torch.utils.data.DataLoader:
    """Batches of the rows in random order; no `workers` loads in this process."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(mini.BESIDE)
    tokenizer.padding_side = "right"
    bounds = load.FORM.image_bounds
    # Crops have their size already: these bounds leave them as they are.
    processor = Qwen2VLImageProcessorPil(
        size={"shortest_edge": bounds.min_pixels, "longest_edge": bounds.max_pixels}
    )
    return torch.utils.data.DataLoader(
        Rows(path),
        load.BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=functools.partial(collate, tokenizer, processor),
    )


def loader(path: str, workers: int) -> tuple[dict, dict[str, Callable[[], None]]]:
    """Sets up an epoch."""
    batches = data_loader(path, workers)

    def epoch() -> None:
        assert sum(len(batch["input_ids"]) for batch in batches) == load.ROWS

    about = {"torch": torch.__version__, "transformers": transformers.__version__}
    return about, {"epoch": epoch}
