"""`--activation`: what a training starts with, and what its weights say afterwards."""

from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch

from prunus.core.config import parse
from prunus.core.errors import ConfigError
from prunus.model.activations import ACTIVATIONS
from prunus.model.detector import Detector
from prunus.model.swap import with_activation
from prunus.train import start
from prunus.train.config import TrainConfig
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights

MakeSettings = Callable[..., TrainConfig]
CLASSES = ("red", "green", "blue")


@pytest.fixture
def weights(nano: Detector, tmp_path: Path) -> Path:
    save_weights(with_activation(nano, "hardswish"), tmp_path / "hard.safetensors")
    return tmp_path / "hard.safetensors"


def test_the_flag_knows_every_activation() -> None:
    literal, nothing = get_args(TrainConfig.model_fields["activation"].annotation)
    assert set(get_args(literal)) == set(ACTIVATIONS)
    assert nothing is type(None)


@pytest.mark.parametrize(
    ("word", "name"), [(None, None), ("none", None), ("ReLU", "relu"), ("leaky_relu", "leaky_relu")]
)
def test_words_of_the_flag(word: str | None, name: str | None) -> None:
    settings = parse(TrainConfig, {"activation": word})
    assert settings.activation == name
    assert parse(TrainConfig, settings.plain()) == settings


def test_an_unknown_word_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^--activation: expected 'silu', 'relu', .*got 'gelu'"):
        parse(TrainConfig, {"activation": "gelu"})


@pytest.mark.parametrize(
    ("word", "name"), [(None, "hardswish"), ("relu", "relu"), ("silu", "silu")]
)
@pytest.mark.parametrize("names", [CLASSES, ("red", "plum")])
def test_weights_keep_theirs_unless_told(
    settings: MakeSettings, weights: Path, word: str | None, name: str, names: tuple[str, ...]
) -> None:
    given = settings(cfg="", weights=weights, activation=word)
    detector, _ = start.starting_point(given, names)
    assert detector.spec.activation == name
    stem = load_weights(weights).detector.state_dict()["model.0.conv.weight"]
    assert detector.state_dict()["model.0.conv.weight"].equal(stem)
    image = torch.rand(1, 3, 64, 64)
    again = with_activation(detector, name).eval()
    assert again(image)[0].equal(detector.eval()(image)[0])


def test_from_scratch_the_architecture_says_it(settings: MakeSettings, tmp_path: Path) -> None:
    shipped = Path(start.__file__).parent.parent / "model" / "archs" / "yolov5n.yaml"
    own = tmp_path / "mine.yaml"
    own.write_text(shipped.read_text() + "activation: nn.ReLU()\n")
    for word, name in ((None, "relu"), ("hardswish", "hardswish")):
        detector, _ = start.starting_point(settings(cfg=str(own), activation=word), CLASSES)
        assert detector.spec.activation == name


@pytest.mark.integration
def test_trained_with_another_activation_the_weights_say_so_and_the_teacher_keeps_its_own(
    settings: MakeSettings, weights: Path, tmp_path: Path
) -> None:
    given = settings(cfg="", weights=weights, activation="relu", teacher=weights, epochs=1)
    result = start.run(given, tmp_path / "run")
    trained = load_weights(result.last)
    assert trained.detector.spec.activation == "relu"
    assert trained.history[-1].settings["activation"] == "relu"
    assert load_weights(weights).detector.spec.activation == "hardswish"
    before = load_weights(weights).detector.state_dict()
    after = trained.detector.state_dict()
    assert not after["model.0.conv.weight"].equal(before["model.0.conv.weight"])
