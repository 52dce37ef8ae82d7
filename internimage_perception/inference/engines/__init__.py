"""Engines: a bundle's graph, built by TensorRT once for the GPU it runs on, and kept.

Nothing here needs torch or the onnx package. What decides (`graph_choice`, `profile`, `key`, `buffers`) is
apart from what touches TensorRT and CUDA, and runs anywhere.
"""
