"""The sections of a compress report: one file a subject, each a function `Compressed` → blocks.

A section that cannot be made raises `MissingError`, and the page says why.
"""

from collections.abc import Callable, Sequence

from prunus.report.blocks import Block
from prunus.report.compressed import Compressed
from prunus.report.sections.channels import channels
from prunus.report.sections.classes import classes
from prunus.report.sections.confusion import confusion
from prunus.report.sections.gammas import gammas
from prunus.report.sections.models import models
from prunus.report.sections.provenance import artefacts, environment, not_done, stages
from prunus.report.sections.search import options, trials
from prunus.report.sections.sensitivity import sensitivity
from prunus.report.sections.steps import steps
from prunus.report.sections.tradeoff import tradeoff
from prunus.report.sections.trainings import trainings

Maker = Callable[[Compressed], Sequence[Block]]

BEFORE_PICTURES: tuple[tuple[str, str, Maker], ...] = (
    ("models", "Models side by side", models),
    ("steps", "Step by step", steps),
    ("tradeoff", "Accuracy against latency", tradeoff),
    ("not-done", "What was not done", not_done),
    ("trials", "Search", trials),
    ("options", "Options tried", options),
    ("classes", "Accuracy of each class", classes),
)
AFTER_PICTURES: tuple[tuple[str, str, Maker], ...] = (
    ("confusion", "What is taken for what", confusion),
    ("channels", "Channels of each layer", channels),
    ("trainings", "Trainings", trainings),
    ("gammas", "Gammas", gammas),
    ("sensitivity", "Sensitivity", sensitivity),
    ("stages", "Stages and recipe", stages),
    ("environment", "Machine and packages", environment),
    ("artefacts", "Files", artefacts),
)
"""Address, heading and maker, in the order of the page."""
