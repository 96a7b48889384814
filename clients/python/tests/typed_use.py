# SPDX-License-Identifier: Apache-2.0
"""What a user writes, as a type checker sees it; checked, not run."""

import numpy as np

import quern


def use(client: quern.Client) -> float:
    x = quern.Tensor(np.ones((2, 3), np.float32))
    y: quern.Tensor = 1 - (x * 2 + [1, 2, 3])[..., None, ::2].softmax(-1)
    shape: quern.Shape = quern.where(y > 0, y, 0).sum((0, 1)).shape
    names: list[str] = [kernel.name for kernel in client.kernels("model")]
    answer = client.infer("model", {"x": np.ones(3), "n": 4})
    return float(y.numpy(client).sum()) + len(shape) + len(names) + len(answer)
