// The CUDA kernels for one type of input, compiled for the host.
#include "cuda/kernels.cu"
