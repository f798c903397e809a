"""Looks as published code takes them: Pillow crops and resizes, Transformers makes patches."""

from collections.abc import Callable

import PIL
import transformers
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from benchmarks import region


def crops() -> tuple[dict, dict[str, Callable[[], object]]]:
    """Sets up the work of `benchmarks.region`."""
    # Crops have the sides that the processor would choose: it need not resize them again.
    processor = Qwen2VLImageProcessorPil(do_resize=False)
    about = {"transformers": transformers.__version__, "pillow": PIL.__version__}
    return about, {name: _cutter(name, processor) for name in region.WORKS}


def _cutter(name: str, processor) -> Callable[[], object]:
    pictures, asked = region.work(name)
    images = [Image.fromarray(picture) for picture in pictures]

    def call():
        cut = [
            images[one.image]
            .crop(one.box)
            .resize((one.width, one.height), Image.Resampling.LANCZOS)
            for one in asked
        ]
        return processor(images=cut, return_tensors="np")["pixel_values"]

    return call
