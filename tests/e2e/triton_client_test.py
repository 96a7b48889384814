# SPDX-License-Identifier: Apache-2.0
"""Speaks to a quernd that serves the generated perceptron as 'mlp'.

usage: triton_client_test.py grpc|http HOST:PORT MODEL.onnx
"""
import importlib
import math
import queue
import sys
import unittest

import numpy as np

MODEL = sys.argv.pop()
ADDRESS = sys.argv.pop()
CARRIER = sys.argv.pop()

triton = importlib.import_module("tritonclient." + CARRIER)


def plain(answer):
    """What a client returned, a message or JSON, as dictionaries and lists."""
    if CARRIER == "http":
        return answer
    from google.protobuf import json_format
    return json_format.MessageToDict(
        answer, preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True)


def features(batch):
    values = np.arange(batch * 64, dtype=np.float32) * 7 % 19 / 19 - 0.5
    return values.reshape(batch, 64).astype(np.float32)


def input_of(array, name="features", datatype="FP32"):
    tensor = triton.InferInput(name, list(array.shape), datatype)
    tensor.set_data_from_numpy(array)
    return tensor


class TritonClientTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(ADDRESS)

    def tearDown(self):
        self.client.close()

    def test_server_and_model_are_live_and_ready(self):
        self.assertTrue(self.client.is_server_live())
        self.assertTrue(self.client.is_server_ready())
        self.assertTrue(self.client.is_model_ready("mlp"))
        self.assertTrue(self.client.is_model_ready("mlp", "1"))
        self.assertFalse(self.client.is_model_ready("mlp", "2"))
        self.assertFalse(self.client.is_model_ready("nothing"))

    def test_metadata_describes_the_model(self):
        tensor = plain(self.client.get_model_metadata("mlp"))["inputs"][0]
        self.assertEqual(tensor["name"], "features")
        self.assertEqual([int(dim) for dim in tensor["shape"]], [-1, 64])
        server = plain(self.client.get_server_metadata())
        self.assertEqual(server["name"], "quern")

    def test_an_answer_becomes_an_array(self):
        result = self.client.infer(
            "mlp", [input_of(features(3))], request_id="seven")
        self.assertEqual(plain(result.get_response())["id"], "seven")
        probabilities = result.as_numpy("probabilities")
        self.assertEqual(probabilities.shape, (3, 10))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    def test_rows_do_not_depend_on_the_batch(self):
        all_rows = self.client.infer(
            "mlp", [input_of(features(4))]).as_numpy("probabilities")
        first_row = self.client.infer(
            "mlp", [input_of(features(4)[:1])]).as_numpy("probabilities")
        np.testing.assert_allclose(all_rows[:1], first_row, rtol=1e-5)

    def test_an_output_can_be_asked_for_by_name(self):
        result = self.client.infer(
            "mlp", [input_of(features(1))],
            outputs=[triton.InferRequestedOutput("probabilities")])
        self.assertEqual(result.as_numpy("probabilities").shape, (1, 10))

    def test_an_unknown_model_is_an_error_with_its_name(self):
        with self.assertRaisesRegex(Exception, "there is no model 'nope'"):
            self.client.infer("nope", [input_of(features(1))])

    def test_a_wrong_type_is_an_error_that_says_so(self):
        with self.assertRaisesRegex(Exception, "expected datatype FP32"):
            self.client.infer(
                "mlp",
                [input_of(features(1).astype(np.float64), datatype="FP64")])

    def test_what_is_not_there_is_unimplemented(self):
        with self.assertRaisesRegex(Exception, "not supported"):
            self.client.register_system_shared_memory("r", "/k", 64)
        # Clients tidy up before they begin.
        self.client.unregister_system_shared_memory()

    def test_the_config_and_the_statistics_are_there(self):
        config = plain(self.client.get_model_config("mlp"))
        config = config.get("config", config)
        self.assertEqual(config["name"], "mlp")
        self.assertEqual(config["max_batch_size"], 0)
        before = self.statistics()
        self.client.infer("mlp", [input_of(features(2))])
        after = self.statistics()
        self.assertEqual(int(after["inference_count"]),
                         int(before["inference_count"]) + 1)
        self.assertGreater(int(after["inference_stats"]["success"]["ns"]),
                           int(before["inference_stats"]["success"]["ns"]))

    def test_the_calls_of_perf_analyzer(self):
        """What Triton's load generator asks, in its order, and relies on."""
        client = self.client
        metadata = plain(client.get_model_metadata("mlp"))
        self.assertEqual(metadata["outputs"][0]["name"], "probabilities")
        config = plain(client.get_model_config("mlp"))
        config = config.get("config", config)
        self.assertEqual(config["max_batch_size"], 0)
        self.assertEqual(config["input"][0]["name"], "features")
        self.assertFalse(config["input"][0].get("optional", False))
        policy = config.get("model_transaction_policy", {})
        self.assertFalse(policy.get("decoupled", False))
        extensions = plain(client.get_server_metadata())["extensions"]
        self.assertIn("statistics", extensions)
        self.assertNotIn("system_shared_memory", extensions)
        # It cleans up what it might have left, also where there is none.
        client.unregister_system_shared_memory("")
        client.unregister_cuda_shared_memory("")

        def counts():
            answer = plain(client.get_inference_statistics("mlp"))
            (stats,) = answer["model_stats"]
            times = stats["inference_stats"]
            return [int(stats["inference_count"]),
                    int(stats["execution_count"]),
                    int(times["success"]["count"]),
                    int(times["queue"]["count"]),
                    int(times["compute_infer"]["count"])], \
                [int(times[part]["ns"]) for part in (
                    "success", "queue", "compute_input", "compute_infer",
                    "compute_output")]

        before, times_before = counts()
        for _ in range(20):
            client.infer("mlp", [input_of(features(1))])
        after, times_after = counts()
        self.assertEqual([b - a for a, b in zip(before, after)], [20] * 5)
        success, *parts = [b - a for a, b in zip(times_before, times_after)]
        self.assertGreater(parts[2], 0)
        # The parts are the whole, but for what happens between them.
        self.assertLessEqual(sum(parts), success)

    def test_a_model_is_loaded_from_bytes_and_unloaded(self):
        with open(MODEL, "rb") as file:
            content = file.read()
        self.client.load_model(
            "other", config="{}", files={"file:1/model.onnx": content})
        self.assertTrue(self.client.is_model_ready("other"))
        expected = self.client.infer("mlp", [input_of(features(2))])
        got = self.client.infer("other", [input_of(features(2))])
        np.testing.assert_array_equal(
            got.as_numpy("probabilities"), expected.as_numpy("probabilities"))
        self.client.unload_model("other")
        self.assertNotIn("other", [model["name"] for model in self.index()])
        with self.assertRaisesRegex(Exception, "no model 'other'"):
            self.client.infer("other", [input_of(features(2))])

    def test_the_log_level_can_be_changed(self):
        settings = plain(
            self.client.update_log_settings({"log_verbose_level": 1}))
        if CARRIER == "grpc":
            settings = {name: value.get("uint32_param")
                        for name, value in settings["settings"].items()}
        self.assertEqual(settings["log_verbose_level"], 1)
        with self.assertRaisesRegex(Exception, "log_file"):
            self.client.update_log_settings({"log_file": "/tmp/x"})
        self.client.update_log_settings({"log_verbose_level": 0})

    def test_the_index_lists_the_model(self):
        index = self.index()
        self.assertEqual([model["name"] for model in index], ["mlp"])
        self.assertEqual(index[0]["state"], "READY")

    def statistics(self):
        answer = plain(self.client.get_inference_statistics("mlp"))
        return answer["model_stats"][0]

    def index(self):
        answer = plain(self.client.get_model_repository_index())
        return answer if CARRIER == "http" else answer["models"]


