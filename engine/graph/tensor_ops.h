// SPDX-License-Identifier: Apache-2.0
//
// Elementwise functions as compositions of the tensor-level operations: what a
// model format calls an operator and the engine does not need to know.
//
// Every function adds nodes through the builder, whose first error sticks, so
// calls nest freely. Values broadcast as in NumPy. The 16-bit floats are
// computed in f32 and rounded once at the end wherever a function takes more
// than one rounding. Special values follow NumPy: a NaN comes through unless a
// comparison decides.
#pragma once

#include "engine/ir/builder.h"

namespace quern::graph {

using ir::Id;

// The dtype of `x`; kF32 once the builder has failed.
[[nodiscard]] ir::DType TypeOf(const ir::Builder& b, Id x);

// `x` in the type in which sums of it are kept: f32 for 16-bit floats.
Id Widened(ir::Builder& b, Id x);

// Comparisons. NaN compares false, except in NotEqual.
Id Greater(ir::Builder& b, Id x, Id y);
Id LessOrEqual(ir::Builder& b, Id x, Id y);
Id GreaterOrEqual(ir::Builder& b, Id x, Id y);
Id NotEqual(ir::Builder& b, Id x, Id y);
Id IsNan(ir::Builder& b, Id x);
Id IsInf(ir::Builder& b, Id x, bool positive = true, bool negative = true);

// Arithmetic. Abs, Sign, Floor, Ceil and Round take integers as well.
Id Abs(ir::Builder& b, Id x);
Id Sign(ir::Builder& b, Id x);  // -1, 0 or 1.
Id Floor(ir::Builder& b, Id x);
Id Ceil(ir::Builder& b, Id x);
Id Round(ir::Builder& b, Id x);  // Halves to even.
Id Reciprocal(ir::Builder& b, Id x);
Id Square(ir::Builder& b, Id x);
// x / y: of integers toward zero.
Id Divide(ir::Builder& b, Id x, Id y);
// The remainder with the sign of y, as Python's %; of integers or floats.
Id FloorMod(ir::Builder& b, Id x, Id y);
// The remainder with the sign of x, as C's % and fmod.
Id TruncMod(ir::Builder& b, Id x, Id y);
Id Clip(ir::Builder& b, Id x, Id least, Id greatest);  // kNoNode: no bound.

// Exponentials. The result has the type of x.
Id Exp(ir::Builder& b, Id x);
Id Log(ir::Builder& b, Id x);
Id Pow(ir::Builder& b, Id x, Id y);

// Trigonometry and hyperbolic functions.
Id Cos(ir::Builder& b, Id x);
Id Tan(ir::Builder& b, Id x);
Id Asin(ir::Builder& b, Id x);
Id Acos(ir::Builder& b, Id x);
Id Atan(ir::Builder& b, Id x);
Id Sinh(ir::Builder& b, Id x);
Id Cosh(ir::Builder& b, Id x);
Id Asinh(ir::Builder& b, Id x);
Id Acosh(ir::Builder& b, Id x);
Id Atanh(ir::Builder& b, Id x);

// Activations.
Id Relu(ir::Builder& b, Id x);
Id LeakyRelu(ir::Builder& b, Id x, Id slope);  // Slope: scalar or tensor.
Id Elu(ir::Builder& b, Id x, double alpha);
Id Celu(ir::Builder& b, Id x, double alpha);
Id Selu(ir::Builder& b, Id x, double alpha, double gamma);
Id Sigmoid(ir::Builder& b, Id x);
Id HardSigmoid(ir::Builder& b, Id x, double alpha, double beta);
Id HardSwish(ir::Builder& b, Id x);
Id Swish(ir::Builder& b, Id x, double alpha);  // x * sigmoid(alpha * x).
Id Softplus(ir::Builder& b, Id x);
Id Softsign(ir::Builder& b, Id x);
Id Mish(ir::Builder& b, Id x);
Id Gelu(ir::Builder& b, Id x);      // By the error function.
Id GeluTanh(ir::Builder& b, Id x);  // The approximation by tanh.

}  // namespace quern::graph
