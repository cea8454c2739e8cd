"""`--multi-scale`: which sizes, and that they are a function of seed, epoch and batch."""

import pytest
import torch

from prunus.train.scales import Scales


@pytest.mark.parametrize(
    ("image_size", "stride", "sizes"),
    [
        (64, 32, {32, 64, 96}),
        (320, 32, set(range(160, 481, 32))),
        (640, 64, set(range(320, 961, 64))),
    ],
)
def test_every_multiple_of_the_stride_from_half_to_one_and_a_half(
    image_size: int, stride: int, sizes: set[int]
) -> None:
    scales = Scales(image_size, stride, seed=0)
    assert {scales.size(epoch, batch) for epoch in range(5) for batch in range(100)} == sizes


def test_sizes_depend_on_seed_epoch_and_batch_alone() -> None:
    def sizes(seed: int, epoch: int) -> list[int]:
        return [Scales(640, 32, seed).size(epoch, batch) for batch in range(20)]

    assert sizes(0, 1) == sizes(0, 1)
    assert sizes(0, 1) != sizes(0, 2)
    assert sizes(0, 1) != sizes(1, 1)


def test_images_are_brought_to_the_size() -> None:
    scales = Scales(64, 32, seed=0)
    images = torch.arange(64.0).repeat(2, 3, 64, 1)
    for batch in range(9):
        size = scales.size(0, batch)
        resized = scales.resize(images, 0, batch)
        assert resized.shape == (2, 3, size, size)
        middle = resized[..., 1:-1]
        wanted = (torch.arange(size) + 0.5) * 64 / size - 0.5
        torch.testing.assert_close(middle[0, 0, 0], wanted[1:-1])
