"""The table of verdicts about batches of every tiny pipeline, stored in ``batches.yaml``.

Add the classes that it lacks, or those named again, by ``python tests/pipelines/batching.py [--seconds N] [NAME ...]``;
``make docs`` copies the table to docs/reference/pipelines.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from pathlib import Path
from unittest.mock import patch

import yaml

KEPT = Path(__file__).with_name("batches.yaml")

HEAD = "# Whether tiny pipelines give each member of a batch its own output; written by tests/pipelines/batching.py.\n"

#: The verdict about classes whose batches are proved, and about those that are not probed.
PROVED, NO_LISTS, NO_BATCH = "proved", "takes no lists", "its inputs are those of one request"


def read_verdicts() -> dict[str, str]:
    """Return the stored verdicts by class."""
    return (yaml.safe_load(KEPT.read_text(encoding="utf-8")) or {}) if KEPT.exists() else {}


def write_verdicts(verdicts: dict[str, str]) -> None:
    """Store verdicts."""
    text = yaml.safe_dump(dict(sorted(verdicts.items())), sort_keys=False, width=120, allow_unicode=True)
    KEPT.write_text(HEAD + text, encoding="utf-8")


def find_verdict(name: str, folder: Path) -> str:
    """Return the verdict about a class, by a probe of a tiny model.

    Args:
        name: The class.
        folder: Where the model is saved.
    """
    from accelerator.trials import Trial  # noqa: PLC0415 (torch is not needed to read the table)
    from makers import pipelines  # noqa: PLC0415
    from octabox.catalog.pipelines import load_catalog  # noqa: PLC0415
    from octabox.engine.batches import verdicts  # noqa: PLC0415
    from octabox.engine.batches.keys import batch_key  # noqa: PLC0415
    from octabox.engine.worker.batches.joined import JoinedRunner  # noqa: PLC0415
    from octabox.engine.worker.batches.proof import BatchProof  # noqa: PLC0415
    from octabox.engine.worker.loading.models import LoadedModel  # noqa: PLC0415
    from octabox.engine.worker.runner import Runner  # noqa: PLC0415

    tiny = pipelines()[name]
    call = Trial(tiny, folder).calls[0]
    entry = load_catalog().pipeline(call.runs_as)
    if not entry.batches:
        return NO_LISTS
    if batch_key(call, entry) is None:
        return NO_BATCH
    pipe = tiny.make()
    pipe.set_progress_bar_config(disable=True)
    if getattr(pipe, "safety_checker", None) is not None:
        pipe.safety_checker = None  # With random weights, it replaces images.
    model = LoadedModel(pipe, "cpu")
    with patch.object(verdicts, "cache_folder", return_value=folder / ".cache"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        runner = Runner(model)
        return BatchProof(runner, JoinedRunner(runner, model), model).find_reason(call, lambda: None) or PROVED


def main() -> None:
    """Probe classes, and store each verdict at once, so that the program can be ended and started again."""
    from accelerator.trials import silence_libraries  # noqa: PLC0415 (as above)
    from makers import pipelines  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="when to end, at the latest")
    parser.add_argument("names", nargs="*", help="classes; those without a verdict, if none is named")
    options = parser.parse_args()
    silence_libraries()
    end = time.monotonic() + options.seconds
    left = options.names or [name for name in pipelines() if name not in read_verdicts()]
    for name in left:
        if pipelines()[name].missing or time.monotonic() > end:
            continue
        with tempfile.TemporaryDirectory() as folder:
            try:
                verdict = find_verdict(name, Path(folder))
            except Exception as error:  # noqa: BLE001 (a class that cannot be tried must not end the program)
                print(f"{name}: {error!r}", flush=True)  # noqa: T201 (it is a program)
                continue
        print(f"{name}: {verdict}", flush=True)  # noqa: T201
        write_verdicts({**read_verdicts(), name: verdict})


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])  # Not this folder, in which a file has the name of a library.
    main()
