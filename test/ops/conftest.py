"""Fixtures of the operators' tests: the CUDA kernels' sources, compiled for the host."""

import pytest
from support.cuda_on_host import ORDERS, PATH

from internimage_perception.ops.native_cuda import load


@pytest.fixture(scope="module")
def kernels():
    return load(PATH)


@pytest.fixture(params=ORDERS)
def ordered(request, kernels):
    """The kernels, their threads and blocks in one of the orders."""
    kernels.dcnv3_host_order(ORDERS[request.param])
    yield kernels
    kernels.dcnv3_host_order(0)
