"""Loading training data: r3jax's input pipeline, and a PyTorch DataLoader with Transformers.

    python -m benchmarks.load [--json] [--repetitions=7]

An epoch of 24 rows in VLIR's format, batches of four, from files to arrays: images of 1.08
megapixels, JPEG and PNG by turns, and two looks each, shown within the bounds that VLM-R3 trains
with. r3jax runs the pipeline and the packing of its SFT runs. The peer has a worker process a core,
which start before the clock does.

Both deliver the same token ids and as many patches of the same images, and neither does all that
the other does. The peer opens each crop as a file, as published data has them; r3jax cuts it from
the image. r3jax works out M-RoPE positions, features' places and windows of attention; the peer
leaves them to its model. r3jax's batches have the padded shapes of its buckets.
"""

import json
import os
import pathlib
import tempfile

import numpy as np
from PIL import Image

from benchmarks import cli, timing
from benchmarks.side import Side
from benchmarks.table import OURS, Result, Row
from r3jax.buckets import Buckets, ImageBucket
from r3jax.data import chat, frames, images, looks, vlir

PEER = "Transformers"
ROWS, BATCH, LOOKS = 24, 4, 2
SIZES = ((900, 1200), (1200, 900), (960, 1120))  # height and width of images in turn, pixels
SIDES = (160, 320)  # pixels: the least and the most that a box is wide or high
FORM = chat.ChatFormat(look_rules=looks.LookRules(frames.PixelBounds.of_tokens(4, 576)))
BUCKETS = Buckets(
    prompt_tokens=(1792,),
    suffix_tokens=(1792,),
    look_tokens=578,
    images=(ImageBucket(BATCH, 90, 64),),
    crops=(ImageBucket(BATCH * LOOKS, 36, 64),),
)


def write(directory: str | pathlib.Path, rows: int = ROWS) -> pathlib.Path:
    """Writes a data set in VLIR's format, its images and crops beside it; returns its JSON file."""
    directory = pathlib.Path(directory)
    made = [_write_row(directory, number) for number in range(rows)]
    path = directory / "sft.json"
    path.write_text(json.dumps(made), "utf-8")
    return path


def _write_row(directory: pathlib.Path, number: int) -> dict:
    rng = np.random.default_rng([5, number])
    name = f"{number}.jpg" if number % 2 else f"{number}.png"
    height, width = SIZES[number % len(SIZES)]
    Image.fromarray(_picture(rng, height, width)).save(directory / name)
    image = images.open_image(directory / name)  # crops are of what a reader of the file sees
    frame = frames.Frame.fit(height, width, vlir.VLIR_BOUNDS)
    texts, crops, served = [], [], []
    for turn in range(LOOKS):
        text = f"<think>The small print is here: {_box(rng, frame)}"
        look = looks.take_look(text, image, frame, served, FORM.look_rules)
        crops.append(f"{number}_{turn}.png")
        Image.fromarray(look.crop).save(directory / crops[-1], compress_level=1)
        texts.append(text)
        served.append(look)
    return {
        "image_path": name,
        "question": f"What does line {number} of the label say, and in which colour?",
        "img_crop_list": crops,
        "response_list": [*texts, f"It says {number}.</think><answer>{number}, red</answer>"],
    }


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Colours that change slowly, with grain: about as hard to decode as a photograph."""
    coarse = Image.fromarray(rng.integers(0, 256, (height // 60, width // 60, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    return np.clip(smooth + rng.integers(-6, 7, smooth.shape), 0, 255).astype(np.uint8)


def _box(rng: np.random.Generator, frame: frames.Frame) -> str:
    sides = rng.integers(*SIDES, 2, endpoint=True)
    corner = rng.integers(0, [frame.resized_width, frame.resized_height] - sides)
    return json.dumps({looks.BOX_KEY: [*map(int, corner), *map(int, corner + sides)]})


def run(repetitions: int = 5) -> Result:
    """Measures both sides."""
    with tempfile.TemporaryDirectory() as directory:
        given = {"path": str(write(directory))}
        workers = {**given, "workers": len(os.sched_getaffinity(0))}
        with (
            Side("benchmarks.peers.load", "loader", workers, has_children=True) as theirs,
            Side("benchmarks.ours.load", "loader", given) as ours,
        ):
            calls = {PEER: lambda: theirs.call("epoch"), OURS: lambda: ours.call("epoch")}
            timings = timing.alternate(calls, repetitions)
            about = {**theirs.about, **ours.about}
    examples = Row("examples", timings, ROWS, "examples")
    shown = Row("their images", timings, ROWS * (1 + LOOKS), "images")
    ratios = {"ratio_transformers": examples.ratio(PEER)}
    return Result("Loading training data", (examples, shown), ratios, about)


if __name__ == "__main__":
    cli.main(run, __doc__, dtypes=())
