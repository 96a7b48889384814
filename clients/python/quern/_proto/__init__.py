# SPDX-License-Identifier: Apache-2.0
"""The messages of the wire, in a pool of their own.

The modules beside this one are generated when the package is built. Their
messages have the names that KServe and Triton gave them, as other packages'
messages in the same process may; the names meet in no common pool.
"""

from typing import Any

from google.protobuf import descriptor, descriptor_pb2, descriptor_pool
from google.protobuf import duration_pb2, message_factory
from google.protobuf.internal import enum_type_wrapper

POOL = descriptor_pool.DescriptorPool()
POOL.AddSerializedFile(duration_pb2.DESCRIPTOR.serialized_pb)


def load(content: bytes, names: dict[str, Any]) -> descriptor.FileDescriptor:
    """Adds a serialized file to the pool.

    Puts its messages, its enumerations and their values into `names`, the
    globals of a module. Returns the file.
    """
    POOL.AddSerializedFile(content)
    name = descriptor_pb2.FileDescriptorProto.FromString(content).name
    file = POOL.FindFileByName(name)
    for message in file.message_types_by_name.values():
        names[message.name] = message_factory.GetMessageClass(message)
    for enum in file.enum_types_by_name.values():
        names[enum.name] = enum_type_wrapper.EnumTypeWrapper(enum)
        for value in enum.values:
            names[value.name] = value.number
    return file
