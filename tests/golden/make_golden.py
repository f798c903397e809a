"""Writes tests/golden/parity from the committed tiny checkpoints with torch and Transformers.

    python -m tests.golden.make_golden

Inputs are those of tests/model/sequences.py; only what Transformers makes of them is stored. Logits
are stored for every position but only every 19th word, beside the sum over all words.
"""

import json
import platform

import numpy as np
import PIL
import torch
import transformers
from PIL import Image

from r3jax import patches
from tests.model import oracle, released, sequences

OUT = released.GOLDEN / "parity"
EVERY = 19  # words whose logits are stored
GREEDY = 16  # tokens
LEAD = 0.01  # of the best logit before the second: 80 times what float32 makes of the same sum
GRADIENTS = (  # stored in full; of the others the norm
    "model.embed_tokens.weight",
    "model.layers.0.input_layernorm.weight",
    "model.layers.0.self_attn.k_proj.bias",
    "model.layers.1.self_attn.q_proj.weight",
    "model.layers.2.self_attn.o_proj.weight",
    "model.norm.weight",
    "visual.blocks.0.attn.qkv.bias",
    "visual.blocks.1.norm1.weight",
    "visual.blocks.2.attn.proj.weight",
    "visual.blocks.3.mlp.up_proj.bias",
    "visual.merger.ln_q.weight",
    "visual.merger.mlp.2.bias",
)
RESIZED = {  # sides of originals, and bounds of pixels, that the image processor is asked to fit
    "enlarge": (30, 41, 3136, 12845056),
    "shrink_height": (300, 60, 3136, 28 * 28 * 16),
    "shrink_width": (37, 211, 3136, 28 * 28 * 16),
    "thin": (7, 700, 3136, 12845056),
    "minimum": (40, 60, 28 * 28 * 12, 12845056),
    "bankers": (70, 98, 3136, 12845056),
}


def of_model(tag: str) -> dict[str, np.ndarray]:
    """Vision features, logits, log-probs, greedy tokens and gradients of one checkpoint."""
    model, config = oracle.tiny(tag), released.tiny_config(tag)
    allowed = sequences.num_words(config)
    alone = [oracle.features(model, [sequences.picture(name)])[0] for name in "ABCD"]
    out = {f"features/{name}": value for name, value in zip("ABCD", alone)}
    for name in sequences.CASES:
        tokens, images = sequences.golden_case(name, config)
        with torch.no_grad():
            logits = oracle.logits(model, tokens, images)
            logp = oracle.token_logprobs(logits, tokens)
        out[f"{name}/tokens"] = tokens
        out[f"{name}/logits"] = logits[:, ::EVERY].numpy()
        out[f"{name}/logsumexp"] = torch.logsumexp(logits, -1).numpy()
        out[f"{name}/logprobs"] = logp.numpy()
        out[f"{name}/greedy"] = oracle.greedy(model, tokens, images, GREEDY, allowed)
        looks = ((GREEDY, None),)
        anew, lead = oracle.look_again(model, tokens, images, looks, allowed, config)
        _check(lead > LEAD and (anew == out[f"{name}/greedy"]).all(), f"{tag} {name} {lead}")
    tokens, images = sequences.golden_case("one", config)
    for name, looks in sequences.LOOKS.items():
        looks = [(count, letter and sequences.picture(letter)) for count, letter in looks]
        suffix, lead = oracle.look_again(model, tokens, images, looks, allowed, config)
        _check(lead > LEAD, f"{tag} looks {name}: {lead}")
        out[f"looks/{name}"] = suffix
    return out | _gradients(model, config)


def _check(clear: bool, what: str) -> None:
    """Greedy tokens make a golden only where the choice is clear and the cache does not matter."""
    if not clear:
        raise SystemExit(f"greedy tokens are not clear ({what}): choose other inputs")


def _gradients(model, config) -> dict[str, np.ndarray]:
    tokens, images = sequences.golden_case("interleaved", config)
    weight = sequences.loss_weight(tokens, config)
    out = {"loss": np.float32(oracle.backward(model, tokens, images, weight))}
    gradients = oracle.gradients(model)
    names = sorted(gradients)
    out["gradient_names"] = np.array(names)
    out["gradient_norms"] = np.array([np.linalg.norm(gradients[n].astype(float)) for n in names])
    return out | {f"gradient/{name}": gradients[name] for name in GRADIENTS}


def of_processor() -> dict[str, np.ndarray]:
    """Pixels of the image processor; the resize is given to it as two passes, width first."""
    pil = transformers.models.qwen2_vl.image_processing_pil_qwen2_vl
    out = {"exact": oracle.pixels(sequences.draw(28, 56, seed=1))}
    for name, (height, width, low, high) in RESIZED.items():
        image = sequences.draw(height, width, seed=len(name))
        sides = pil.smart_resize(height, width, patches.FACTOR, low, high)
        picture = Image.fromarray(image).resize((sides[1], height), Image.Resampling.BICUBIC)
        picture = picture.resize((sides[1], sides[0]), Image.Resampling.BICUBIC)
        pixels = oracle.pixels(np.asarray(picture))
        out[f"{name}/sides"], out[f"{name}/bounds"] = np.array(sides), np.array([low, high])
        out[f"{name}/original"] = np.array([height, width])
        out[f"{name}/sha256"] = np.array(sequences.fingerprint(pixels))
    return out


def of_positions() -> dict[str, np.ndarray]:
    """M-RoPE positions of the golden sequences and of random ones."""
    model, config = oracle.tiny("tied"), released.tiny_config("tied")
    rng, out = np.random.RandomState(0), {}
    for case in range(8):
        grids = rng.randint(1, 9, (rng.randint(0, 5), 2))
        images = [np.zeros((rows * 28, columns * 28, 3), np.uint8) for rows, columns in grids]
        tokens = sequences.compose(images, config, seed=case)
        tokens = tokens[rng.randint(0, 3) :]
        out[f"{case}/tokens"], out[f"{case}/grids"] = tokens, grids
        out[f"{case}/positions"] = oracle.positions(model, tokens, images).astype(np.int16)
    return out


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    for tag in ("untied", "tied"):
        np.savez_compressed(OUT / f"{tag}.npz", **of_model(tag))
    np.savez_compressed(OUT / "processor.npz", **of_processor())
    np.savez_compressed(OUT / "positions.npz", **of_positions())
    versions = {module.__name__: module.__version__ for module in (torch, transformers, np, PIL)}
    manifest = {
        "command": "python -m tests.golden.make_golden",
        "versions": {"python": platform.python_version(), **versions},
        "dtype": "float32",
        "device": "cpu",
        "attention": "eager",
        "words_stored": f"every {EVERY}th",
    }
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
