"""`prunus VERB …`: finds the verb, makes its settings, runs it, prints, and sets the exit code.

0: done. 2: the user can mend it, one line says how. 130: stopped by Ctrl-C. 1: `data check` found
too much wrong; with a traceback, a bug of ours.
"""

import argparse
import gc
import importlib
import json
import os
import sys
from collections.abc import Sequence
from types import ModuleType

import prunus
from prunus.core.errors import PrunusError, printable, suggest

DONE, USER_ERROR, STOPPED = 0, 2, 130

VERBS: dict[str, str] = {
    "run": "run a recipe: any chain of verbs from a YAML, resumable",
    "demo": "make a data set, then compress a detector on it: the whole tour in minutes",
    "compress": "reach a target: adapt, prune, fine-tune, quantize, export, benchmark, report",
    "train": "train or fine-tune a detector: --freeze, --sparsity, --resume",
    "val": "measure precision, recall, mAP50, mAP50-95 and COCO's twelve",
    "prune": "remove channels and write a smaller model",
    "sweep": "try many prunings on many cores or a Ray cluster: one table, the Pareto front",
    "sensitivity": "measure what each group of channels is worth, ratio by ratio: find the cliffs",
    "factorize": "make two convolutions of one where that saves operations: low rank",
    "activation": "swap SiLU for ReLU or Hardswish; to be fine-tuned afterwards",
    "sparsify": "set weights to zero, by share or N:M: same shapes, no speed-up in dense runtimes",
    "export": "write a file for a runtime, checked against torch on real images",
    "quantize": "INT8 for ONNX Runtime or OpenVINO, with at most so much mAP lost",
    "benchmark": "time models side by side in one run",
    "predict": "find objects in pictures, videos, streams: drawn, txt, CSV, JSON lines, crops",
    "inspect": "show rows, widths, parameters, FLOPs and what --freeze N would freeze",
    "report": "make one HTML page of a compress run, or compare runs of any verbs side by side",
    "data check": "read a data set and name each problem with file and line",
    "data convert": "write a data set as YOLO, COCO or Pascal VOC, saying what cannot be kept",
    "data demo": "make a generated data set: plums, leaves and blossoms",
}
"""Verb → one line of help. Its code is `prunus.cli.<verb>`, with _ between two words."""


CALM = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait sleep, where the user has not said otherwise; as they come they spin,
which beside other work costs a multiple (benchmarks/threads.py)."""


class _Parser(argparse.ArgumentParser):
    """argparse, but its errors are one line, as all of ours are."""

    def error(self, message: str) -> None:  # type: ignore[override]
        print(f"{self.prog}: {_with_suggestion(self, message)}", file=sys.stderr)
        raise SystemExit(USER_ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for name, value in CALM.items():  # before torch is loaded
        os.environ.setdefault(name, value)
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return DONE if words else USER_ERROR
    if words[0] == "--version":
        print(f"prunus {prunus.__version__}")
        return DONE
    for length in (2, 1):
        verb = " ".join(words[:length])
        if verb in VERBS:
            return _run_verb(verb, words[length:])
    hint = suggest(words[0], VERBS)
    print(f"prunus: no verb '{words[0]}'.{hint} See prunus --help.", file=sys.stderr)
    return USER_ERROR


def _run_verb(verb: str, words: list[str]) -> int:
    from prunus.core.config import add_arguments  # late: `prunus --help` needs no pydantic
    from prunus.core.console import show_log

    module = importlib.import_module(f"prunus.cli.{verb.replace(' ', '_')}")
    parser = _Parser(prog=f"prunus {verb}", description=VERBS[verb] + ".", allow_abbrev=False)
    add_arguments(parser, module.SETTINGS)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print the report as JSON")
    output.add_argument("--quiet", action="store_true", help="print errors only")
    arguments = parser.parse_args(words)
    show_log(quiet=arguments.quiet)
    try:
        report = _report(module, arguments, verb)
    except PrunusError as error:
        for line in str(error).splitlines():
            print(f"prunus {verb}: {printable(line)}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt as stop:
        print(f"prunus {verb}: stopped. {stop}".rstrip(), file=sys.stderr)
        return STOPPED
    finally:
        gc.freeze()  # what lives to the end need not be searched for cycles there: 0.6 s with torch
    if arguments.json and _speaks():
        print(json.dumps(report, indent=2))
    return int(module.status(report)) if hasattr(module, "status") else DONE


def _report(module: ModuleType, arguments: argparse.Namespace, verb: str) -> object:
    from prunus.core.config import from_arguments

    return module.run(from_arguments(module.SETTINGS, arguments, verb))


def _speaks() -> bool:
    """Return whether this process is the only one, or the first of those of `torchrun`."""
    from prunus.core.distributed import started_together

    return not started_together() or os.environ.get("RANK", "0") == "0"


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  {verb:{width}}  {text}" for verb, text in VERBS.items()]
    return "\n".join(
        [
            "usage: prunus VERB [options]        (prunus VERB --help lists a verb's options)",
            "",
            "Train, prune and ship YOLOv5-family object detectors, and prove what each step did.",
            "",
            *lines,
        ]
    )


def _with_suggestion(parser: argparse.ArgumentParser, message: str) -> str:
    known = [flag for action in parser._actions for flag in action.option_strings]
    marker = "unrecognized arguments: "
    if not message.startswith(marker):
        return message
    word = message.removeprefix(marker).split()[0]
    return f"{word}: unknown option.{suggest(word, known)} See {parser.prog} --help."


if __name__ == "__main__":
    sys.exit(main())
