"""How Orbax writes NumPy arrays here: one after the other, so that they fit beside the model.

Orbax's own handler copies every array of a checkpoint before it writes the first, and writes all at
once. A model that came from files as NumPy arrays would lie in memory three times.
"""

from collections.abc import Sequence

import jax
import numpy as np
import orbax.checkpoint as ocp


class _Uncopied(np.ndarray):
    """A view whose deep copy is itself: nobody changes it while `serialize` waits."""

    def __deepcopy__(self, memo: dict) -> "_Uncopied":
        return self


class OneByOne(ocp.type_handlers.NumpyHandler):
    """Writes an array, waits until it is on disk, goes on with the next."""

    async def serialize(
        self,
        values: Sequence[np.ndarray],
        infos: Sequence[ocp.type_handlers.ParamInfo],
        args: Sequence[ocp.SaveArgs] | None = None,
    ) -> list:
        """Returns no futures: nothing is left to wait for."""
        for index, (value, info) in enumerate(zip(values, infos)):
            own_args = None if args is None else args[index : index + 1]
            for written in await super().serialize([value.view(_Uncopied)], [info], own_args):
                written.result()
        return []


def registry() -> ocp.type_handlers.TypeHandlerRegistry:
    """What handles which leaves: NumPy arrays one by one, the rest as Orbax always does."""
    as_always = (int, float, jax.Array)
    return ocp.type_handlers.create_type_handler_registry(
        *((kind, ocp.type_handlers.get_type_handler(kind)) for kind in as_always),
        (np.ndarray, OneByOne()),
    )