@unittest.skipUnless(CARRIER == "grpc", "of gRPC")
class GrpcTest(unittest.TestCase):
    def test_calls_in_the_background_are_answered(self):
        client = triton.InferenceServerClient(ADDRESS)
        answers = queue.Queue()
        for batch in range(1, 9):
            client.async_infer(
                "mlp", [input_of(features(batch))],
                callback=lambda result, error: answers.put((result, error)),
                request_id=str(batch))
        batches = set()
        for _ in range(8):
            result, error = answers.get(timeout=30)
            self.assertIsNone(error)
            batch = int(result.get_response().id)
            self.assertEqual(
                result.as_numpy("probabilities").shape, (batch, 10))
            batches.add(batch)
        self.assertEqual(batches, set(range(1, 9)))
        client.close()


@unittest.skipUnless(CARRIER == "http", "of HTTP")
class HttpTest(unittest.TestCase):
    def setUp(self):
        self.client = triton.InferenceServerClient(ADDRESS, concurrency=4)
        self.expected = self.infer(features(3), True, True)

    def tearDown(self):
        self.client.close()

    def infer(self, array, binary_input, binary_output):
        tensor = triton.InferInput("features", list(array.shape), "FP32")
        tensor.set_data_from_numpy(array, binary_data=binary_input)
        return self.client.infer(
            "mlp", [tensor],
            outputs=[triton.InferRequestedOutput(
                "probabilities", binary_data=binary_output)]
        ).as_numpy("probabilities")

    def test_all_forms_of_a_tensor_mean_the_same(self):
        for binary_input in True, False:
            for binary_output in True, False:
                np.testing.assert_array_equal(
                    self.infer(features(3), binary_input, binary_output),
                    self.expected)

    def test_numbers_that_json_has_no_words_for_come_and_go(self):
        row = features(1)
        row[0, 0] = math.nan
        self.assertTrue(np.isnan(self.infer(row, False, False)).all())

    def test_calls_in_the_background_are_answered(self):
        pending = [self.client.async_infer("mlp", [input_of(features(batch))])
                   for batch in range(1, 9)]
        for batch, request in enumerate(pending, 1):
            self.assertEqual(
                request.get_result().as_numpy("probabilities").shape,
                (batch, 10))

    def test_a_packed_body_is_refused_by_a_sentence(self):
        with self.assertRaisesRegex(Exception, "gzip is not supported"):
            self.client.infer("mlp", [input_of(features(1))],
                              request_compression_algorithm="gzip")


if __name__ == "__main__":
    unittest.main()
