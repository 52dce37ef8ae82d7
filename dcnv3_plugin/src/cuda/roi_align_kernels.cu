// The kernels of RoIAlign for one type of map; compiled as kernels.cu is.
#include "roi_align_passes.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

const Passes DCNV3_PASSES = {forward<DCNV3_INPUT>, backward<DCNV3_INPUT>};

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
