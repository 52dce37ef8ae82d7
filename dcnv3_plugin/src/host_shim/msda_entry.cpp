// The C interface of multi-scale deformable attention in the CUDA kernels, on the host.
#include "cuda/msda_entry.cu"
