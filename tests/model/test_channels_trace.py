import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_modules

from prunus.core.errors import PruningError
from prunus.model.channels.call import Call
from prunus.model.channels.probe import map_tensors, tensors_in
from prunus.model.channels.rules import RULES
from prunus.model.channels.table import ChannelGroup, ChannelTable
from prunus.model.channels.ties import CONSTANT
from prunus.model.channels.trace import trace, trace_outputs
from prunus.model.channels.tracer import Tracer
from prunus.model.detector import Detector

IMAGE = torch.rand(1, 3, 8, 8)


class Net(nn.Module):
    """Two convolutions `a` and `b` of 4 channels, what `middle` makes of them, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1)
        self.head = nn.Conv2d(
            self.middle(torch.ones(1, 4, 2, 2), torch.ones(1, 4, 2, 2)).size(1), 2, 1
        )

    def middle(self, a: Tensor, b: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.a(x), self.b(x)))


def traced(middle: str) -> ChannelTable:
    """Trace a `Net` whose middle is an expression of a and b."""
    functions = {
        "add": lambda a, b: a + b,
        "cat": lambda a, b: torch.cat((a, b), dim=1),
        "gate": lambda a, b: a * b.mean(dim=1, keepdim=True).sigmoid(),
        "slice": lambda a, b: torch.cat((a[:, :3], b), dim=1),
        "all": lambda a, b: torch.cat((a[:, :4], b[:, 0:]), dim=1),
        "constant": lambda a, b: a * torch.arange(4.0).view(1, 4, 1, 1) + 0 * b,
        "scalar": lambda a, b: torch.cat((2 * a, 1 - b), dim=1),
        "chunk": lambda a, b: a.chunk(2, dim=1)[0] + b.chunk(2, dim=1)[1],
        "softmax": lambda a, b: torch.cat((a.softmax(dim=1), b.softmax(dim=2)), dim=1),
        "number": lambda a, b: a * float(b.mean()),
        "written": lambda a, b: torch.zeros_like(a).copy_(b) + a,
        "new": lambda a, b: torch.cat((torch.zeros_like(a), torch.relu_(b)), dim=1),
        "unknown": lambda a, b: torch.special.i0(a) + b,
    }  # fmt: skip

    class Made(Net):
        def middle(self, a: Tensor, b: Tensor) -> Tensor:
            result: Tensor = functions[middle](a, b)
            return result

    return trace(Made(), IMAGE)


def groups(table: ChannelTable) -> dict[str, ChannelGroup]:
    return {group.name: group for group in table.groups}


def frozen(table: ChannelTable) -> dict[str, str]:
    return {group.name: group.frozen for group in table.groups if group.frozen}


def test_a_convolution_reads_what_the_one_before_makes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.SiLU(), nn.Conv2d(4, 2, 1))
    table = trace(network, IMAGE)
    made = table.tags["0.weight", 0]
    assert made.unique().numel() == 4
    for place in [("0.bias", 0), ("1.weight", 0), ("1.running_var", 0), ("3.weight", 1)]:
        assert table.tags[place].equal(made), place
    assert table.tags["0.weight", 1].tolist() == [CONSTANT] * 3
    assert table.roles["0.weight", 0] == "filter" and table.roles["3.weight", 1] == "column"
    assert table.norms == {"0.weight": "1.running_mean"}


def test_outputs_stay_because_they_are_outputs() -> None:
    table = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)), IMAGE)
    assert frozen(table) == {"1": "an output of the model"}
    assert [group.name for group in table.free_groups] == ["0"]


def test_an_addition_ties_place_by_place() -> None:
    table = traced("add")
    assert table.tags["a.weight", 0].equal(table.tags["b.weight", 0])
    group = groups(table)["a+b"]
    assert len(group) == 4 and not group.frozen
    assert group.filters_per_channel().tolist() == [2, 2, 2, 2]


def test_a_concatenation_keeps_its_parts_apart() -> None:
    table = traced("cat")
    expected = torch.cat((table.tags["a.weight", 0], table.tags["b.weight", 0]))
    assert table.tags["head.weight", 1].equal(expected)
    (slot,) = groups(table)["b"].slots_of("column")
    assert slot.channel_of.tolist() == [CONSTANT] * 4 + [0, 1, 2, 3]


@pytest.mark.parametrize("middle", ["all", "scalar", "new"])
def test_nothing_is_pinned_without_need(middle: str) -> None:
    assert frozen(traced(middle)) == {"head": "an output of the model"}


@pytest.mark.parametrize(
    ("middle", "reasons"),
    [
        ("gate", {"b": "summed up with other channels"}),
        ("slice", {"a": "sliced at fixed positions by the model's own code"}),
        ("constant", {"a+b": "meets a constant or an input, whose length is fixed"}),
        ("softmax", {"a": "depends on the other channels"}),
        ("number", {"b": "summed up with other channels"}),
    ],
)
def test_what_mixes_channels_pins_them_and_says_why(middle: str, reasons: dict[str, str]) -> None:
    assert frozen(traced(middle)) == {**reasons, "head": "an output of the model"}


def test_the_parts_of_a_chunk_stay_equally_long() -> None:
    table = traced("chunk")
    a, b = table.tags["a.weight", 0], table.tags["b.weight", 0]
    assert a[:2].equal(a[2:]) and a.equal(b)


def test_a_copy_brings_its_channels() -> None:
    assert groups(traced("written"))["a+b"].frozen == ""


def test_one_value_for_many_channels_leaves_them_free() -> None:
    class Spatial(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.mask, self.head = (
                nn.Conv2d(3, 4, 1),
                nn.Conv2d(3, 1, 1),
                nn.Conv2d(4, 2, 1),
            )
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.scale * self.a(x) * self.mask(x))

    table = trace(Spatial(), IMAGE)
    assert groups(table)["a"].frozen == ""
    assert groups(table)["mask"].frozen == "is spread over all channels of another tensor"


def test_a_parameter_of_one_value_a_channel_belongs_to_them() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)
            self.scale, self.map = (
                nn.Parameter(torch.ones(4, 1, 1)),
                nn.Parameter(torch.ones(4, 8, 8)),
            )

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.scale * self.a(x) + self.map.exp())

    table = trace(Scaled(), IMAGE)
    assert table.tags["scale", 0].equal(table.tags["a.weight", 0])
    assert table.tags["map", 0].equal(table.tags["a.weight", 0])
    assert groups(table)["a"].frozen == ""


def test_an_unknown_operation_names_itself_its_module_and_the_way_out() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.i0(x)

    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(Odd()), nn.Conv2d(4, 2, 1))
    with pytest.raises(PruningError, match=r"aten\.\w*i0 in module '1\.0': no rule .* RULES in "):
        trace(network, IMAGE)


def test_a_rule_can_be_given_along() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.special.i0(x)

    def place_by_place(tracer: Tracer, call: Call) -> Tensor | None:
        return tracer.tags(call.tensor("self"))

    network = nn.Sequential(nn.Conv2d(3, 4, 1), Odd(), nn.Conv2d(4, 2, 1))
    odd = {"aten.i0": place_by_place, "aten.special_i0": place_by_place}
    table = trace(network, IMAGE, rules={**RULES, **odd})
    assert table.tags["2.weight", 1].equal(table.tags["0.weight", 0])


def test_an_operation_on_constants_needs_no_rule() -> None:
    class Preprocessed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(torch.special.i0(x))

    assert frozen(trace(Preprocessed(), IMAGE)) == {"conv": "an output of the model"}


def test_a_layer_called_twice_ties_what_it_reads() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.both = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.both(self.a(x)) + self.both(self.b(x))

    assert set(groups(trace(Twice(), IMAGE))) == {"a+b", "both"}


def test_a_batch_norm_behind_something_else_is_no_layers_own() -> None:
    plain = trace(nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)), IMAGE)
    behind = trace(
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(inplace=True), nn.BatchNorm2d(4)), IMAGE
    )
    assert plain.norms == {"0.weight": "1.running_mean"}
    assert behind.norms == {}


def test_the_network_is_left_as_it_was(nano: Detector) -> None:
    nano.train()
    nano.model[3].eval()
    for number, parameter in enumerate(nano.parameters()):
        parameter.requires_grad = number % 2 == 0
    calls: list[str] = []
    hook = nano.model[0].register_forward_hook(lambda *_: calls.append("hook"))
    modes = [module.training for module in nano.modules()]
    flags = [parameter.requires_grad for parameter in nano.parameters()]
    state = copy.deepcopy(nano.state_dict())
    hooks = len(torch_modules._global_forward_hooks), len(torch_modules._global_forward_pre_hooks)

    trace(nano, torch.rand(1, 3, 64, 64))

    assert [module.training for module in nano.modules()] == modes
    assert [parameter.requires_grad for parameter in nano.parameters()] == flags
    assert all(tensor.equal(state[name]) for name, tensor in nano.state_dict().items())
    assert calls == ["hook"] and hook.id in nano.model[0]._forward_hooks
    assert hooks == (
        len(torch_modules._global_forward_hooks),
        len(torch_modules._global_forward_pre_hooks),
    )


def test_it_is_left_as_it_was_after_a_failure_too() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Linear(5, 5)).train()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trace(network, IMAGE)
    assert network.training and network[0].training
    assert not torch_modules._global_forward_hooks


def test_flags_of_parameters_change_nothing(nano: Detector) -> None:
    image = torch.rand(1, 3, 64, 64)
    before = trace(nano, image)
    nano.requires_grad_(False)
    after = trace(nano, image)
    assert before.tags.keys() == after.tags.keys()
    assert all(before.tags[place].equal(after.tags[place]) for place in before.tags)
    assert before.frozen == after.frozen


def test_yolov5_is_tied_as_its_specification_says(nano: Detector) -> None:
    """Specification sheets yolov5 (4,752 batch-norm channels) and slimming (3.2.4)."""
    table = trace(nano, torch.rand(1, 3, 64, 64))
    assert sum(int(group.filters_per_channel().sum()) for group in table.free_groups) == 4752
    named = groups(table)
    assert len(named["model.4.cv1.conv+model.4.m.0.cv2.conv+model.4.m.1.cv2.conv"]) == 32
    assert "model.4.m.0.cv1.conv" in named, "inside a bottleneck: free"
    assert "model.13.m.0.cv2.conv" in named, "no shortcut in the neck: free"
    assert set(frozen(table)) == {"model.24.m.0", "model.24.m.1", "model.24.m.2"}
    assert set(table.frozen.values()) == {"an output of the model"}
    assert len(table.norms) == 57, "every convolution but the head's"


class Parts(nn.Module):
    """`Net`'s way with names: a layer, a block of two, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.block = nn.Sequential(nn.Conv2d(4, 5, 1), nn.ReLU(), nn.Conv2d(5, 6, 1))
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor, twice: bool = False) -> Tensor:
        x = self.stem(x)
        return self.head(self.block(x + x if twice else x))


