import copy

import pytest
import torch
from torch import Tensor, nn

from prunus.core.errors import PruningError
from prunus.model.channels.table import ChannelTable
from prunus.model.channels.trace import trace
from prunus.model.detector import Detector
from prunus.prune.surgery import mask_, remove

IMAGE = torch.rand(1, 3, 8, 8)


def pair() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 2, 1)
    ).eval()


def first(table: ChannelTable, *channels: int) -> Tensor:
    return table.free_groups[0].tags[list(channels)]


def test_kept_channels_compute_exactly_what_they_did_before() -> None:
    network = pair()
    table = trace(network, IMAGE)
    smaller = remove(network, table, first(table, 1, 4))
    assert smaller[:3](IMAGE).equal(network[:3](IMAGE)[:, [0, 2, 3, 5]])
    assert smaller[3].weight.equal(network[3].weight[:, [0, 2, 3, 5]])


def test_modules_remember_their_new_sizes() -> None:
    network = pair()
    table = trace(network, IMAGE)
    conv, norm, _, head = remove(network, table, first(table, 0))
    assert (conv.out_channels, norm.num_features, head.in_channels) == (5, 5, 5)
    assert norm.running_mean.shape == norm.running_var.shape == conv.bias.shape == (5,)
    assert (conv.in_channels, head.out_channels) == (3, 2)


def test_a_depthwise_convolution_has_as_many_groups_as_channels() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 1), nn.Conv2d(6, 12, 3, groups=6), nn.ConvTranspose2d(12, 4, 2)
    )
    table = trace(network, IMAGE)
    _, deep, up = remove(network, table, first(table, 2, 3))
    assert (deep.groups, deep.in_channels, deep.out_channels) == (4, 4, 8)
    assert (up.in_channels, up.out_channels) == (8, 4)


def test_the_original_is_left_alone() -> None:
    network = pair()
    state = copy.deepcopy(network.state_dict())
    table = trace(network, IMAGE)
    remove(network, table, first(table, 0, 1))
    assert network[0].out_channels == 6
    assert all(tensor.equal(state[name]) for name, tensor in network.state_dict().items())


def test_flags_modes_and_hooks_go_with_the_copy() -> None:
    network = pair()
    network[0].weight.requires_grad = False
    network[1].train()
    network[2].register_forward_hook(lambda *_: None)
    table = trace(network, IMAGE)
    conv, norm, act, head = remove(network, table, first(table, 0))
    assert not conv.weight.requires_grad and conv.bias.requires_grad
    assert norm.training and not head.training
    assert len(act._forward_hooks) == 1
    assert isinstance(conv.weight, nn.Parameter) and not isinstance(norm.running_mean, nn.Parameter)


def test_frozen_parameters_are_cut_like_any_other(nano: Detector) -> None:
    """Official checkpoints hold requires_grad=False; Torch-Pruning removes nothing from them."""
    image = torch.rand(1, 3, 64, 64)
    table = trace(nano, image)
    tags = table.free_groups[0].tags[:8]
    learning = remove(nano, table, tags)
    resting = remove(nano.requires_grad_(False), table, tags)
    assert resting.model[0].conv.out_channels == 8
    assert not any(parameter.requires_grad for parameter in resting.parameters())
    state = resting.state_dict()
    assert all(tensor.equal(state[name]) for name, tensor in learning.state_dict().items())


def test_only_the_layers_of_a_channel_are_touched(nano: Detector) -> None:
    table = trace(nano, torch.rand(1, 3, 64, 64))
    group = next(group for group in table.free_groups if group.name == "model.4.m.0.cv1.conv")
    smaller = remove(nano, table, group.tags[:8]).state_dict()
    changed = {
        name for name, tensor in nano.state_dict().items() if not tensor.equal(smaller[name])
    }
    block = "model.4.m.0"
    norm = {f"{block}.cv1.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var")}
    assert changed == {f"{block}.cv1.conv.weight", f"{block}.cv2.conv.weight", *norm}


def test_a_shared_parameter_stays_shared() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 2, 1)
    )
    network[2].weight = network[1].weight
    table = trace(network, IMAGE)
    smaller = remove(network, table, first(table, 0))
    assert smaller[1].weight is smaller[2].weight
    assert smaller[1].weight.shape == (3, 3, 1, 1)
    assert smaller(IMAGE).shape == network(IMAGE).shape


def test_a_masked_channel_says_nothing_and_is_not_heard() -> None:
    network = pair()
    table = trace(network, IMAGE)
    mask_(network, table, first(table, 2))
    assert network[:2](IMAGE)[:, 2].eq(0).all()
    assert network[3].weight[:, 2].eq(0).all()
    assert network[1].running_var[2] == 1, "statistics stay"


def test_a_channel_of_the_output_must_stay() -> None:
    network = pair()
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match=r"channel \d+ must stay: it is an output of the model"):
        remove(network, table, table.groups[1].tags[:1])


def test_a_layer_is_never_emptied() -> None:
    network = pair()
    table = trace(network, IMAGE)
    with pytest.raises(PruningError, match="0: all 6 channels would be removed"):
        remove(network, table, table.free_groups[0].tags)


def test_norms_without_weights_remember_their_new_sizes() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 6, 1),
        nn.GroupNorm(6, 6, affine=False),
        nn.InstanceNorm2d(6),
        nn.BatchNorm2d(6, affine=False),
        nn.Conv2d(6, 2, 1),
    )
    table = trace(network, IMAGE)
    smaller = remove(network, table, first(table, 0, 3))
    assert (smaller[1].num_groups, smaller[1].num_channels) == (4, 4)
    assert smaller[2].num_features == smaller[3].num_features == 4
    assert smaller(IMAGE).shape == network(IMAGE).shape


def test_embeddings_prelus_and_linears_remember_their_new_sizes() -> None:
    network = nn.Sequential(
        nn.Embedding(10, 6), nn.Linear(6, 8), nn.PReLU(), nn.Linear(8, 5, bias=False)
    )
    words = torch.randint(0, 10, (2, 7))
    table = trace(network, words)
    tags = torch.cat([group.tags[:2] for group in table.free_groups])
    smaller = remove(network, table, tags)
    assert (smaller[0].embedding_dim, smaller[0].num_embeddings) == (4, 10)
    assert (smaller[1].in_features, smaller[1].out_features) == (4, 6)
    assert smaller(words).shape == (2, 7, 5)


def test_what_remembers_its_sizes_apart_from_its_tensors_is_left_whole() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.enter, self.norm = nn.Linear(5, 8), nn.LayerNorm(8)
            self.attention, self.inner = nn.MultiheadAttention(8, 2), nn.Linear(8, 12)
            self.leave = nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(self.enter(x))
            return self.leave(self.inner(x + self.attention(x, x, x)[0]))

    network = Tokens()
    table = trace(network, torch.rand(7, 2, 5))
    (group,) = table.free_groups
    assert group.name == "inner"
    smaller = remove(network, table, group.tags[:4])
    assert smaller.norm.normalized_shape == (8,) and smaller.attention.embed_dim == 8
    assert smaller(torch.rand(7, 2, 5)).shape == (7, 2, 3)
