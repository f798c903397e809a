"""The axis letters of every signature and einsum in r3jax, and the array types that use them.

B  groups of a batch (one question each)      G  episodes of a group
T  query tokens                               S  key tokens, or slots of a suffix cache
P  prefix (prompt) tokens                     L  decoder layers
N  query heads                                K  key/value heads
H  width of a head                            D  model width
V  vocabulary                                 F  features (merged image tokens) in a flat table
R  rows of images, or of packed tokens        W  attention windows of a row
U  patches of a window (slots)                C  values of one flattened patch (3 * 2 * 14 * 14)
J  tokens of a packed stream's row            I  image tokens of one prompt or look

Types are checked while pytest runs and cost nothing otherwise.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

Array = jax.Array | np.ndarray

__all__ = ["Array", "Bool", "Float", "Int", "UInt8"]
