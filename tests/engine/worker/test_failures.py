"""Exceptions of the libraries are translated."""

from __future__ import annotations

import pickle
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
from octabox.engine.worker.failures import to_generation_error, to_load_error

#: A response of the Hub.
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
def test_load_errors(raised: Exception, kind: type[errors.OctaboxError], words: str) -> None:
    """Each cause has an error class with a hint, and names the model."""
    error = to_load_error(raised, ModelConfig(name="mine", model="owner/name"))

    assert kind is type(error)
    assert words in str(error)
    assert "mine" == error.model


def test_the_cause_of_an_error() -> None:
    """A cause that a library has wrapped in another error is found."""
    wrapped = OSError("could not load")
    wrapped.__cause__ = MemoryError()
    error = to_load_error(wrapped, ModelConfig(name="mine", model="owner/name"))

    assert errors.OutOfMemoryError is type(error)


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
def test_generation_errors(
    embedded: ModelConfig, raised: Exception, steps: int, kind: type[errors.OctaboxError]
) -> None:
    """An error before the first step is one of the parameters; later it is one of the pipeline."""
    assert kind is type(to_generation_error(raised, Calls(embedded)(), steps))


@pytest.mark.parametrize(
    ("inputs", "words", "parameter"),
    [
        (
            {"image": (np.zeros(1),) * 2},
            "cannot use 2 files for 'image' with one prompt (given: image [1], image [1])",
            "image",
        ),
        ({"image": ([np.zeros(1)] * 2,)}, "cannot use 2 files for 'image' with one prompt", "image"),
        ({"image": (np.zeros((2, 1)),)}, "cannot use these inputs (given: image [2, 1])", "image"),
        ({"image": (np.zeros(1),), "mask": (np.zeros(1),)}, "(given: image [1], mask [1])", None),
    ],
)
@pytest.mark.parametrize(
    "raised",
    [
        "The size of tensor a (128) must match the size of tensor b (64) at non-singleton dimension 3",
        "stack expects a non-empty TensorList",
        "Sizes of tensors must match except in dimension 1. Expected size 2 but got size 1 for tensor number 1 in the list.",
        "mat1 and mat2 shapes cannot be multiplied (1x2 and 3x4)",
    ],
)
def test_messages_about_tensors(
    embedded: ModelConfig, raised: str, inputs: dict[str, Any], words: str, parameter: str | None
) -> None:
    """Torch's words about tensors are replaced by what came."""
    error = to_generation_error(RuntimeError(raised), Calls(embedded)(inputs=inputs), 0)

    assert (errors.InvalidParameterError, parameter) == (type(error), error.parameter)
    assert words in error.message
    assert not any(word in str(error) for word in ("ensor", "mat1"))


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
def test_the_parameter_of_an_error(
    embedded: ModelConfig, words: str, inputs: dict[str, Any], parameter: str | None
) -> None:
    """It is the first that the message names, else the only file; it is unknown if there are several."""
    told = to_generation_error(ValueError(words), Calls(embedded)(inputs=inputs), 0)

    assert parameter == told.parameter


def test_null_in_place_of_a_default(embedded: ModelConfig) -> None:
    """An error of types names the parameters that are null and have another default, if there are any."""
    raised = TypeError("unsupported operand type(s) for *: 'NoneType' and 'int'")
    calls = Calls(embedded)
    error = to_generation_error(raised, calls(guidance_scale=None, height=None), 0)
    other = to_generation_error(raised, calls(height=None), 0)

    assert "cannot use null for 'guidance_scale'." in error.message
    assert "guidance_scale" == error.parameter
    assert "refused the request" in other.message


#: Messages of torch and its device backends, from their sources.
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
    "GET was unable to find an engine to execute this computation",
    "FIND was unable to find an engine to execute this computation",
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
    "could not create a primitive",
    "could not create a memory object",
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

#: Messages that mention devices or memory, and have another cause in code, a request or a disk.
OTHER_MESSAGES = [
    "The size of tensor a (4) must match the size of tensor b (8)",
    "[Errno 28] No space left on device",
    "HTTP error: 500",
    "mat1 and mat2 shapes cannot be multiplied",
    "out of resource: shared memory, Required: 147456, Hardware limit: 101376",
]


