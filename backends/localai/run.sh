#!/usr/bin/env bash
# What LocalAI starts as its backend for diffusers:
#   EXTERNAL_GRPC_BACKENDS="diffusers:/path/to/octabox/backends/localai/run.sh" local-ai run
# LocalAI passes --addr HOST:PORT, and starts this file in its own folder.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

if [ -z "${XPU:-}" ] && [ -d /opt/intel ]; then
    export XPU=1
fi
export PYTORCH_ENABLE_MPS_FALLBACK="${PYTORCH_ENABLE_MPS_FALLBACK:-1}"

# The interpreter that OCTABOX_PYTHON names, that of `make diffusers`, that of this copy's environment, else the one that has octabox installed.
if [ -n "${OCTABOX_PYTHON:-}" ]; then
    exec "$OCTABOX_PYTHON" -m octabox backend "$@"
elif [ -x "$here/.venv/bin/python" ]; then
    exec "$here/.venv/bin/python" -m octabox backend "$@"
elif [ -x "$here/../../.venv/bin/python" ]; then
    exec "$here/../../.venv/bin/python" -m octabox backend "$@"
elif command -v octabox >/dev/null; then
    exec octabox backend "$@"
fi
echo "Octabox is not installed. Run 'make diffusers' in $here, or set OCTABOX_PYTHON to an interpreter that has it." >&2
exit 127
