# SPDX-License-Identifier: Apache-2.0
"""The Python client of Quern: lazy tensors that a server compiles and runs.

    import numpy as np, quern

    x = quern.Tensor(np.ones((2, 3), np.float32))
    print((quern.stack([1, 2, 3]) * x).numpy())

Nothing runs until .numpy() or .realize(). README.md is the tour.
"""

from quern.client import (STAGES, Client, Onnx, Outputs, Source, Subject,
                          default_client, set_default_client)
from quern.dtypes import (DType, DTypeLike, as_dtype, bf16, bool_, f16, f32,
                          f64, i8, i16, i32, i64, promote, u8, u16, u32, u64,
                          weak_float, weak_int)
from quern.errors import Error
from quern.functions import (absolute, arange, avg_pool2d, clip, concat, conv2d,
                             cos, erf, exp, floor_divide, full, gather, gelu,
                             layer_norm, log, log_softmax, matmul, max_pool2d,
                             maximum, minimum, ones, power, relu, rms_norm,
                             sigmoid, silu, sin, softmax, split, sqrt, stack,
                             take, take_along_axis, tanh, where, zeros)
from quern.graph import Dim, Expression, Shape
from quern.records import (Activity, Description, Device, Duration, Graph,
                           Kernel, KernelCode, Load, Model, ModelState,
                           ModelStatistics, Note, Phase, Published, Result,
                           Settings, TensorSpec, Window)
from quern.tensor import (Tensor, TensorLike, as_tensor, call, call_all,
                          from_bits, placeholder, realize, weight)

__all__ = [
    "Activity", "Client", "DType", "DTypeLike", "Description", "Device",
    "Dim", "Duration", "Error", "Expression", "Graph", "Kernel", "KernelCode",
    "Load", "Model", "ModelState", "ModelStatistics", "Note", "Onnx",
    "Outputs", "Phase", "Published", "Result", "STAGES", "Settings", "Shape",
    "Source", "Subject", "Tensor", "TensorLike", "TensorSpec", "Window",
    "absolute", "arange", "as_dtype", "as_tensor", "avg_pool2d", "bf16",
    "bool_", "call", "call_all", "clip", "concat", "conv2d", "cos",
    "default_client", "erf", "exp", "f16", "f32", "f64", "floor_divide",
    "from_bits", "full", "gather", "gelu", "i16", "i32", "i64", "i8",
    "layer_norm", "log", "log_softmax", "matmul", "max_pool2d", "maximum",
    "minimum", "ones", "placeholder", "power", "promote", "realize", "relu",
    "rms_norm", "set_default_client", "sigmoid", "silu", "sin", "softmax",
    "split", "sqrt", "stack", "take", "take_along_axis", "tanh", "u16", "u32",
    "u64", "u8", "weak_float", "weak_int", "weight", "where", "zeros",
]
