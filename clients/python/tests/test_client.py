# SPDX-License-Identifier: Apache-2.0
"""The client's calls, to the real daemon."""

import os
import pathlib
import subprocess
import tempfile
import threading
import unittest

import numpy as np

import quern
from daemon import Daemon, ServedTestCase


def perceptron():
    """A small ONNX file: "features" [n, 64] to "probabilities" [n, 10]."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "model.onnx"
        program = pathlib.Path(os.environ["QUERN_BIN"]) / "quern-make-model"
        subprocess.run([program, "mlp", path, "--seed", "7"], check=True,
                       stdout=subprocess.DEVNULL)
        return path.read_bytes()


def features(batch):
    return np.linspace(-1, 1, batch * 64, dtype=np.float32).reshape(batch, 64)


class ClientTest(ServedTestCase):
    def test_the_server_lives_and_has_devices(self):
        self.assertTrue(self.client.live())
        self.assertTrue(self.client.ready())
        devices = self.client.devices()
        self.assertEqual([device.name for device in devices], ["cpu", "ref"])
        self.assertTrue(devices[0].available)
        self.assertGreater(devices[0].threads, 0)

    def test_an_expression_becomes_a_model_for_any_batch(self):
        w = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)
        x = quern.placeholder("x", ("batch", 3))
        y = (x @ quern.weight(w)).relu()
        published = self.client.publish("dense", {"y": y, "sum": y.sum(1)})
        self.assertEqual(published.model, quern.Model("dense", "1"))
        self.assertGreater(published.load.kernels, 0)
        self.assertTrue(self.client.model_ready("dense"))
        for batch in (1, 5):
            a = np.ones((batch, 3), np.float32)
            answer = self.client.infer("dense", {"x": a})
            want = np.maximum(a @ w, 0)
            np.testing.assert_allclose(answer["y"], want, 1e-5)
            np.testing.assert_allclose(answer["sum"], want.sum(1), 1e-5)
        only = self.client.infer("dense", {"x": a}, outputs=["sum"],
                                 version="1")
        self.assertEqual(list(only), ["sum"])
        second = self.client.publish("dense", y)
        self.assertEqual(second.model.version, "2")
        for version in ("1", "2"):
            self.client.unpublish("dense", version)
        self.assertFalse(self.client.model_ready("dense"))
        with self.assertRaisesRegex(quern.Error, "NOT_FOUND.*dense"):
            self.client.infer("dense", {"x": a})

    def test_a_tensor_made_from_an_array_is_an_input_of_the_model(self):
        x = quern.Tensor(np.ones(3, np.float32), name="image")
        self.client.publish("scaled", x * 2)
        answer = self.client.infer("scaled", {"image": np.full(3, 4, "f")})
        self.assertEqual(answer["output0"].tolist(), [8, 8, 8])

    def test_an_onnx_file_is_published_described_and_run(self):
        file = perceptron()
        graph = self.client.submit(file)
        self.assertEqual(graph.inputs[0].name, "features")
        self.assertEqual(graph.inputs[0].dtype, quern.f32)
        self.assertEqual(graph.inputs[0].shape[1:], (64,))
        self.assertIsInstance(graph.inputs[0].shape[0], str)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "model.onnx"
            path.write_bytes(file)
            self.client.publish("mlp", str(path))
        served = self.client.infer("mlp", {"features": features(3)})
        for subject in ("mlp", quern.Model("mlp", "1"), graph, file):
            ran = self.client.execute(subject, {"features": features(3)})
            np.testing.assert_allclose(ran.outputs["probabilities"],
                                       served["probabilities"], 1e-6)
        self.assertGreater(ran.execute_time, 0)
        np.testing.assert_allclose(served["probabilities"].sum(1), 1, 1e-5)

    def test_every_type_travels_in_the_v2_protocol(self):
        for dtype in ("bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32",
                      "u64", "f16", "bf16", "f32", "f64"):
            with self.subTest(dtype=dtype):
                x = quern.placeholder("x", ("n",), dtype)
                self.client.publish("echo_" + dtype, x.flip(0))
                array = np.array([1, 0, 1]).astype(quern.as_dtype(dtype).numpy)
                if dtype == "bf16" and array.dtype == np.uint16:
                    continue  # Without ml_dtypes it has no arrays to send.
                answer = self.client.infer("echo_" + dtype, {"x": array})
                np.testing.assert_array_equal(answer["output0"], array[::-1])
                self.assertEqual(answer["output0"].dtype, array.dtype)

    def test_kernels_have_times_with_their_variance(self):
        x = quern.placeholder("x", (64, 64))
        y = (x @ x).softmax()
        a = np.ones((64, 64), np.float32)
        for _ in range(5):
            self.client.execute(y, {"x": a})
        kernels = self.client.kernels(y)
        self.assertGreaterEqual(len(kernels), 1)
        self.assertAlmostEqual(sum(kernel.share for kernel in kernels), 1, 3)
        for kernel in kernels:
            self.assertEqual(kernel.device, "cpu")
            self.assertEqual(kernel.launches, 5 * kernel.launches_per_run)
            self.assertGreater(kernel.mean_us, 0)
            self.assertGreaterEqual(kernel.variance_us2, 0)
            self.assertAlmostEqual(kernel.stdev_us,
                                   kernel.variance_us2 ** 0.5, 3)
            self.assertAlmostEqual(kernel.cv,
                                   kernel.stdev_us / kernel.mean_us, 3)
            self.assertIn(kernel.cache, ("compiled", "memory", "disk"))
        self.assertIn(kernels[0], self.client.kernels())

    def test_a_window_holds_what_came_after_its_reset(self):
        x = quern.placeholder("x", (5, 7))
        y = x.sum() + 3
        a = np.ones((5, 7), np.float32)
        self.client.execute(y, {"x": a})
        self.client.reset_window()
        for _ in range(3):
            self.client.execute(y, {"x": a})
        (kernel,) = self.client.kernels(y)
        (inside,) = self.client.kernels(y, in_window=True)
        self.assertEqual(kernel.launches, 4)
        self.assertEqual(inside.launches, 3)
        self.assertLessEqual(inside.max_us, kernel.max_us)
        self.assertGreaterEqual(inside.p999_us, inside.median_us)

    def test_the_code_of_a_kernel(self):
        x = quern.placeholder("x", (9,))
        self.client.execute(x * 5, {"x": np.ones(9, np.float32)})
        (kernel,) = self.client.kernels(x * 5)
        code = self.client.kernel_code(x * 5, kernel.name)
        self.assertEqual(code.kernel, kernel)
        self.assertIn("mul", code.loops)
        self.assertIn("define", code.source)
        self.assertIn("ret", code.assembly)
        with self.assertRaisesRegex(quern.Error, "has no kernel 'nope'"):
            self.client.kernel_code(x * 5, "nope")

    def test_a_watch_tells_what_happens_while_it_happens(self):
        x = quern.placeholder("x", (2, 3))
        y = x.exp()
        a = np.ones((2, 3), np.float32)
        self.client.execute(y, {"x": a})
        seen = 0
        for window in self.client.watch_kernels(y, period=0.1):
            self.assertGreater(window.seconds, 0)
            (activity,) = window.loaded
            seen += activity.successes
            if activity.successes:
                self.assertEqual(activity.kernels[0].launches,
                                 activity.successes)
                self.assertGreater(activity.request.mean_us, 0)
                self.assertEqual(list(activity.phases), [
                    "queue", "input", "execute", "output"])
            if seen >= 3:
                break
            self.client.execute(y, {"x": a})
        with self.assertRaisesRegex(quern.Error, "a period of 0.1 s to 1 h"):
            next(self.client.watch_kernels(period=0.01))

    def test_a_model_is_loaded_from_a_file_and_unloaded(self):
        self.client.load("sent", perceptron(), version=3,
                         settings={"numerics": "strict"})
        self.assertTrue(self.client.model_ready("sent", "3"))
        (state,) = [m for m in self.client.models() if m.name == "sent"]
        self.assertEqual((state.version, state.state), ("3", "READY"))
        with self.assertRaisesRegex(quern.Error, "no ONNX model"):
            self.client.load("sent", b"no model", version=3)
        self.assertTrue(self.client.model_ready("sent", "3"))
        self.client.unload("sent")
        self.assertFalse(self.client.model_ready("sent"))

    def test_a_description_has_ports_sizes_and_the_load(self):
        w = quern.weight(np.ones((4, 3), np.float32))
        y = quern.placeholder("x", ("n", 4)) @ w
        before = self.client.describe(y)
        self.assertEqual(before.inputs[0].shape, ("n", 4))
        self.assertEqual((before.weights, before.weight_bytes), (1, 48))
        self.assertIsNone(before.load)
        self.client.execute(y, {"x": np.ones((2, 4), np.float32)})
        after = self.client.describe(y)
        self.assertEqual(after.device, "cpu")
        assert after.load is not None
        self.assertEqual(after.load.kernels, 1)

    def test_every_stage_is_explained(self):
        y = quern.Tensor(np.ones(4, np.float32)) * 2
        for stage in quern.STAGES[:-1]:
            self.assertTrue(self.client.explain(y, stage), stage)
        self.assertIn("mul", self.client.explain(y))
        with self.assertRaisesRegex(ValueError, "expected a stage of graph"):
            self.client.explain(y, "nope")

    def test_statistics_count_what_succeeded_and_what_failed(self):
        self.client.publish("counted", quern.placeholder("x", ("n",)) + 1)
        for _ in range(3):
            self.client.infer("counted", {"x": np.ones(2, np.float32)})
        with self.assertRaises(quern.Error):
            self.client.infer("counted", {"x": np.ones(2, np.float64)})
        (stats,) = self.client.stats("counted")
        self.assertEqual(stats.model, quern.Model("counted", "1"))
        self.assertEqual(stats.success.count, 3)
        self.assertEqual(stats.fail.count, 1)
        self.assertGreater(stats.success.mean_us, 0)
        self.assertGreater(stats.compute_infer.ns, 0)

    def test_settings_choose_the_device_and_the_sizes(self):
        x = quern.placeholder("x", ("n",))
        settings = quern.Settings(device="ref", strict=True, sizes={"n": 3})
        self.client.execute(x * 2 + 1, {"x": np.ones(3, np.float32)},
                            settings=settings)
        (kernel,) = self.client.kernels(x * 2 + 1, settings=settings)
        self.assertEqual(kernel.device, "ref")

    def test_inputs_are_checked_against_placeholders(self):
        y = quern.placeholder("x", ("n", 3)) * 2
        table = [({}, ValueError, r"expected the inputs \['x'\], got \[\]"),
                 ({"x": np.ones((2, 3)), "y": 1}, ValueError, "got .*'y'"),
                 ({"x": np.ones((2, 3))}, TypeError, "expected f32, got float"),
                 ({"x": np.ones((2, 4), "f")}, ValueError,
                  r"input 'x': expected the shape \[any,3\], got \[2,4\]")]
        for inputs, error, message in table:
            with self.assertRaisesRegex(error, message):
                self.client.execute(y, inputs)
        result = self.client.execute(y, {"x": [[1, 2, 3]]})
        self.assertEqual(result.outputs["output0"].tolist(), [[2, 4, 6]])
        with self.assertRaisesRegex(TypeError, "expected tensors, a model's"):
            self.client.execute([1, 2])

    def test_the_servers_words_are_the_errors(self):
        x = quern.Tensor(np.ones(2, np.float32))
        with self.assertRaises(quern.Error) as raised:
            (x.to("abacus") + 1).numpy()
        self.assertIn("abacus", raised.exception.message)
        for call, code, words in [
                (lambda: self.client.execute("nope"), "NOT_FOUND", "'nope'"),
                (lambda: self.client.submit(b"nonsense"), "INVALID_ARGUMENT",
                 "no ONNX model"),
                (lambda: self.client.unpublish("nope", "1"), "NOT_FOUND",
                 "nope"),
                (lambda: self.client.publish("a/b", x), "INVALID_ARGUMENT",
                 "a/b")]:
            with self.subTest(words=words):
                with self.assertRaises(quern.Error) as raised:
                    call()
                self.assertEqual(raised.exception.code.name, code)
                self.assertIn(words, raised.exception.message)

    def test_a_deadline_is_kept(self):
        x = quern.placeholder("x", (300, 300))
        y = x
        for _ in range(40):
            y = (y @ x).tanh()
        with self.assertRaisesRegex(quern.Error, "DEADLINE_EXCEEDED"):
            self.client.execute(y, {"x": np.ones((300, 300), np.float32)},
                                timeout=0.02)

    def test_large_weights_travel_in_chunks_and_once(self):
        w = np.arange(5_000_000, dtype=np.float32)
        x = quern.Tensor(np.array([4_999_999, 3]))
        sent = []
        submit = self.client._submit
        self.client._submit = lambda *a: sent.append(len(a[1])) or submit(*a)
        try:
            for scale in (1, 2):
                y = quern.take(quern.weight(w), x) * scale
                self.assertEqual(y.numpy().tolist(),
                                 [4_999_999 * scale, 3 * scale])
        finally:
            del self.client._submit
        self.assertEqual(sent.count(w.nbytes), 1)

    def test_threads_share_a_client(self):
        failures = []

        def work(number):
            for i in range(10):
                y = quern.Tensor(np.full(5, number, np.float32)) * 2 + i
                if y.numpy().tolist() != [number * 2 + i] * 5:
                    failures.append((number, i))

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])


class RestartTest(unittest.TestCase):
    def test_content_is_sent_again_to_a_server_that_lost_it(self):
        first = Daemon("--devices", "cpu")
        client = quern.Client(first.address, timeout=60)
        x = quern.placeholder("x", (2,))
        y = x * quern.weight(np.array([2, 3], np.float32))
        a = np.ones(2, np.float32)
        self.assertEqual(client.execute(y, {"x": a}).outputs["output0"].tolist(),
                         [2, 3])
        self.assertEqual(first.stop(), 0)
        second = Daemon("--devices", "cpu", "--grpc-address", first.address)
        try:
            # The first calls may find the old connection broken.
            for _ in range(50):
                if client.live():
                    break
                threading.Event().wait(0.1)
            result = client.execute(y, {"x": a})
            self.assertEqual(result.outputs["output0"].tolist(), [2, 3])
        finally:
            client.close()
            self.assertEqual(second.stop(), 0)


class AccessTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def certificate(self, name):
        """The files of a certificate and its key."""
        certificate = self.folder / (name + ".crt")
        key = self.folder / (name + ".key")
        if not pathlib.Path("/usr/bin/openssl").exists():
            self.skipTest("no /usr/bin/openssl to make certificates with")
        subprocess.run(
            ["/usr/bin/openssl", "req", "-x509", "-newkey", "rsa:2048",
             "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", key,
             "-out", certificate], check=True, capture_output=True)
        return certificate, key

    def test_a_token_opens_what_its_role_may_do(self):
        tokens = self.folder / "tokens"
        tokens.write_text("graph graph-token-0123456789\n")
        tokens.chmod(0o600)
        daemon = Daemon("--devices", "cpu", "--token-file", str(tokens))
        try:
            with quern.Client(daemon.address,
                              token="graph-token-0123456789") as client:
                self.assertEqual(quern.Tensor(2).numpy(client), 2)
            with quern.Client(daemon.address, token="another") as client:
                with self.assertRaisesRegex(quern.Error, "UNAUTHENTICATED"):
                    quern.Tensor(2).numpy(client)
        finally:
            self.assertEqual(daemon.stop(), 0)

    def test_certificates_say_who_serves_and_who_calls(self):
        certificate, key = self.certificate("server")
        mine, my_key = self.certificate("client")
        daemon = Daemon("--devices", "cpu", "--tls-cert", str(certificate),
                        "--tls-key", str(key), "--tls-client-ca", str(mine))
        try:
            with quern.Client(daemon.address, root_certificates=certificate,
                              client_certificate=mine.read_bytes(),
                              client_key=my_key) as client:
                self.assertTrue(client.live())
                self.assertEqual(quern.Tensor(2).numpy(client), 2)
            with quern.Client(daemon.address,
                              root_certificates=certificate) as client:
                self.assertFalse(client.live())
            with quern.Client(daemon.address) as client:
                self.assertFalse(client.live())
            with self.assertRaisesRegex(ValueError, "together"):
                quern.Client(daemon.address, client_key=my_key)
        finally:
            self.assertEqual(daemon.stop(), 0)


if __name__ == "__main__":
    unittest.main()
