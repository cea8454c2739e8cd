"""The intervals of an evaluation: which figures, of what, with how many resamples."""

from dataclasses import dataclass

from prunus.evaluate.bootstrap import COVERAGE, draw, interval, resample
from prunus.evaluate.evaluation import Evaluation

Range = tuple[float, float]


@dataclass(frozen=True)
class Pair:
    """95 % intervals; None where no resample had a label."""

    map50: Range | None
    map50_95: Range | None


@dataclass(frozen=True)
class Intervals:
    """The intervals of the mean and of each class that has labels, by index.

    Attributes:
        mean: Of mAP50 and mAP50-95.
        centre: Mean of the resamples' mAP50 and mAP50-95. Where it is far from the figure itself,
            many classes have few labels, and the intervals lie beside it.
        per_class: Of each class's own two.
        names: Of the classes.
        resamples: How many.
        seed: Of them.
    """

    mean: Pair
    centre: tuple[float, float]
    per_class: tuple[Pair, ...]
    names: tuple[str, ...]
    resamples: int
    seed: int

    def as_dict(self) -> dict[str, object]:
        """Return plain values for a report."""
        return {
            "coverage": COVERAGE,
            "resamples": self.resamples,
            "seed": self.seed,
            **vars(self.mean),
            "resampled_mean": dict(zip(vars(self.mean), self.centre, strict=True)),
            "per_class": [
                {"name": name, **vars(pair)}
                for name, pair in zip(self.names, self.per_class, strict=True)
            ],
        }


def intervals_of(evaluation: Evaluation, *, resamples: int, seed: int) -> Intervals:
    """Return the percentile intervals of an evaluation's mAP over its images."""
    counts = draw(len(evaluation.detections), resamples, seed)
    found = resample(evaluation.matches, counts)
    columns = zip(found.ap50.T, found.ap50_95.T, strict=True)
    return Intervals(
        mean=Pair(interval(found.map50), interval(found.map50_95)),
        centre=(float(found.map50.mean()), float(found.map50_95.mean())),
        per_class=tuple(Pair(interval(half), interval(all_ten)) for half, all_ten in columns),
        names=tuple(row.name for row in evaluation.per_class),
        resamples=resamples,
        seed=seed,
    )