@pytest.mark.parametrize("message", MEMORY_MESSAGES)
@pytest.mark.parametrize("inputs", [{}, {"image": (np.zeros(1),)}], ids=["text", "image"])
def test_exhausted_memory(embedded: ModelConfig, message: str, inputs: dict[str, Any]) -> None:
    """Its messages are recognized before and after the first step, with and without an image, and at load."""
    call = Calls(embedded)(inputs=inputs)
    told = [to_generation_error(RuntimeError(message), call, steps) for steps in (0, 3)]
    loading = to_load_error(OSError(message), embedded)

    assert {errors.OutOfMemoryError} == {type(error) for error in [*told, loading]}
    assert embedded.name == loading.model


@pytest.mark.parametrize("message", DEVICE_MESSAGES)
@pytest.mark.parametrize("inputs", [{}, {"image": (np.zeros(1),)}], ids=["text", "image"])
def test_failed_devices(embedded: ModelConfig, message: str, inputs: dict[str, Any]) -> None:
    """Their messages are recognized before and after the first step, with and without an image, and at load."""
    call = Calls(embedded)(inputs=inputs)
    told = [to_generation_error(RuntimeError(message), call, steps, "cuda:0") for steps in (0, 3)]
    loading = to_load_error(RuntimeError(message), embedded)

    assert {errors.DeviceError} == {type(error) for error in [*told, loading]}
    assert "on cuda:0" in told[0].message


@pytest.mark.parametrize("message", OTHER_MESSAGES)
def test_other_messages(embedded: ModelConfig, message: str) -> None:
    """A message that only mentions a device or memory is not translated to their errors."""
    kinds = {
        type(to_generation_error(RuntimeError(message), Calls(embedded)(), 3)),
        type(to_load_error(RuntimeError(message), embedded)),
    }

    assert {errors.GenerationError, errors.IncompatibleWeightsError} == kinds


#: Messages of torch about tensors and generators of several devices, and about operators that a device does not have.
PLACEMENT_MESSAGES = {
    "not on the device": [
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! (when checking ...)",
        "Expected all tensors to be on the same device, but got index is on cpu, different from other tensors on cuda:0",
        "Expected all tensors to be on the same device. addmm expected 't' to be CPU tensor, but got tensor on cuda:0",
        "Expected tensor for argument #1 'input' to have the same device as tensor for argument #2 'weight'; but device 0 ...",
        "Expected query, key, and value to have the same device type, but got query.device: cuda:0 key.device: cpu",
        "Tensor for 'out' is on CPU, Tensor for argument #1 'self' is on CPU, but expected them to be on GPU (while checking",
        "Tensor for argument weight is on cpu but expected on mps",
        "Tensor for argument input is on cpu but expected on mps",
        "indices should be either on cpu or on the same device as the indexed tensor (cpu)",
        "index_copy_(): self, index and source expected to be in the same device, but got (self) cuda:0, (index) cpu",
        "grid_sampler(): expected input and grid to be on same device, but input is on cuda:0 and grid is on cpu",
        "expected self and mask to be on the same device, but got mask on cpu and self on cuda:0",
        "add: expected 'other' to be a CPU tensor, but got a CUDA tensor",
        "Expected scalars to be on CPU, got cuda:0 instead.",
        "'lengths' argument should be a 1D CPU int64 tensor, but got 1D cuda:0 Long tensor: must be on CPU",
        "arguments are located on different GPUs at /pytorch/aten/src/THC",
        "Input type (torch.cuda.HalfTensor) and weight type (torch.HalfTensor) should be the same",
        "Input type (torch.FloatTensor) and weight type (torch.cuda.FloatTensor) should be the same or input should be",
        "Expected a 'cuda' device type for generator but found 'cpu'",
        "Cannot generate a cpu tensor from a generator of type cuda.",
        "can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.",
        "can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.",
        "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have incompatible tensor type.",
        'Attempted to set the storage of a tensor on device "cpu" to a storage on different device "cuda:0".',
        "Placeholder storage has not been allocated on MPS device!",
        "Cannot copy out of meta tensor; no data!",
        "torch.cat(): all input tensors must be on the same device. Received cpu and cuda:0",
    ],
    "does not have an operator": [
        "Could not run 'aten::slice.Tensor' with arguments from the 'XPU' backend.",
        "The operator 'aten::_upsample_bicubic2d_aa' is not currently implemented for the MPS device.",
        "FlexAttention is only supported on CUDA, CPU, HPU, or MPS devices. Found input tensors on xpu device.",
    ],
}


