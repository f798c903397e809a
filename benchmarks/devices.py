"""What devices can do at best: products of bf16 matrices, and bytes from their own memory."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Peak:
    """FLOP/s of dense bf16 products, bytes/s of memory."""

    flops: float
    bandwidth: float


PEAKS = {
    "NVIDIA H100 80GB HBM3": Peak(989e12, 3.35e12),
    "NVIDIA H100 PCIe": Peak(756e12, 2.0e12),
    "NVIDIA H200": Peak(989e12, 4.8e12),
    "NVIDIA A100-SXM4-40GB": Peak(312e12, 1.555e12),
    "NVIDIA A100-SXM4-80GB": Peak(312e12, 2.039e12),
    "NVIDIA A100 80GB PCIe": Peak(312e12, 1.935e12),
    "NVIDIA L4": Peak(121e12, 0.3e12),
    "TPU v5 lite": Peak(197e12, 0.819e12),
    "TPU v5": Peak(459e12, 2.765e12),
    "TPU v6 lite": Peak(918e12, 1.64e12),
}
"""By `device_kind` of JAX: TPU v5e, v5p and v6e go by "v5 lite", "v5" and "v6 lite".

Source: the data sheets of NVIDIA (without sparsity) and of Google Cloud.
"""
_SAME = {"TPU v5e": "TPU v5 lite", "TPU v5p": "TPU v5", "TPU v6e": "TPU v6 lite"}


def peak_of(kind: str, flops: float | None = None, bandwidth: float | None = None) -> Peak:
    """The peaks of a device; those that are given stand instead.

    Raises: ValueError for a device that is not known, where not both are given.
    """
    if flops and bandwidth:
        return Peak(flops, bandwidth)
    known = PEAKS.get(_SAME.get(kind, kind))
    if known is None:
        raise ValueError(
            f"the peaks of {kind!r} are not known, only those of {sorted(PEAKS)}: give them as "
            "--flops (bf16 FLOP/s) and --bandwidth (bytes/s of memory)"
        )
    return Peak(flops or known.flops, bandwidth or known.bandwidth)
