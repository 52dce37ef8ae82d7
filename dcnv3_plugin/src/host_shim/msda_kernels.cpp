// The kernels of multi-scale deformable attention for one type of value, compiled for the host.
#include "cuda/msda_kernels.cu"
