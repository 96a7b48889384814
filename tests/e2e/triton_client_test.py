# SPDX-License-Identifier: Apache-2.0
"""Speaks to a quernd that serves the generated perceptron as 'mlp'.

usage: triton_client_test.py HOST:PORT MODEL.onnx
"""
import queue
import sys
import unittest

import numpy as np
import tritonclient.grpc as triton

MODEL = sys.argv.pop()
ADDRESS = sys.argv.pop()


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

    def test_metadata_describes_the_model(self):
        metadata = self.client.get_model_metadata("mlp")
        self.assertEqual(metadata.inputs[0].name, "features")
        self.assertEqual(list(metadata.inputs[0].shape), [-1, 64])
        self.assertEqual(self.client.get_server_metadata().name, "quern")

    def test_an_answer_becomes_an_array(self):
        result = self.client.infer(
            "mlp", [input_of(features(3))], request_id="seven")
        self.assertEqual(result.get_response().id, "seven")
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

    def test_calls_in_the_background_are_answered(self):
        answers = queue.Queue()
        for batch in range(1, 9):
            self.client.async_infer(
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
        config = self.client.get_model_config("mlp").config
        self.assertEqual(config.name, "mlp")
        self.assertEqual(config.max_batch_size, 0)
        self.assertFalse(config.model_transaction_policy.decoupled)
        before = self.client.get_inference_statistics("mlp").model_stats[0]
        self.client.infer("mlp", [input_of(features(2))])
        after = self.client.get_inference_statistics("mlp").model_stats[0]
        self.assertEqual(after.inference_count, before.inference_count + 1)
        self.assertGreater(
            after.inference_stats.success.ns,
            before.inference_stats.success.ns)

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
        self.assertFalse(
            [m for m in self.client.get_model_repository_index().models
             if m.name == "other"])
        with self.assertRaisesRegex(Exception, "no model 'other'"):
            self.client.infer("other", [input_of(features(2))])

    def test_the_log_level_can_be_changed(self):
        settings = self.client.update_log_settings({"log_verbose_level": 1})
        self.assertEqual(
            settings.settings["log_verbose_level"].uint32_param, 1)
        with self.assertRaisesRegex(Exception, "log_file"):
            self.client.update_log_settings({"log_file": "/tmp/x"})
        self.client.update_log_settings({"log_verbose_level": 0})

    def test_the_index_lists_the_model(self):
        index = self.client.get_model_repository_index()
        self.assertEqual([m.name for m in index.models], ["mlp"])
        self.assertEqual(index.models[0].state, "READY")


if __name__ == "__main__":
    unittest.main()
