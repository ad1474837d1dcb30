"""Try Octabox on an accelerator, without a network, in at most ten minutes: one command, a JSON file and a page.

Models of full size with random weights are written to a temporary folder and served as a user would serve them. Each check has
a limit, what does not fit into the budget is listed as not run, and results are written after every check.
docs/reference/gpu-check.md describes the figures.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

SOURCE = str(Path(__file__).parents[1] / "src")

# The checkout is tried, whether it is installed or not; processes that are started find it too.
sys.path.insert(0, SOURCE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (SOURCE, os.environ.get("PYTHONPATH"))))
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"

from gpu_checks.command import main  # noqa: E402 (needs the path above)

if __name__ == "__main__":
    sys.exit(main(__doc__))
