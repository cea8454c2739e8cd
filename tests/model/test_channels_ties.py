import pytest
import torch

from prunus.model.channels.arrays import changing_dimensions, compact, distinct
from prunus.model.channels.ties import CONSTANT, Ties
from prunus.model.channels.tracer import Tracer


def test_tags_that_meet_through_others_have_one_root() -> None:
    ties = Ties()
    tags = ties.new(5)
    ties.unite(tags[[0, 3]], tags[[1, 1]])
    assert ties.roots(tags).tolist() == [0, 0, 2, 0, 4]
    assert ties.all_roots().tolist() == [0, 0, 2, 0, 4]


def test_a_constant_has_no_root() -> None:
    ties = Ties()
    ties.new(1)
    assert ties.roots(torch.tensor([CONSTANT, 0])).tolist() == [CONSTANT, 0]


@pytest.mark.parametrize("seed", range(5))
def test_classes_are_the_connected_components(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    pairs = torch.randint(0, 40, (2, 25), generator=random)
    ties = Ties()
    tags = ties.new(40)
    ties.unite(tags[pairs[0]], tags[pairs[1]])
    joined = torch.eye(40, dtype=torch.bool)
    joined[pairs[0], pairs[1]] = joined[pairs[1], pairs[0]] = True
    for _ in range(6):  # paths of up to 64 edges
        joined = (joined.float() @ joined.float()) > 0
    roots = ties.roots(tags)
    assert ((roots[:, None] == roots[None, :]) == joined).all()


def test_what_is_only_repeated_is_stored_once() -> None:
    tags = torch.arange(4).view(1, 4, 1).expand(2, 4, 3)
    assert compact(tags).shape == (1, 4, 1)
    assert changing_dimensions(tags.clone()) == [1]
    assert distinct(torch.tensor([3, CONSTANT, 1, 3])) == [1, 3]


def test_after_a_view_the_same_places_of_the_parts_are_tied() -> None:
    tracer = Tracer(torch.nn.Identity())
    tags = tracer.ties.new(6).view(1, 2, 3)
    settled = tracer.settle(tags)
    assert changing_dimensions(settled) == [2]
    assert tracer.ties.all_roots().tolist() == [0, 1, 2, 0, 1, 2]
