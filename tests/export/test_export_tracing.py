"""The traced graph computes what the detector does, and keeps each pixel's channels together."""

import onnx
import torch

from prunus.export.quantize.graph import plan_of, readers_of
from prunus.export.tracing import PixelwiseDetect, decoded
from prunus.model.blocks import Detect
from prunus.model.detector import Detector
from prunus.model.fuse import fuse

SIZE_HW = (64, 96)


def features(head: Detect, batch: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    widths = [conv.get_parameter("weight").shape[1] for conv in head.m]
    return [
        torch.randn((batch, width, 8 >> level, 12 >> level), generator=generator)
        for level, width in enumerate(widths)
    ]


def test_channels_go_to_anchors_and_values_by_hand() -> None:
    head = Detect([1], classes=1, anchors=torch.ones(1, 2, 2))
    numbers = {"weight": torch.arange(12.0).view(12, 1, 1, 1), "bias": torch.zeros(12)}
    head.m[0].load_state_dict(numbers)
    with torch.no_grad():
        (found,) = PixelwiseDetect(head)([torch.tensor([[[[1.0, 10.0, 100.0]]]])])
    assert found.shape == (1, 2, 1, 3, 6)
    assert found[0, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert found[0, 1, 0, 2].tolist() == [600, 700, 800, 900, 1000, 1100]


def test_it_gives_the_very_numbers_of_the_heads_own_order(detector: Detector) -> None:
    given = features(detector.head, 2)
    with torch.no_grad():
        right, found = detector.head(given), PixelwiseDetect(detector.head)(given)
    assert all(map(torch.equal, found, right))
    assert all(maps.is_contiguous() for maps in found)


def test_the_graph_gives_the_very_boxes_of_the_fused_detector(detector: Detector) -> None:
    images, fused = torch.rand(2, 3, *SIZE_HW), fuse(detector)
    with torch.no_grad():
        assert torch.equal(decoded(detector)(images), fused.decode(fused(images)))
    assert type(detector.head) is Detect, "the detector is left as it is"


def test_weights_keep_their_names(detector: Detector) -> None:
    names = [name.removeprefix("detector.") for name in decoded(detector).state_dict()]
    assert names == list(fuse(detector).state_dict())


def test_each_last_convolution_is_read_with_its_channels_last(onnx_content: bytes) -> None:
    model = onnx.load_model_from_string(onnx_content)
    readers = readers_of(model.graph.node)
    last = plan_of(model).head
    assert len(last) == 3
    for conv in last:
        (reader,) = readers[conv.output[0]]
        assert reader.op_type == "Transpose"
        assert list(reader.attribute[0].ints) == [0, 2, 3, 1]
