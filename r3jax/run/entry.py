"""What the programs in launch/ share: one line for a mistake of the user, a traceback for ours."""

import argparse
import sys
import traceback
import typing
from collections.abc import Callable

from absl import logging

from r3jax import host, hosts
from r3jax.hosts import HostError
from r3jax.model.layers import Dtype
from r3jax.run import watch
from r3jax.run.session import NonFiniteError, Stopped

KNOWN = (ValueError, OSError, ImportError, NonFiniteError, HostError)
"""Errors that may explain themselves."""


def call(name: str, function: Callable[[], None]) -> int:
    """Calls `function`; returns the exit code of the program `name`.

    An error that r3jax raises about its input, and a file that cannot be read or written, are
    printed to stderr without traceback (exit code 1). Everything else is a bug and keeps its own.
    A run that a signal has stopped, with all saved, ended as it should. One of several hosts that
    fails ends at once, and tells the others.
    """
    host.keep_freed_memory()
    logging.set_verbosity(logging.ERROR)  # Orbax tells a long story otherwise
    try:
        function()
    except Stopped as told:
        print(f"{name}: {told}")
    except BaseException as error:  # whatever it is: other hosts wait for this one
        watch.await_lost(error)
        if isinstance(error, KNOWN) and is_about_input(error):
            print(f"{name}: {error}", file=sys.stderr)
        elif hosts.several():
            traceback.print_exc()
        else:
            raise
        watch.fail(error)
        return 1
    return 0


def add_dtype(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of programs that ask a model."""
    parser.add_argument(
        "--dtype",
        default="float32",
        choices=typing.get_args(Dtype),
        help="of weights and computation; bfloat16 takes half the memory",
    )


def is_about_input(error: Exception) -> bool:
    """Whether an error explains itself: r3jax raised it, or it is about a file.

    A ValueError from inside JAX or NumPy says nothing to a user and is no such error, and neither
    is an ImportError of Python's own, which carries the module's name.
    """
    if isinstance(error, OSError):
        return True
    if isinstance(error, ImportError) and error.name is not None:
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals["__name__"] if trace is not None else ""
    return module.split(".")[0] == "r3jax"
