# SPDX-License-Identifier: Apache-2.0
"""The rules for shapes and types, compared with the server's own."""

import unittest

import numpy as np

import quern
from daemon import ServedTestCase
from quern import rpc
from quern._proto import graph_service_pb2
from quern.rules import RULES, infer


def tensor(*shape, dtype="f32"):
    return quern.Tensor(np.ones(shape), dtype)


X = tensor(2, 3, 4)
Y = tensor(3, 1, dtype="f64")
I = tensor(2, 3, 4, dtype="i32")
M = tensor(4, 5)
IMAGE = tensor(2, 4, 9, 7)
C = tensor(4)
AT = tensor(5, 2, dtype="i64")
B = tensor(2, 3, 4, dtype="bool")

# What is not called on X alone, X and Y, or X three times: operands and
# parameters, in one or more ways.
CASES = {
    "const": [((), {"value": 1}), ((), {"value": 1.5}),
              ((), {"value": 1, "data_type": quern.f16})],
    "const_array": [((), {"values": [1, 2, 3, 4]}),
                    ((), {"values": [1.5] * 6, "dims": [3, 2]})],
    "iota": [((), {"size": 7})],
    "reshape": [((X,), {"dims": [6, 4]})],
    "permute": [((X,), {"order": [2, 0, 1]})],
    "expand": [((Y,), {"dims": [2, 3, 4]})],
    "pad": [((X,), {"before": [0, 1, 2], "after": [3, 0, 1]})],
    "shrink": [((X,), {"begins": [0, 1, 1], "sizes": [2, 2, 3]})],
    "flip": [((X,), {"axes": [0, 2]})],
    "concat": [((X, tensor(2, 5, 4, dtype="f64")), {"axis": 1})],
    "window": [((IMAGE,), {"axis": 2, "taps": 3, "stride": 2, "dilation": 2})],
    "gather": [((M, AT), {"axis": 1}), ((M, AT), {"axis": 0})],
    "reduce": [((X,), {"axes": [1], "operation": "max"})],
    "copy": [((X,), {"device": "ref"})],
    "cast": [((X,), {"data_type": quern.u8})],
    "bitcast": [((X,), {"data_type": quern.i32})],
    "where": [((B, X, Y), {}), ((B, 1, I), {}), ((B, 1, 2.5), {})],
    "div": [((X, Y), {}), ((1, 2), {}), ((X, 3), {})],
    "sqrt": [((X,), {}), ((4,), {})],
    "fma": [((X, Y, X), {}), ((X, 1, 2), {})],
    "quern.batch_norm@1": [((IMAGE, C, C, C, C), {})],
    "quern.broadcast_to@1": [((Y,), {"dims": [2, 3, 4]}),
                             ((Y,), {"dims": [2, 1, 4]})],
    "quern.clip@1": [((X,), {"least": 0, "greatest": 1.5}),
                     ((I,), {"least": 0}), ((I,), {"greatest": 1.5})],
    "quern.conv@1": [
        ((IMAGE, tensor(6, 4, 3, 2), tensor(6)), {}),
        ((IMAGE, tensor(6, 2, 3, 3)),
         {"groups": 2, "strides": [2, 1], "dilations": [1, 2],
          "pads_before": [1, 0], "pads_after": [2, 1]})],
    "quern.conv_transposed@1": [
        ((IMAGE, tensor(4, 3, 3, 2)), {}),
        ((IMAGE, tensor(4, 3, 3, 3), tensor(6)),
         {"groups": 2, "strides": [2, 3], "dilations": [1, 2],
          "pads_before": [1, 0], "pads_after": [0, 1], "extra": [1, 0]})],
    "quern.cumulative@1": [((X,), {"axis": -1})],
    "quern.flatten@1": [((X,), {}), ((X,), {"axis": 2}), ((X,), {"axis": -1})],
    "quern.gather_elements@1": [((M, AT), {"axis": 0})],
    "quern.gemm@1": [((M, tensor(5, 6), tensor(6)), {}),
                     ((M, tensor(6, 4, dtype="f64")),
                      {"transpose_x": True, "transpose_y": True})],
    "quern.group_norm@1": [((IMAGE, C, C), {"groups": 2})],
    "quern.layer_norm@1": [((X,), {"axes": [1, 2]}), ((X, C, C), {"axes": [2]})],
    "quern.rms_norm@1": [((X,), {"axes": [-1]}), ((X, C), {"axes": [2]})],
    "quern.matmul@1": [((M, tensor(5, 6)), {}), ((X, tensor(4)), {}),
                       ((C, M), {}), ((C, C), {}),
                       ((tensor(3, 1, 4, 5), tensor(2, 5, 6, dtype="f64")), {})],
    "quern.one_hot@1": [((AT, 0.0, 1.0), {"depth": 3}),
                        ((AT, 0, 1), {"depth": 4, "axis": 0})],
    "quern.pad@1": [((X,), {"before": [0, 1, -1], "after": [1, -1, 0],
                            "mode": "constant", "value": 2}),
                    ((X,), {"before": [0, 1, 1], "after": [0, 1, 0],
                            "mode": "reflect"})],
    "quern.slice@1": [((X,), {"axes": [1, 2], "begins": [-2, 3],
                              "ends": [100, 0], "steps": [1, -2]})],
    "quern.split@1": [((X,), {"axis": 2, "sizes": [1, 3]})],
    "quern.squeeze@1": [((Y,), {"axes": [-1]})],
    "quern.unsqueeze@1": [((X,), {"axes": [0, -1]})],
    "quern.stack@1": [((X, X), {"axis": -1}), ((1, 2, 3), {"axis": 0}),
                      ((1, 2.5), {"axis": 0}), ((C, C), {"axis": 0})],
    "quern.take@1": [((M, AT), {"axis": -1})],
    "quern.tile@1": [((X,), {"repeats": [1, 2, 3]})],
    "quern.leaky_relu@1": [((X, 0.1), {}), ((X, Y), {})],
    "quern.pow@1": [((X, 2), {}), ((X, Y), {}), ((I, 2), {})],
}
INTEGER_ONLY = {"idiv", "mod", "and", "or", "xor", "shl", "shr"}