@pytest.mark.parametrize(
    ("key", "kept"),
    [
        ("block", {"stem": "asked for in block"}),
        ("block.1", {"block.0": "asked for in block.1"}),
        ("block.*", {}),
        ("block.2.*", {"block.0": "asked for in block.2", "block.2": "asked for in block.2"}),
        ("*", {}),
        ("", {}),
    ],
)
def test_what_meets_a_module_can_be_pinned(key: str, kept: dict[str, str]) -> None:
    table = trace(Parts(), IMAGE, pinned={key: "asked for"})
    assert frozen(table) == {**kept, "head": "an output of the model"}


def test_the_models_own_code_can_be_pinned() -> None:
    table = trace(Parts(), {"x": IMAGE, "twice": True}, pinned={"*": "asked for"})
    assert frozen(table) == {"stem": "asked for", "head": "an output of the model"}


def test_a_pinned_module_must_exist() -> None:
    with pytest.raises(PruningError, match=r"no module 'blok'\. Did you mean 'block'\?"):
        trace(Parts(), IMAGE, pinned={"blok.*": "asked for"})


def test_hooks_that_pin_are_gone_afterwards() -> None:
    network = Parts()
    trace(network, IMAGE, pinned={"block": "asked for"})
    assert not network.block._forward_pre_hooks


