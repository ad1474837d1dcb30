"""What the fork server imports once for all workers; imported by name, first thing, in the fork server itself."""

import contextlib
import importlib
import os
import signal

# Ctrl-C goes to every process of the terminal; the server alone decides what it means.
signal.signal(signal.SIGINT, signal.SIG_IGN)

import octabox.engine.worker.process  # noqa: E402

for _name in filter(None, os.environ.get("OCTABOX_FORKSERVER_WARM", "").split(",")):
    _library, _, _class = _name.rpartition(".")
    # A class that cannot be imported fails with a good message when a model that needs it is loaded.
    with contextlib.suppress(Exception):
        getattr(importlib.import_module(_library), _class)
