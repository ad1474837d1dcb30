"""What exceptions of the libraries become."""

from __future__ import annotations

import logging
import pickle
import sys
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from embedded import Calls
from octabox import errors
from octabox.config.model import ModelConfig
from octabox.engine.worker.failures import as_generation_error, as_load_error, library_warnings

#: An answer of the Hub; which HTTP library it is of depends on huggingface_hub's version.
ANSWER: Any = httpx.Response(403, request=httpx.Request("GET", "https://huggingface.co"))


@pytest.mark.parametrize(
    ("raised", "kind", "words"),
    [
        (GatedRepoError("x", response=ANSWER), errors.GatedModelError, "HF_TOKEN"),
        (RepositoryNotFoundError("x", response=ANSWER), errors.DownloadError, "Check the name"),
        (OfflineModeIsEnabled("x"), errors.DownloadError, "HF_HUB_OFFLINE"),
        (LocalEntryNotFoundError("x"), errors.DownloadError, "network"),
        (ImportError("needs torchsde"), errors.MissingDependencyError, "torchsde"),
        (NameError("name 'ftfy' is not defined"), errors.MissingDependencyError, "ftfy"),
        (MemoryError(), errors.OutOfMemoryError, "Memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), errors.OutOfMemoryError, "Memory ran out"),
        (FileNotFoundError("no config.json"), errors.LoadError, "config.json"),
        (ValueError("size mismatch"), errors.IncompatibleWeightsError, "size mismatch"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_failed_load_is_told_by_its_cause(raised: Exception, kind: type[errors.OctaboxError], words: str) -> None:
    """Each cause has its own class and its own advice, and names the model."""
    error = as_load_error(raised, ModelConfig(name="mine", model="owner/name"))

    assert kind is type(error)
    assert words in str(error)
    assert "mine" == error.model


def test_a_cause_is_found_behind_other_errors() -> None:
    """A library that wraps the cause in an error of its own hides nothing."""
    wrapped = OSError("could not load")
    wrapped.__cause__ = MemoryError()
    told = as_load_error(wrapped, ModelConfig(name="mine", model="owner/name"))

    assert errors.OutOfMemoryError is type(told)


@pytest.mark.parametrize(
    ("raised", "steps", "kind"),
    [
        (ValueError("bad size"), 0, errors.InvalidParameterError),
        (ValueError("bad size"), 3, errors.GenerationError),
        (RuntimeError("shape"), 0, errors.GenerationError),
        (NameError("name 'ftfy' is not defined"), 0, errors.MissingDependencyError),
        (MemoryError(), 2, errors.OutOfMemoryError),
        (errors.GenerationCancelledError("x"), 1, errors.GenerationCancelledError),
    ],
)
def test_a_failed_call_is_told_by_when_it_failed(
    embedded: ModelConfig, raised: Exception, steps: int, kind: type[errors.OctaboxError]
) -> None:
    """What a pipeline refuses before its first step was asked wrongly; later it is its own failure."""
    assert kind is type(as_generation_error(raised, Calls(embedded)(), steps))


@pytest.mark.parametrize(
    ("words", "inputs", "parameter"),
    [
        ("`prompt` has to be text", {}, "prompt"),
        ("`guidance_scale` and `image` do not go together", {"image": (np.zeros(1),)}, "guidance_scale"),
        ("expected 4 axes", {"latents": (np.zeros(1),)}, "latents"),
        ("expected 4 axes", {"latents": (np.zeros(1),), "image": (np.zeros(1),)}, None),
        ("expected 4 axes", {}, None),
        ("`strength` is needed", {}, None),
    ],
)
def test_a_refusal_names_its_parameter(
    embedded: ModelConfig, words: str, inputs: dict[str, Any], parameter: str | None
) -> None:
    """The first of those given that it speaks of, else the only file; it is left open where several may be meant."""
    told = as_generation_error(ValueError(words), Calls(embedded)(inputs=inputs), 0)

    assert parameter == told.parameter


#: Messages of torch and of what lies beneath it, as they are in the sources of its kinds of devices.
MEMORY_MESSAGES = [
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.65 GiB of which 1.20 GiB is free.",
    "CUDA out of memory. Tried to allocate 20.00 MiB (GPU 0; 7.79 GiB total capacity; 6.00 GiB allocated; 19.50 MiB free; ...",
    "HIP out of memory. Tried to allocate 512.00 MiB.",
    "XPU out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 15.56 GiB.",
    "NPU out of memory. Tried to allocate 16.00 MiB",
    "MUSA out of memory. Tried to allocate 16.00 MiB",
    "MPS backend out of memory (MPS allocated: 17.81 GB, max allowed: 18.13 GB). Tried to allocate 640.00 MB on private pool.",
    "Invalid buffer size: 24.00 GiB",
    "Insufficient Memory (00000008:kIOGPUCommandBufferCallbackErrorOutOfMemory)",
    "CUDA error: out of memory",
    "Triton Error [CUDA]: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "HIPBLAS_STATUS_ALLOC_FAILED",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "cusolver error: CUSOLVER_STATUS_ALLOC_FAILED",
    "MIOpen error: miopenStatusAllocFailed",
    "rocblas_status_memory_error",
    "cudaErrorMemoryAllocation",
    "hipErrorOutOfMemory",
    "level_zero backend failed with error: 39 (UR_RESULT_ERROR_OUT_OF_DEVICE_MEMORY)",
    "Native API failed. Native API returns: -5 (PI_ERROR_OUT_OF_RESOURCES)",
    "Allocation is out of device memory on current platform.",
    "RESOURCE_EXHAUSTED: Out of memory allocating 4294967296 bytes.",
    "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried to allocate 4398 bytes.",
    "DefaultCPUAllocator: not enough memory: you tried to allocate 4398 bytes.",
    "unable to mmap 1024 bytes from file <model.safetensors>: Cannot allocate memory (12)",
    "[Errno 12] Cannot allocate memory",
    "std::bad_alloc",
]

DEVICE_MESSAGES = [
    "CUDA error: device-side assert triggered",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: unspecified launch failure",
    "CUDA error: misaligned address",
    "CUDA error: no kernel image is available for execution on the device",
    "CUDA driver error: device not ready",
    "CUDA driver initialization failed, you might not have a CUDA gpu.",
    "The NVIDIA driver on your system is too old (found version 11040).",
    "No CUDA GPUs are available",
    "Cannot re-initialize CUDA in forked subprocess. To use CUDA with multiprocessing, you must use the 'spawn' start method",
    "HIP error: the operation cannot be performed in the present state",
    "XPU error: device lost",
    "NPU function error: aclrtSynchronizeDevice, error code is 507018",
    "MUSA error: unknown error",
    "Triton Error [CUDA]: device kernel image is invalid",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`",
    "cusparse: CUSPARSE_STATUS_EXECUTION_FAILED",
    "cuFFT error: CUFFT_INTERNAL_ERROR",
    "MIOpen Error: 3",
    "miopenStatusUnknownError",
    "HIPBLAS_STATUS_INTERNAL_ERROR",
    "rocblas_status_internal_error",
    "HSA_STATUS_ERROR_EXCEPTION",
    "level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)",
    "Native API failed. Native API returns: -1 (PI_ERROR_DEVICE_NOT_FOUND)",
    "Command buffer execution failed: kIOGPUCommandBufferCallbackErrorHang",
    "NCCL Error 1: unhandled cuda error",
    "NVML_SUCCESS == r INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp",
]

#: What speaks of devices and memory and is neither: mistakes in code, in a request or on a disk.
OTHER_MESSAGES = [
    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
    "The size of tensor a (4) must match the size of tensor b (8)",
    "[Errno 28] No space left on device",
    "HTTP error: 500",
    "mat1 and mat2 shapes cannot be multiplied",
    "out of resource: shared memory, Required: 147456, Hardware limit: 101376",
]


@pytest.mark.parametrize("message", MEMORY_MESSAGES)
@pytest.mark.parametrize("inputs", [{}, {"image": (np.zeros(1),)}], ids=["text", "image"])
def test_exhausted_memory_is_known_by_its_words(embedded: ModelConfig, message: str, inputs: dict[str, Any]) -> None:
    """Before the first step and later, with an image or without, and at load: memory ran out, and nobody else is at fault."""
    call = Calls(embedded)(inputs=inputs)
    told = [as_generation_error(RuntimeError(message), call, steps) for steps in (0, 3)]
    loading = as_load_error(OSError(message), embedded)

    assert {errors.OutOfMemoryError} == {type(error) for error in [*told, loading]}
    assert embedded.name == loading.model


@pytest.mark.parametrize("message", DEVICE_MESSAGES)
@pytest.mark.parametrize("inputs", [{}, {"image": (np.zeros(1),)}], ids=["text", "image"])
def test_a_failing_device_is_known_by_its_words(embedded: ModelConfig, message: str, inputs: dict[str, Any]) -> None:
    """Before the first step and later, with an image or without, and at load: the device failed, not the file or the client."""
    call = Calls(embedded)(inputs=inputs)
    told = [as_generation_error(RuntimeError(message), call, steps, "cuda:0") for steps in (0, 3)]
    loading = as_load_error(RuntimeError(message), embedded)

    assert {errors.DeviceError} == {type(error) for error in [*told, loading]}
    assert "on cuda:0" in told[0].message


@pytest.mark.parametrize("message", OTHER_MESSAGES)
def test_other_words_mean_neither(embedded: ModelConfig, message: str) -> None:
    """A message that only mentions a device or memory is what it was."""
    kinds = {
        type(as_generation_error(RuntimeError(message), Calls(embedded)(), 3)),
        type(as_load_error(RuntimeError(message), embedded)),
    }

    assert {errors.GenerationError, errors.IncompatibleWeightsError} == kinds


def test_words_of_a_caller_are_no_failure(embedded: ModelConfig) -> None:
    """A refusal that quotes a prompt about memory is a refusal."""
    told = as_generation_error(ValueError("`prompt` must not be 'CUDA error: out of memory'"), Calls(embedded)(), 0)

    assert isinstance(told, errors.InvalidParameterError)


def test_the_class_of_accelerators_errors_is_known(embedded: ModelConfig) -> None:
    """What torch raises for any accelerator is a failure of the device, whatever its words, and memory where they say so."""
    words = {"anything": errors.DeviceError, "XYZ error: out of memory": errors.OutOfMemoryError}

    for message, kind in words.items():
        assert kind is type(as_generation_error(torch.AcceleratorError(message), Calls(embedded)(), 0))


@pytest.mark.parametrize(
    "wrapper", [errors.IncompatibleAdapterError, errors.InvalidParameterError, ValueError, OSError]
)
def test_a_failing_device_is_found_behind_other_errors(embedded: ModelConfig, wrapper: type[Exception]) -> None:
    """Code that takes any exception for a fault of its file or its argument hides no failure of the device."""
    for cause, kind in (
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), errors.DeviceError),
        (torch.OutOfMemoryError("CUDA out of memory."), errors.OutOfMemoryError),
    ):
        wrapped = wrapper("does not fit")
        wrapped.__cause__ = cause

        assert kind is type(as_generation_error(wrapped, Calls(embedded)(), 0))
        assert kind is type(as_load_error(wrapped, embedded))


def test_a_device_that_is_not_there_keeps_its_own_error(embedded: ModelConfig) -> None:
    """Where the requested device is missing, the error lists those that there are; a cancelled call stays cancelled."""
    cause = torch.AcceleratorError("CUDA error: no CUDA-capable device is detected")
    for told in (errors.LoadError("asks for device 'cuda'"), errors.GenerationCancelledError("x")):
        told.__cause__ = cause

        assert told is as_load_error(told, embedded)


@pytest.mark.parametrize(
    ("message", "requested", "free"),
    [
        (MEMORY_MESSAGES[0], 2 * 2**30, int(1.2 * 2**30)),
        (MEMORY_MESSAGES[1], 20 * 2**20, int(19.5 * 2**20)),
        (MEMORY_MESSAGES[6], 640 * 2**20, None),
        (MEMORY_MESSAGES[24], 4398, None),
        ("std::bad_alloc", None, None),
    ],
)
def test_an_error_has_the_numbers_of_its_message(
    embedded: ModelConfig, message: str, requested: int | None, free: int | None
) -> None:
    """What was requested and what was free are fields of the error, and stand in its message."""
    told = as_generation_error(RuntimeError(message), Calls(embedded)(), 3)

    assert isinstance(told, errors.OutOfMemoryError)
    assert (requested, free) == (told.requested, told.free)
    assert ("requested" in told.message) is (requested is not None)
    assert (requested, free) == (pickle.loads(pickle.dumps(told)).requested, pickle.loads(pickle.dumps(told)).free)


def test_a_loop_of_causes_ends(embedded: ModelConfig) -> None:
    """Exceptions that were raised from each other are looked at once each."""
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one

    assert isinstance(as_generation_error(one, Calls(embedded)(), 3), errors.GenerationError)


def test_what_libraries_warn_of_is_gathered() -> None:
    """Warnings of diffusers count, and those of the package that brings a pipeline; no others, and none afterwards."""
    with library_warnings("easel") as said:
        for name in ("diffusers.pipelines.brush", "easel.brush", "other"):
            logging.getLogger(name).warning("%s warns", name)
        logging.getLogger("easel.brush").info("easel tells")
    logging.getLogger("easel.brush").warning("too late")

    assert ["diffusers.pipelines.brush warns", "easel.brush warns"] == said


def test_warnings_are_gathered_where_a_log_keeps_them_out(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that logs errors alone still answers with what a plugin warned of, and logs it no more than before."""
    easel = logging.getLogger("easel.quiet")
    handler = logging.StreamHandler(sys.stderr)
    easel.addHandler(handler)
    easel.propagate = False
    easel.setLevel(logging.ERROR)
    with library_warnings("easel.quiet") as said:
        logging.getLogger("easel.quiet.brush").warning("The paint is thin.")
        logging.getLogger("easel.quiet.brush").error("The paint is gone.")

    assert ["The paint is thin.", "The paint is gone."] == said
    assert "The paint is gone.\n" == capsys.readouterr().err
    assert (logging.ERROR, logging.NOTSET) == (easel.level, handler.level)
