// The C interface of the CUDA kernels on the host, and what tests and tools want to know and set there.
#include "cuda/entry.cu"

extern "C" {

// How blocks and threads follow each other. 0: as they are counted, 1: backwards, 2: scrambled.
DCNV3_EXPORT void dcnv3_host_order(int order) { dcnv3::cuda::order = order; }

// Writes blocks, threads and bytes of shared memory of the largest launch since the last call of this function.
DCNV3_EXPORT void dcnv3_host_largest_launch(int64_t launch[3]) {
  launch[0] = dcnv3::cuda::largest_launch.blocks;
  launch[1] = dcnv3::cuda::largest_launch.threads;
  launch[2] = dcnv3::cuda::largest_launch.shared;
  dcnv3::cuda::largest_launch = {};
}

}  // extern "C"
