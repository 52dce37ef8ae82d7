"""TensorRT-RTX keeps the first log it is given for the whole process: one for all tests."""

import tensorrt_rtx_bindings as trt


class SilentLog(trt.ILogger):
    """Says nothing; the parser's errors are asked for."""

    def log(self, severity, message):
        """Take a message."""


LOG = SilentLog()
