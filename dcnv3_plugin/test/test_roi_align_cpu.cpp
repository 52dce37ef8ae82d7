// RoIAlign on the CPU against a plain loop over its definition.
#include "dcnv3/roi_align.h"
#include "support.h"

namespace {

using test::Numbers;
using test::rounded;
using test::Values;

struct Case {
  dcnv3_roi_align_params p{};
  Values map, boxes, grad_output;  // as stored, rounded to their types
  int type = DCNV3_F32;

  std::int64_t pixels() const { return p.height * p.width; }
  std::int64_t bins() const { return std::int64_t{p.out_height} * p.out_width; }
};

Case draw(test::Random& random) {
  Case c;
  dcnv3_roi_align_params& p = c.p;
  p.struct_size = sizeof p;
  p.flags = random.chance(2) ? DCNV3_ROI_ALIGNED : 0;
  p.batch = random.between(0, 3);
  // More channels than are worked on together, at times.
  p.channels = random.chance(8) ? 70 : random.between(1, 20);
  p.height = random.between(1, 17);
  p.width = random.between(1, 17);
  p.boxes = p.batch > 0 ? random.between(0, 6) : 0;
  p.out_height = random.chance(3) ? 1 : random.between(1, 7);
  p.out_width = random.chance(3) ? 1 : random.between(1, 7);
  p.sampling_ratio = random.chance(3) ? 1 : random.between(0, 3);
  p.spatial_scale = random.chance(2) ? 0.25 : 1;
  c.type = random.type();
  c.map = rounded(random.normal(p.batch * p.channels * c.pixels(), 1), c.type);
  c.grad_output = rounded(random.normal(p.boxes * p.channels * c.bins(), 1), c.type);
  c.boxes = random.normal(5 * p.boxes, 12 / p.spatial_scale);
  for (std::int64_t k = 0; k < p.boxes; ++k) {
    double* box = &c.boxes[5 * k];
    box[0] = random.between(0, static_cast<int>(p.batch) - 1);
    // Some lie on whole numbers, where samples meet borders; some have a negative size.
    for (int i = 1; i < 5; ++i) box[i] = random.chance(3) ? std::nearbyint(box[i]) : box[i];
    for (int i = 1; i < 3; ++i)
      if (box[i] > box[i + 2] && !random.chance(6)) std::swap(box[i], box[i + 2]);
    // Some have their middle where samples end: a pixel outside, where one bin and one sample put theirs.
    const double half = p.flags & DCNV3_ROI_ALIGNED ? 0.5 : 0;
    for (int axis = 0; axis < 2; ++axis) {
      const double end = random.chance(2) ? -1 : static_cast<double>(axis == 0 ? p.width : p.height);
      if (random.chance(3)) box[3 + axis] = 2 * (end + half) / p.spatial_scale - box[1 + axis];
    }
  }
  return c;
}

// Positions of a box's samples along one axis, for each of its bins; false where they are not finite.
bool positions(const Case& c, const double* box, int axis, std::vector<Values>& bins) {
  const bool aligned = (c.p.flags & DCNV3_ROI_ALIGNED) != 0;
  const double start = box[1 + axis] * c.p.spatial_scale - (aligned ? 0.5 : 0.0);
  double extent = (box[3 + axis] - box[1 + axis]) * c.p.spatial_scale;
  if (!std::isfinite(start) || !std::isfinite(extent)) return false;
  if (!aligned) extent = std::max(extent, 1.0);
  bins.assign(axis == 0 ? c.p.out_width : c.p.out_height, {});
  const double bin = extent / static_cast<double>(bins.size());
  const double samples = c.p.sampling_ratio > 0 ? c.p.sampling_ratio : std::ceil(bin);
  for (std::size_t b = 0; b < bins.size(); ++b)
    for (int s = 0; s < samples; ++s)
      bins[b].push_back(start + static_cast<double>(b) * bin + (s + 0.5) * bin / samples);
  return true;
}

struct Wanted {
  Values output, map;
};

// What the definition says: sample by sample, corner by corner.
Wanted by_definition(const Case& c) {
  const dcnv3_roi_align_params& p = c.p;
  Wanted wanted{Values(c.grad_output.size()), Values(c.map.size())};
  for (std::int64_t k = 0; k < p.boxes; ++k) {
    const double* box = &c.boxes[5 * k];
    std::vector<Values> columns, rows;
    const bool finite = positions(c, box, 0, columns) && positions(c, box, 1, rows);
    for (std::int64_t unit = 0; unit < p.channels * c.bins(); ++unit) {
      double& out = wanted.output[k * p.channels * c.bins() + unit];
      if (!finite) {
        out = std::nan("");
        continue;
      }
      const double grad = c.grad_output[k * p.channels * c.bins() + unit];
      const std::int64_t map = (static_cast<std::int64_t>(box[0]) * p.channels + unit / c.bins()) * c.pixels();
      const Values &xs = columns[unit % p.out_width], &ys = rows[unit % c.bins() / p.out_width];
      const double count = static_cast<double>(xs.size() * ys.size());
      for (const double y : ys)
        for (const double x : xs) {
          const bool near_x = x >= -1 && x <= static_cast<double>(p.width);
          if (!near_x || !(y >= -1 && y <= static_cast<double>(p.height))) continue;
          // Up to a pixel outside, the border's value holds.
          const double inside_x = std::min(std::max(x, 0.0), static_cast<double>(p.width - 1));
          const double inside_y = std::min(std::max(y, 0.0), static_cast<double>(p.height - 1));
          test::each_corner(inside_x, inside_y, p.height, p.width, [&](std::int64_t at, double w, double, double) {
            out += w * c.map[map + at] / count;
            wanted.map[map + at] += w * grad / count;
          });
        }
    }
  }
  return wanted;
}

struct Found {
  Numbers output, map;
};

Found run(Case& c, int threads, int round) {
  Numbers map(c.map, c.type), grad_output(c.grad_output, c.type), boxes(c.boxes, DCNV3_F64);
  Found found{Numbers(c.grad_output.size(), c.type), Numbers(c.map.size(), c.type)};
  c.p.threads = threads;
  const double* numbers = static_cast<const double*>(boxes.array().data);
  test::check(dcnv3_roi_align_forward_cpu(&c.p, map.array(), numbers, found.output.array()) == DCNV3_OK,
              "forward status", round);
  test::check(dcnv3_roi_align_backward_cpu(&c.p, grad_output.array(), numbers, found.map.array()) == DCNV3_OK,
              "backward status", round);
  return found;
}

void check_threads(Case& c, const Found& found, int round) {
  for (const int threads : test::kThreads) {
    const Found other = run(c, threads, round);
    test::check(other.output.bytes() == found.output.bytes() && other.map.bytes() == found.map.bytes(),
                "other bits with other threads", round);
  }
}

// Far and enormous boxes have too many samples for the plain loop: what is known of them is where they are not finite.
void check_wild_boxes(Case& c, test::Random& random, int round) {
  Values wild = c.boxes;
  random.make_wild(wild, true);
  for (std::size_t i = 0; i < wild.size(); ++i)
    if (i % 5 != 0) c.boxes[i] = wild[i];
  const Found found = run(c, test::kThreads[0], round);
  const Values output = found.output.values();
  for (std::int64_t k = 0; k < c.p.boxes; ++k) {
    bool finite = true;
    for (int axis = 0; axis < 2; ++axis) {
      const double low = c.boxes[5 * k + 1 + axis], high = c.boxes[5 * k + 3 + axis];
      finite = finite && std::isfinite(low) && std::isfinite(high - low);
    }
    const std::int64_t size = c.p.channels * c.bins();
    for (std::int64_t i = k * size; i < (k + 1) * size; ++i)
      if (std::isnan(output[i]) == finite) return test::check(false, "a wild box", round);
  }
  for (const double x : found.map.values())
    if (!std::isfinite(x)) return test::check(false, "gradient of wild boxes", round);
  check_threads(c, found, round);
}

void one_round(test::Random& random, int round) {
  Case c = draw(random);
  const Found found = run(c, test::kThreads[0], round);
  const Wanted wanted = by_definition(c);
  const bool single = c.type != DCNV3_F64;
  test::compare(found.output, wanted.output, single, "output", round);
  test::compare(found.map, wanted.map, single, "gradient", round);
  check_threads(c, found, round);
  // A box of 2^31 pixels takes its time.
  if (round % 10 == 0) check_wild_boxes(c, random, round);
}

}  // namespace

int main(int argc, char** argv) { return test::run(argc, argv, 150, one_round); }