def test_what_modules_return_can_be_followed() -> None:
    heard = dict(trace_outputs(Parts(), IMAGE))
    assert list(heard) == ["stem", "block.0", "block.1", "block.2", "block", "head", ""]
    assert heard["stem"][0][0, :, 0, 0].tolist() == [0, 1, 2, 3]
    assert heard["block.0"][0].equal(heard["block.1"][0])
    assert heard["stem"][0].shape == (1, 4, 8, 8)


def test_parameters_that_belong_to_no_group_are_listed() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused, self.conv = nn.Linear(2, 2), nn.Conv2d(3, 4, 1, bias=False)
            self.head = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            standardised = self.conv.weight - self.conv.weight.mean((1, 2, 3), keepdim=True)
            return self.head(torch.conv2d(x, standardised))

    table = trace(Odd(), IMAGE)
    assert table.apart == {
        "unused.weight": "no operation that is traced reads it",
        "unused.bias": "no operation that is traced reads it",
        "conv.weight": "summed up with other channels",
    }


def test_a_depthwise_layer_on_the_input_is_listed_with_its_reason() -> None:
    table = trace(nn.Sequential(nn.Conv2d(3, 6, 1, groups=3), nn.Conv2d(6, 2, 1)), IMAGE)
    reason = "each made from one channel of an input, whose number is fixed"
    assert frozen(table)["0"].startswith(reason)


