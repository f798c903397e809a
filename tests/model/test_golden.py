"""The model equals Transformers' Qwen2.5-VL on stored goldens; no torch needed.

The noise of float32 is 1.2e-4 for logits; the smallest real mistake moves them by 2.8e-3.
"""

import functools

import jax
import numpy as np
import pytest

from r3jax.model import qwen
from tests.model import cached, released, sequences

EVERY = 19  # words whose logits are stored
LOGITS, FEATURES, GRADIENTS = 5e-4, 1e-4, 1e-3
BUCKET = {"length": 160, "windows": 16}  # one shape for all sequences: one compilation

tags = pytest.mark.parametrize("tag", ["untied", "tied"])
cases = pytest.mark.parametrize("case", sequences.CASES)


@functools.cache
def golden(tag: str) -> dict[str, np.ndarray]:
    with np.load(released.GOLDEN / "parity" / f"{tag}.npz") as stored:
        return dict(stored)


@functools.cache
def tiny(tag: str):
    config = released.tiny_config(tag)
    return qwen.Qwen25VL(config), released.to_tree(released.tiny_tensors(tag), config)


def given(tag: str, case: str) -> tuple[np.ndarray, sequences.Inputs]:
    config = released.tiny_config(tag)
    tokens, images = sequences.golden_case(case, config)
    assert tokens.tolist() == golden(tag)[f"{case}/tokens"].tolist()
    return tokens, sequences.inputs(tokens, images, config, **BUCKET)


@tags
def test_vision_features(tag):
    pictures = [sequences.picture(name) for name in "ABCD"]
    found = sequences.features(*tiny(tag), pictures, windows=16)
    for name, features in zip("ABCD", found):
        np.testing.assert_allclose(
            features, golden(tag)[f"features/{name}"], rtol=0, atol=FEATURES, err_msg=name
        )


@tags
@cases
def test_logits_and_log_probs(tag, case):
    tokens, inputs = given(tag, case)
    logits = sequences.logits(*tiny(tag), inputs)
    stored = golden(tag)
    logsumexp = jax.nn.logsumexp(logits, axis=-1)
    logprobs = sequences.token_logprobs(logits, tokens)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=LOGITS)
    close(logits[:, ::EVERY], stored[f"{case}/logits"])
    close(logsumexp, stored[f"{case}/logsumexp"])
    close(logprobs, stored[f"{case}/logprobs"])


@tags
@cases
def test_greedy_tokens_with_cache(tag, case):
    _, inputs = given(tag, case)
    (suffix,) = cached.decode(*tiny(tag), inputs, [[(16, None)]])
    assert suffix.tolist() == golden(tag)[f"{case}/greedy"].tolist()


@tags
def test_greedy_tokens_with_looks_of_two_episodes_in_one_cache(tag):
    _, inputs = given(tag, "one")
    suffixes = cached.decode(*tiny(tag), inputs, list(sequences.LOOKS.values()))
    for name, suffix in zip(sequences.LOOKS, suffixes):
        assert suffix.tolist() == golden(tag)[f"looks/{name}"].tolist(), name


@tags
def test_gradients(tag):
    model, params = tiny(tag)
    tokens, inputs = given(tag, "interleaved")
    weight = np.pad(sequences.loss_weight(tokens, model.config), (0, 160 - len(tokens)))
    value_and_grad = jax.jit(jax.value_and_grad(lambda p: sequences.loss(model, p, inputs, weight)))
    loss, gradient = value_and_grad(params)
    stored = golden(tag)
    assert abs(float(loss) - float(stored["loss"])) < 1e-4
    found = released.of_tree(gradient, released.tiny_tensors(tag), model.config)
    assert sorted(found) == stored["gradient_names"].tolist()
    norms = [np.linalg.norm(found[name].astype(float)) for name in stored["gradient_names"]]
    np.testing.assert_allclose(norms, stored["gradient_norms"], rtol=GRADIENTS)
    full = [name.removeprefix("gradient/") for name in stored if name.startswith("gradient/")]
    assert len(full) == 12
    for name in full:
        expected = stored[f"gradient/{name}"]
        error = np.linalg.norm(found[name] - expected) / np.linalg.norm(expected)
        assert error < GRADIENTS, f"{name}: relative error {error}"
