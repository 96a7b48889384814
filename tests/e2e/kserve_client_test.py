# SPDX-License-Identifier: Apache-2.0
"""Speaks to a quernd that serves the generated perceptron as 'mlp', with the
clients of KServe's SDK.

usage: kserve_client_test.py GRPC_HOST:PORT HTTP_HOST:PORT
"""
import sys
import unittest

import grpc
import httpx
import numpy as np
from kserve import (InferenceGRPCClient, InferenceRESTClient, InferInput,
                    InferRequest, RESTConfig)
from kserve.protocol.grpc import grpc_predict_v2_pb2 as wire
from kserve.protocol.grpc import grpc_predict_v2_pb2_grpc as services

HTTP = "http://" + sys.argv.pop()
GRPC = sys.argv.pop()


def request(batch, model="mlp"):
    values = np.arange(batch * 64, dtype=np.float32) * 7 % 19 / 19 - 0.5
    tensor = InferInput("features", [batch, 64], "FP32")
    tensor.set_data_from_numpy(values.reshape(batch, 64).astype(np.float32))
    return InferRequest(model_name=model, infer_inputs=[tensor],
                        request_id="seven")


class GrpcTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = InferenceGRPCClient(GRPC)

    async def asyncTearDown(self):
        await self.client.close()

    async def test_server_and_model_are_live_and_ready(self):
        self.assertTrue(await self.client.is_server_live())
        self.assertTrue(await self.client.is_server_ready())
        self.assertTrue(await self.client.is_model_ready("mlp"))

    async def test_an_answer_becomes_an_array(self):
        response = await self.client.infer(request(3))
        self.assertEqual(response.id, "seven")
        probabilities = response.outputs[0].as_numpy()
        self.assertEqual(probabilities.shape, (3, 10))
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)

    async def test_an_error_has_its_status(self):
        with self.assertRaises(grpc.RpcError) as caught:
            await self.client.infer(request(1, "nothing"))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    async def test_loads_and_unloads_by_the_messages_of_kserve(self):
        # Their field 1 is the model's name, where Triton has the repository's.
        async with grpc.aio.insecure_channel(GRPC) as channel:
            stub = services.GRPCInferenceServiceStub(channel)
            await stub.RepositoryModelUnload(
                wire.RepositoryModelUnloadRequest(model_name="mlp"))
            self.assertFalse(await self.client.is_model_ready("mlp"))
            await stub.RepositoryModelLoad(
                wire.RepositoryModelLoadRequest(model_name="mlp"))
            self.assertTrue(await self.client.is_model_ready("mlp"))


class RestTest(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        self.client = InferenceRESTClient(RESTConfig(protocol="v2"))

    async def asyncTearDown(self):
        await self.client.close()

    async def test_server_and_model_are_live_and_ready(self):
        self.assertTrue(await self.client.is_server_live(HTTP))
        self.assertTrue(await self.client.is_server_ready(HTTP))
        self.assertTrue(await self.client.is_model_ready(HTTP, "mlp"))

    async def test_gives_what_grpc_gives(self):
        response = await self.client.infer(HTTP, request(3), model_name="mlp")
        over_http = response.outputs[0].as_numpy()
        async with InferenceGRPCClient(GRPC) as client:
            response = await client.infer(request(3))
        np.testing.assert_array_equal(
            over_http, response.outputs[0].as_numpy())

    async def test_an_error_has_its_status(self):
        with self.assertRaises(httpx.HTTPStatusError) as caught:
            await self.client.infer(HTTP, request(1, "nothing"),
                                    model_name="nothing")
        self.assertEqual(caught.exception.response.status_code, 404)


if __name__ == "__main__":
    unittest.main()
