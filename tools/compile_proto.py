"""Compile LocalAI's contract into the descriptors that the server reads when it starts.

Descriptors can be read by every release of protobuf, which cannot be said of the code that protoc writes.
"""

from __future__ import annotations

from pathlib import Path

from grpc_tools import protoc

#: The contract; the descriptors lie beside it.
SOURCE = Path(__file__).parents[1] / "src/octabox/frontends/grpc/localai/backend.proto"


def compile_to(target: Path, source: Path = SOURCE) -> None:
    """Write the descriptors of a contract into a file.

    Raises:
        SystemExit: The contract is not valid; protoc has said why.
    """
    arguments = ["protoc", f"--proto_path={source.parent}", f"--descriptor_set_out={target}", source.name]
    if protoc.main(arguments):
        raise SystemExit(1)


if __name__ == "__main__":
    compile_to(SOURCE.with_suffix(".binpb"))
