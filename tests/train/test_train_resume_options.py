"""Whatever is switched on: a training that is stopped and resumed ends in the same bits."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from prunus.model.detector import Detector
from prunus.train import start
from prunus.train.checkpoint import LAST, STATE, read_state
from prunus.train.config import TrainConfig
from prunus.train.interrupt import Interrupt
from prunus.weights.files import load_weights
from prunus.weights.native import save_weights

pytestmark = pytest.mark.integration
MakeSettings = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    "values",
    [
        {
            "image_weights": True, "multi_scale": True, "freeze": ["backbone"],
            "sparsity": "auto", "regulariser": "group", "mask_eval": 2,
        },
        {
            "teacher_features": 0.5, "repeat_factor": 0.9, "cache": "none", "save_period": 2,
            "activation": "relu",
        },
    ],
    ids=["images and gammas", "teacher and repeats"],
)  # fmt: skip
def test_the_same_bits_after_a_stop_in_the_second_epoch(
    settings: MakeSettings,
    nano: Detector,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    values: dict[str, object],
) -> None:
    if "teacher_features" in values:
        save_weights(nano, tmp_path / "teacher.safetensors")
        values = {**values, "teacher": tmp_path / "teacher.safetensors"}
    wanted = settings(epochs=2, **values)
    through, stopped = tmp_path / "through", tmp_path / "stopped"
    start.run(wanted, through)
    asked = iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(Interrupt, "requested", lambda _: next(asked) >= 4)
        with pytest.raises(KeyboardInterrupt):
            start.run(wanted, stopped)
    assert 0 < read_state(stopped / STATE)["position"]["epoch"] < 2
    start.resume(stopped)
    states = [read_state(folder / STATE) for folder in (through, stopped)]
    for part in ("detector", "average", "teacher"):
        one, other = (state[part] for state in states)
        assert all(torch.equal(tensor, other[name]) for name, tensor in one.items()), part
    one, other = (
        load_weights(folder / LAST).detector.state_dict() for folder in (through, stopped)
    )
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    activations = {load_weights(f / LAST).detector.spec.activation for f in (through, stopped)}
    assert activations == {values.get("activation", "silu")}
    assert (through / "epoch2.safetensors").exists() == ("save_period" in values)