def test_a_view_that_leaves_the_heads_open_lets_whole_heads_go() -> None:
    class Heads(nn.Module):
        def __init__(self, *sizes: int) -> None:
            super().__init__()
            self.conv, self.head, self.sizes = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 2, 1), sizes

        def forward(self, x: Tensor) -> Tensor:
            made = self.conv(x)
            return self.head(made.view(1, *self.sizes, 64).mul(2).view(1, -1, 8, 8))

    heads = trace(Heads(-1, 2), IMAGE).tags["conv.weight", 0]
    places = trace(Heads(3, -1), IMAGE).tags["conv.weight", 0]
    assert heads.tolist() == [0, 0, 2, 2, 4, 4]
    assert places.tolist() == [0, 1, 0, 1, 0, 1]


def test_operations_in_place_leave_the_tags_of_others_alone() -> None:
    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.one, self.two = nn.Conv2d(3, 8, 1), nn.Linear(8, 2), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            made = self.conv(x)
            turned = made.clone().transpose_(1, 3)
            return self.one(turned), self.two(made)

    table = trace(InPlace(), IMAGE)
    assert table.tags["one.weight", 1].equal(table.tags["two.weight", 1])


def test_nests_of_tensors_are_opened() -> None:
    @dataclass
    class Record:
        maps: list[Tensor]
        none: None
        text: str

    one, two, three = torch.ones(1), torch.ones(2), torch.ones(3)
    nest = {"a": Record([one], None, "x"), "b": (two, {"c": three, "d": 4})}
    assert [len(tensor) for tensor in tensors_in(nest)] == [1, 2, 3]
    doubled = map_tensors({"a": [one, {"b": two}], "c": 4, "d": None}, lambda tensor: 2 * tensor)
    assert doubled == {"a": [2 * one, {"b": doubled["a"][1]["b"]}], "c": 4, "d": None}
    assert doubled["a"][1]["b"].tolist() == [2, 2]