@pytest.mark.parametrize(
    ("words", "message"), [(words, each) for words, all_ in PLACEMENT_MESSAGES.items() for each in all_]
)
@pytest.mark.parametrize("kind", [RuntimeError, TypeError, ValueError])
@pytest.mark.parametrize("inputs", [{}, {"image": (np.zeros(1),)}], ids=["text", "image"])
def test_tensors_on_the_wrong_device(
    embedded: ModelConfig, words: str, message: str, kind: type[Exception], inputs: dict[str, Any]
) -> None:
    """The request is not the cause, also not before the first step and with an image; nor are the weights at load."""
    error = _raised_by_torch(kind(message))
    found = [to_generation_error(error, Calls(embedded)(inputs=inputs), steps) for steps in (0, 3)]
    loading = to_load_error(error, embedded)

    assert [errors.GenerationError, errors.GenerationError, errors.LoadError] == [
        type(each) for each in (*found, loading)
    ]
    assert all(words in each.message and message not in each.message for each in (*found, loading))
    assert "not the cause" in str(found[0].hint)


def _raised_by_torch(error: Exception) -> Exception:
    """Return an error with a traceback that ends in a line that calls something, as an error of torch has."""

    def reraise() -> None:
        (_ for _ in ()).throw(error)

    try:
        reraise()
    except type(error) as caught:
        return caught
    raise AssertionError(error)


def test_requests_that_mention_devices(embedded: ModelConfig) -> None:
    """A pipeline that quotes a prompt about devices refuses the request."""
    error = ValueError("`prompt` must not be 'expected to be on the same device'")
    found = to_generation_error(error, Calls(embedded)(), 0)

    assert isinstance(found, errors.InvalidParameterError)


def test_quoted_prompts(embedded: ModelConfig) -> None:
    """An error that quotes a prompt about memory is one of the parameters."""
    told = to_generation_error(ValueError("`prompt` must not be 'CUDA error: out of memory'"), Calls(embedded)(), 0)

    assert isinstance(told, errors.InvalidParameterError)


def test_errors_of_accelerators(embedded: ModelConfig) -> None:
    """`torch.AcceleratorError` is a device failure, or exhausted memory by its message."""
    words = {"anything": errors.DeviceError, "XYZ error: out of memory": errors.OutOfMemoryError}

    for message, kind in words.items():
        assert kind is type(to_generation_error(torch.AcceleratorError(message), Calls(embedded)(), 0))


@pytest.mark.parametrize(
    "wrapper", [errors.IncompatibleAdapterError, errors.InvalidParameterError, ValueError, OSError]
)
def test_a_wrapped_device_failure(embedded: ModelConfig, wrapper: type[Exception]) -> None:
    """A device failure is found in the cause of an error about a file or an argument."""
    for cause, kind in (
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), errors.DeviceError),
        (torch.OutOfMemoryError("CUDA out of memory."), errors.OutOfMemoryError),
    ):
        wrapped = wrapper("does not fit")
        wrapped.__cause__ = cause

        assert kind is type(to_generation_error(wrapped, Calls(embedded)(), 0))
        assert kind is type(to_load_error(wrapped, embedded))


def test_missing_devices_and_cancelled_calls(embedded: ModelConfig) -> None:
    """Errors for a missing device and for a cancelled call are unchanged."""
    cause = torch.AcceleratorError("CUDA error: no CUDA-capable device is detected")
    for told in (errors.LoadError("asks for device 'cuda'"), errors.GenerationCancelledError("x")):
        told.__cause__ = cause

        assert told is to_load_error(told, embedded)


@pytest.mark.parametrize(
    ("message", "requested", "free"),
    [
        (MEMORY_MESSAGES[0], 2 * 2**30, int(1.2 * 2**30)),
        (MEMORY_MESSAGES[1], 20 * 2**20, int(19.5 * 2**20)),
        (MEMORY_MESSAGES[6], 640 * 2**20, None),
        (MEMORY_MESSAGES[26], 4398, None),
        ("std::bad_alloc", None, None),
    ],
)
def test_an_error_has_the_numbers_of_its_message(
    embedded: ModelConfig, message: str, requested: int | None, free: int | None
) -> None:
    """The requested and the free memory are fields of the error, and in its message."""
    told = to_generation_error(RuntimeError(message), Calls(embedded)(), 3)

    assert isinstance(told, errors.OutOfMemoryError)
    assert (requested, free) == (told.requested, told.free)
    assert ("requested" in told.message) is (requested is not None)
    assert (requested, free) == (pickle.loads(pickle.dumps(told)).requested, pickle.loads(pickle.dumps(told)).free)


def test_a_loop_of_causes_ends(embedded: ModelConfig) -> None:
    """Exceptions that are causes of each other are visited once each."""
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one

    assert isinstance(to_generation_error(one, Calls(embedded)(), 3), errors.GenerationError)
