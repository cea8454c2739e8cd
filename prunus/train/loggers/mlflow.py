"""MLflow: parameters and metrics of a run, to where MLFLOW_TRACKING_URI says."""

import os
import re
from contextlib import AbstractContextManager

import mlflow

from prunus.train.loggers.contract import (
    Histograms,
    Logger,
    RunFacts,
    Scalars,
    flat,
    refusals,
)

RUN_TAG = "prunus.run"
LONGEST = 6000
"""Characters of a parameter that MLflow takes."""
REFUSED = re.compile(r"[^\w/. -]")
"""What may not stand in the name of a metric; a colon may, but not on Windows."""
RETRIES = "2"
"""Of a request; MLflow's own 7 take minutes each time when the server is down."""


def open_logger(facts: RunFacts) -> Logger:
    """Begin a run in the experiment that is set, called like the folder, or go on with it."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", RETRIES)
    return _MLflow(facts)


class _MLflow:
    def __init__(self, facts: RunFacts) -> None:
        with _refusals():
            earlier = mlflow.search_runs(
                filter_string=f"tags.`{RUN_TAG}` = '{facts.identity}'",
                output_format="list",
                max_results=1,
            )
            if earlier:
                mlflow.start_run(run_id=earlier[0].info.run_id)
                return
            name = facts.folder.resolve().name
            mlflow.start_run(run_name=name, tags={RUN_TAG: facts.identity})
            mlflow.log_params({k: str(v)[:LONGEST] for k, v in flat(facts.settings).items()})

    def add_scalars(self, values: Scalars, epoch: int) -> None:
        with _refusals():
            mlflow.log_metrics({_allowed(k): v for k, v in values.items()}, step=epoch)

    def add_histograms(self, values: Histograms, epoch: int) -> None:
        """MLflow has no histograms: their means stand for them."""
        self.add_scalars({f"{name}/mean": float(a.mean()) for name, a in values.items()}, epoch)

    def close(self, complete: bool) -> None:
        with _refusals():
            mlflow.end_run("FINISHED" if complete else "KILLED")


def _allowed(name: str) -> str:
    return REFUSED.sub("-", name.replace("%", "pc"))


def _refusals() -> AbstractContextManager[None]:
    return refusals("mlflow", "Check MLFLOW_TRACKING_URI.")
