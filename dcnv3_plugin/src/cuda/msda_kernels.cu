// The kernels of multi-scale deformable attention for one type of value; compiled as kernels.cu is.
#include "msda_passes.cuh"

namespace dcnv3 {
namespace cuda {
namespace msda {

const Passes DCNV3_PASSES = {forward<DCNV3_INPUT>, backward<DCNV3_INPUT>};

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
