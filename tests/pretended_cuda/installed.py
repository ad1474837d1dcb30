"""Pretend NVML, and CUDA where torch has none, in the process that imports this, such as a fork server."""

from pretended_cuda import install

install()
