// The C interface of RoIAlign in the CUDA kernels, on the host.
#include "cuda/roi_align_entry.cu"
