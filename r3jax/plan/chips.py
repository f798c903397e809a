"""TPU chips and how many of them there are: what they compute, hold and exchange.

>>> slice_of("v5e:4x8").chips, slice_of("v5e:4x8").chip.name
(32, 'v5e')
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip.

    `flops` of bfloat16 a second; `bandwidth` of its main memory and `link` of one of its links, one
    way, in bytes a second; `hbm` is what a program may use of the memory, in bytes, as the compiler
    has it; `axes` of the torus, whose rings close where a side has a multiple of `closes` chips (of
    three axes: where every side has); `host` are the chips of one machine, `options` what its
    compiler is told besides.

    Source: the pages of each version at https://cloud.google.com/tpu/docs (peak compute, HBM
    bandwidth, half of the bidirectional interconnect bandwidth of a chip, over its links); limits
    of memory are those that the compiler names when a program does not fit.
    """

    name: str
    flops: float
    bandwidth: float
    link: float
    hbm: float
    axes: int
    closes: int
    host: tuple[int, ...]
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)


_ONE_DEVICE = {"chip_config_name": "megacore"}  # of the two cores of a chip

CHIPS = {
    "v4": Chip("v4", 275e12, 1200e9, 50e9, 31.25 * GIB, 3, 4, (2, 2, 1), _ONE_DEVICE),
    "v5e": Chip("v5e", 197e12, 819e9, 50e9, 15.75 * GIB, 2, 16, (2, 2)),
    "v5p": Chip("v5p", 459e12, 2765e9, 100e9, 95.74 * GIB, 3, 4, (2, 2, 1)),
    "v6e": Chip("v6e", 918e12, 1638e9, 100e9, 31.25 * GIB, 2, 16, (2, 2)),
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips in a block of so many along each axis, with a name such as v5p:2x2x4."""

    chip: Chip
    sides: tuple[int, ...]

    @property
    def topology(self) -> str:
        return f"{self.chip.name}:{'x'.join(map(str, self.sides))}"

    @property
    def chips(self) -> int:
        return math.prod(self.sides)

    @property
    def host(self) -> tuple[int, ...]:
        """The chips of one of its machines along each axis."""
        return tuple(min(pair) for pair in zip(self.chip.host, self.sides))

    def rings(self, coordinates: Sequence[Sequence[int]]) -> list[tuple[int, bool]]:
        """The rings of links through chips at these coordinates: for each axis along which they
        reach, of how many chips it is, and whether it closes."""
        closes = self.chip.closes
        whole = all(side % closes == 0 for side in self.sides)
        found = []
        for axis, side in enumerate(self.sides):
            reached = len({place[axis] for place in coordinates})
            if reached > 1:
                alone = side % closes == 0 if self.chip.axes == 2 else whole
                found.append((reached, reached == side and alone))
        return found

    def bandwidth(self, coordinates: Sequence[Sequence[int]]) -> float:
        """Bytes a second that a chip sends around all rings through chips at these coordinates, in
        both directions where one closes."""
        rings = self.rings(coordinates)
        return self.chip.link * (sum(2 if closed else 1 for _, closed in rings) or 1)


def slice_of(topology: str) -> Slice:
    """Returns the chips that a name such as v5e:4x4 or v5p:2x2x4 stands for.

    Raises: ValueError for a kind that is not known or another number of axes than it has.
    """
    kind, _, sides = topology.partition(":")
    if kind not in CHIPS:
        raise ValueError(
            f"topology {topology!r}: expected one of {', '.join(CHIPS)} and the chips along each "
            "axis, as in v5e:4x4"
        )
    chip = CHIPS[kind]
    numbers = sides.split("x")
    if len(numbers) != chip.axes or not all(n.isdigit() and int(n) > 0 for n in numbers):
        example = "x".join("2" * chip.axes)
        raise ValueError(
            f"topology {topology!r}: expected the chips along {chip.axes} axes of {kind}, as in "
            f"{kind}:{example}"
        )
    return Slice(chip, tuple(int(n) for n in numbers))
