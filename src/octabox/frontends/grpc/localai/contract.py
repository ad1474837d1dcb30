"""LocalAI's contract: the messages and methods of ``backend.proto``.

The classes are created from descriptors on import, because generated code works only with the releases of protobuf that it
was generated for; see `tools/compile_proto.py`.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any, TypeAlias

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

#: A message of the contract; its fields are those of ``backend.proto``.
Message: TypeAlias = Any

#: Maximum size of a message in bytes, as in LocalAI.
MAX_BYTES = 50 * 1024 * 1024

#: Full name of the service.
SERVICE = "backend.Backend"


def _load_descriptors() -> descriptor_pool.DescriptorPool:
    """Return the descriptors in a separate pool, because a client in the same process may have the same contract."""
    pool = descriptor_pool.DescriptorPool()
    content = files(__package__).joinpath("backend.binpb").read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_POOL = _load_descriptors()


def _message(name: str) -> Message:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"backend.{name}"))


Reply = _message("Reply")
Result = _message("Result")
StatusResponse = _message("StatusResponse")
HealthMessage = _message("HealthMessage")
ModelOptions = _message("ModelOptions")
GenerateImageRequest = _message("GenerateImageRequest")
GenerateVideoRequest = _message("GenerateVideoRequest")
UpscaleImageRequest = _message("UpscaleImageRequest")
SoundGenerationRequest = _message("SoundGenerationRequest")


def methods() -> dict[str, tuple[Message, Message]]:
    """Return the classes of the request and the response of every method, by its name."""
    service = _POOL.FindServiceByName(SERVICE)
    get_class = message_factory.GetMessageClass
    return {each.name: (get_class(each.input_type), get_class(each.output_type)) for each in service.methods}
