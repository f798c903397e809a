"""Model directories for the tests of entries, made once a process."""

import functools
import pathlib
import tempfile

from r3jax.checkpoint import hf
from r3jax.data import chat_file
from tests import tiny


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()  # removed with the process


def _save(name: str, params) -> pathlib.Path:
    beside = pathlib.Path(_folder().name) / f"{name}_files"
    tiny.tk().save(beside)
    chat_file.save_chat(tiny.FORM, beside)
    model = beside.with_name(name)
    hf.save_hf(model, tiny.model().config, params, carry_from=beside)
    return model


@functools.cache
def untrained() -> pathlib.Path:
    """The tiny model with random weights."""
    return _save("untrained", tiny.params())


@functools.cache
def looking() -> pathlib.Path:
    """The tiny model that writes boxes on the first questions of `tiny`."""
    return _save("looking", tiny.looking_params())
