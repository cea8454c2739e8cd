"""What zeros do save: bytes of the weights once they are compressed."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor

GZIP = 16 + zlib.MAX_WBITS
"""What tells zlib to write gzip's header and checksum."""
LEVEL = 6
"""gzip's own default."""
FORMAT = "fp16, gzip"


def compressed_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return how many bytes tensors take as float16, one after the other, after gzip.

    Args:
        tensors: A state dict; entries that are not floating-point are compressed as they are.
    """
    packer = zlib.compressobj(LEVEL, zlib.DEFLATED, GZIP)
    size = 0
    for tensor in tensors.values():
        plain = tensor.detach().cpu().contiguous()
        if plain.is_floating_point():
            plain = plain.to(torch.float16)
        size += len(packer.compress(plain.numpy().tobytes()))
    return size + len(packer.flush())
