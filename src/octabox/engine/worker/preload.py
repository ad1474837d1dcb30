"""Import what a worker needs: in the fork server once for all workers, and in a spawned worker at its start.

Nothing here may use an accelerator: no process forked from one that has done so can use it (`find_bad_fork`).
"""

import contextlib
import gc
import importlib
import os
import signal
import threading

# Imports create a million objects that stay: visiting them again and again costs a sixth of the time, and frees nothing.
gc.disable()
# Ctrl-C is sent to every process of the terminal, and handled by the server alone.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# diffusers detects the default device while it is imported; with this setting that does not initialize CUDA's driver.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
# Threads that busy-wait take CPU time from other models; OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Warnings during imports concern no request; a worker sets the level again before it loads.
os.environ["TRANSFORMERS_VERBOSITY"] = os.environ["DIFFUSERS_VERBOSITY"] = "error"

import octabox.engine.worker.process.serving  # noqa: E402, F401, I001
from octabox.catalog.pipelines import load_catalog  # noqa: E402
from tqdm import tqdm  # noqa: E402

# tqdm's default lock is a semaphore shared between processes, which a killed worker would leak.
tqdm.set_lock(threading.RLock())

for _name in filter(None, os.environ.get("_OCTABOX_FORKSERVER_WARM", "").split(",")):
    _library, _, _class = _name.rpartition(".")
    # A class that cannot be imported raises a clear error when a model that needs it is loaded.
    with contextlib.suppress(Exception):
        getattr(importlib.import_module(_library), _class)

load_catalog()

# Nearly all of this stays: a collection in a worker need not visit it, which would copy its pages.
gc.freeze()
gc.enable()
