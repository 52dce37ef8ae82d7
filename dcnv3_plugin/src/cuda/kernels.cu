// The kernels for one type of input. Compiled once per type, with DCNV3_INPUT naming it (float, f16 or bf16) and
// DCNV3_PASSES the table to fill.
#include "passes.cuh"

namespace dcnv3 {
namespace cuda {

const Passes DCNV3_PASSES = {forward<DCNV3_INPUT>, backward<DCNV3_INPUT>};

}  // namespace cuda
}  // namespace dcnv3
