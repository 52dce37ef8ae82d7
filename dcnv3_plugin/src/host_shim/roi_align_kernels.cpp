// The kernels of RoIAlign for one type of map, compiled for the host.
#include "cuda/roi_align_kernels.cu"
