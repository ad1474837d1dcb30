"""What a worker needs imported: the fork server imports it once for all workers, and a spawned worker first thing.

Nothing here may use an accelerator: no process that is forked from one that has done so can use it (`find_bad_fork`).
"""

import contextlib
import gc
import importlib
import os
import signal
import threading

# Ctrl-C goes to every process of the terminal; the server alone decides what it means.
signal.signal(signal.SIGINT, signal.SIG_IGN)
# diffusers asks for the best device while it is imported. Asked this way, CUDA's driver is not initialised to answer it.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
# Threads that spin while they wait for each other take the processors from other models; OpenMP reads this when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# What the libraries say while they are imported concerns nobody; a worker listens to them while it loads and runs.
os.environ["TRANSFORMERS_VERBOSITY"] = os.environ["DIFFUSERS_VERBOSITY"] = "error"

import octabox.engine.worker.process  # noqa: E402, F401, I001
from octabox.catalog.pipelines import load_catalog  # noqa: E402
from tqdm import tqdm  # noqa: E402

# tqdm's own lock is shared between processes: a semaphore that a worker which is killed would leave behind.
tqdm.set_lock(threading.RLock())

for _name in filter(None, os.environ.get("_OCTABOX_FORKSERVER_WARM", "").split(",")):
    _library, _, _class = _name.rpartition(".")
    # A class that cannot be imported fails with a good message when a model that needs it is loaded.
    with contextlib.suppress(Exception):
        getattr(importlib.import_module(_library), _class)

load_catalog()

# Nothing of this is garbage: a collection in a worker need not walk through it, nor copy its pages.
gc.collect()
gc.freeze()
