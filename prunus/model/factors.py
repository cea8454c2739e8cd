"""`FactorisedConv`: one convolution as two, through fewer channels in between."""

from typing import Any

from torch import Tensor, nn

NOWHERE = "meta"
"""Layers made there take no memory and draw no random numbers."""


class FactorisedConv(nn.Module):
    """A k×k convolution to a few channels without bias, then a 1×1 convolution to all of them.

    It stands where a convolution of low rank stood: `conv.weight` becomes `conv.narrow.weight` and
    `conv.widen.weight`, by which names a file tells that there is a pair.
    """

    def __init__(self, narrow: nn.Conv2d, widen: nn.Conv2d) -> None:
        """Take the two as they are; only `widen` may have a bias."""
        super().__init__()
        self.narrow = narrow
        self.widen = widen

    @property
    def in_channels(self) -> int:
        return self.narrow.in_channels

    @property
    def rank(self) -> int:
        """The channels in between."""
        return self.narrow.out_channels

    @property
    def out_channels(self) -> int:
        return self.widen.out_channels

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.widen(self.narrow(x))
        return out


def pair_like(conv: nn.Conv2d, rank: int) -> FactorisedConv:
    """Return a pair that takes and gives what `conv` does; its weights have no values yet.

    Args:
        conv: Without groups; left as it is.
        rank: Channels in between.
    """
    shape: dict[str, Any] = {
        key: getattr(conv, key) for key in ("kernel_size", "stride", "padding", "dilation")
    }
    narrow = nn.Conv2d(conv.in_channels, rank, **shape, bias=False, device=NOWHERE)
    widen = nn.Conv2d(rank, conv.out_channels, 1, bias=conv.bias is not None, device=NOWHERE)
    pair = FactorisedConv(narrow, widen).train(conv.training)
    return pair.to(conv.weight.dtype).to_empty(device=conv.weight.device)
