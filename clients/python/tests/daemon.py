# SPDX-License-Identifier: Apache-2.0
"""The real quernd, from the folder that QUERN_BIN names, on a free port."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import quern


class Daemon:
    """A quernd with an empty cache; ends with stop(), or with this process."""

    def __init__(self, *arguments):
        self._folder = tempfile.TemporaryDirectory()
        program = pathlib.Path(os.environ["QUERN_BIN"]) / "quernd"
        self._log = open(pathlib.Path(self._folder.name) / "log", "w")
        self._process = subprocess.Popen(
            [program, "--grpc-address", "127.0.0.1:0", "--http-address",
             "none", "--metrics-address", "none",
             "--cache-dir", self._folder.name + "/cache",
             "--stop-on-stdin-eof", *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log,
            text=True)
        line = self._process.stdout.readline()
        words = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if not line.startswith("quernd ready"):
            raise RuntimeError(f"{program} did not start: {self.log()}")
        self.address = words["grpc"]

    def log(self):
        return pathlib.Path(self._log.name).read_text()

    def stop(self):
        """Ends it; its exit code."""
        self._process.stdin.close()
        self._process.stdout.close()
        code = self._process.wait(timeout=60)
        self._log.close()
        self._folder.cleanup()
        return code


class ServedTestCase(unittest.TestCase):
    """Tests with a daemon of their class, which is the default server."""

    arguments = ("--devices", "cpu,ref")

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(*cls.arguments)
        cls.client = quern.Client(cls.daemon.address, timeout=120)
        quern.set_default_client(cls.client)

    @classmethod
    def tearDownClass(cls):
        quern.set_default_client(None)
        cls.client.close()
        if cls.daemon.stop() != 0:
            raise AssertionError("quernd did not end well")