def cases_of(entry):
    if entry.op in CASES:
        return CASES[entry.op]
    first = I if entry.op in INTEGER_ONLY else X
    second = (tensor(3, 1, dtype="u8") if entry.op in INTEGER_ONLY else Y)
    names = {p.name for p in entry.parameters if not p.optional}
    required = {}
    if "axes" in names:
        required = {"axes": [-1]}
    elif "axis" in names:
        required = {"axis": 1}
    if entry.least_operands == 2:
        return [((first, second), required), ((second, first), required),
                ((first, 3), required), ((3, first), required)]
    cases = [((first,), required)]
    if any(p.name == "keep" for p in entry.parameters):
        cases.append(((first,), {**required, "keep": True}))
        if "axes" not in names and "axis" not in names:
            cases.append(((first,), {"axes": [0, -1]}))
    return cases


class RulesTest(ServedTestCase):
    def setUp(self):
        answer = self.client._call(
            rpc.GRAPHS, "DescribeVocabulary",
            graph_service_pb2.DescribeVocabularyRequest(), None)
        self.entries = answer.entries

    def test_there_is_a_rule_for_each_entry_of_the_vocabulary(self):
        self.assertEqual(sorted(RULES), sorted(e.op for e in self.entries))

    def test_every_rule_agrees_with_the_server(self):
        outputs = {}
        for entry in self.entries:
            for number, (operands, parameters) in enumerate(cases_of(entry)):
                results = quern.call_all(entry.op, *operands, **parameters)
                for i, result in enumerate(results):
                    outputs[f"{entry.op}:{number}:{i}"] = result
        graph = self.client.submit(outputs)
        for spec in graph.outputs:
            with self.subTest(spec.name):
                known = outputs[spec.name]
                self.assertEqual(spec.shape, known.shape)
                self.assertEqual(spec.dtype, known.dtype.strong)

    def test_what_the_rules_refuse_the_server_refuses(self):
        bad = [("add", (X, tensor(5)), {}), ("add", (B, B), {}),
               ("div", (I, I), {}), ("mod", (X, X), {}), ("and", (X, I), {}),
               ("where", (X, X, X), {}), ("sqrt", (I,), {}),
               ("reshape", (X,), {"dims": [5, 5]}),
               ("permute", (X,), {"order": [0, 0, 1]}),
               ("expand", (X,), {"dims": [2, 3, 5]}),
               ("quern.softmax@1", (X,), {"axes": [3]}),
               ("quern.reduce_sum@1", (B,), {}),
               ("reduce", (X,), {"axes": [1, 1], "operation": "add"}),
               ("concat", (X, Y), {"axis": 0}),
               ("quern.matmul@1", (M, M), {}),
               ("quern.conv@1", (IMAGE, tensor(6, 3, 3, 3)), {}),
               ("quern.conv@1", (IMAGE, tensor(6, 4, 11, 3)), {}),
               ("quern.squeeze@1", (X,), {"axes": [0]}),
               ("gather", (M, X), {"axis": 0}),
               ("quern.flatten@1", (X,), {"axis": 4}),
               ("quern.flatten@1", (X,), {"axis": -4}),
               ("bitcast", (X,), {"data_type": quern.f64}),
               ("window", (IMAGE,), {"axis": 0, "taps": 3})]
        for op, operands, parameters in bad:
            with self.subTest(op=op, parameters=parameters):
                specs = [quern.graph.Spec(o.shape, o.dtype) for o in operands]
                with self.assertRaises((TypeError, ValueError)):
                    infer(op, specs, parameters)
                rule = RULES.pop(op)
                try:
                    (blind,) = quern.call_all(
                        op, *operands, **parameters, results=[((), "f32")])
                    with self.assertRaises(quern.Error):
                        self.client.submit(blind)
                finally:
                    RULES[op] = rule
        self.assertTrue(self.client.live())


if __name__ == "__main__":
    unittest.main()
