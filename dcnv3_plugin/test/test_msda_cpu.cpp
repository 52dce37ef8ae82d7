// Multi-scale deformable attention on the CPU against a plain loop over its definition.
#include "dcnv3/msda.h"
#include "support.h"

namespace {

using test::Numbers;
using test::rounded;
using test::Values;

struct Level {
  std::int64_t height, width, start;
};

struct Case {
  dcnv3_msda_params p{};
  std::vector<Level> levels;
  std::vector<std::int64_t> shapes, starts;
  Values value, location, weight, grad_output;  // as stored, rounded to their types
  int types[3];                                 // of value, location, weight

  int samples() const { return p.levels * p.points; }
  std::int64_t units() const { return p.batch * p.queries * p.heads; }
  bool single() const { return types[0] != DCNV3_F64; }
};

Case draw(test::Random& random) {
  Case c;
  dcnv3_msda_params& p = c.p;
  p.struct_size = sizeof p;
  p.flags = random.chance(2) ? DCNV3_SOFTMAX_MASK : 0;
  p.batch = random.between(0, 3);
  // Some heads have more samples than the kernels take at once.
  const bool many = random.chance(10);
  p.queries = random.between(0, many ? 3 : 25);
  p.heads = random.between(1, 4);
  p.channels = random.between(1, 40);
  p.levels = random.between(1, 4);
  p.points = many ? 300 : random.between(1, 5);
  // Levels need not touch, nor fill the pixels.
  for (int l = 0; l < p.levels; ++l) {
    const std::int64_t height = random.between(1, 9), width = random.between(1, 9);
    const std::int64_t start = p.pixels + random.between(0, 2);
    c.levels.push_back({height, width, start});
    c.shapes.insert(c.shapes.end(), {height, width});
    c.starts.push_back(start);
    p.pixels = start + height * width;
  }
  p.pixels += random.between(0, 2);
  for (int& type : c.types) type = random.type();
  c.value = rounded(random.normal(p.batch * p.pixels * p.heads * p.channels, 1), c.types[0]);
  c.weight = rounded(random.normal(c.units() * c.samples(), 1), c.types[2]);
  c.grad_output = rounded(random.normal(c.units() * p.channels, 1), c.types[0]);
  c.location = random.normal(2 * c.units() * c.samples(), random.chance(4) ? 30 : 0.4);
  for (double& x : c.location) x += 0.5;
  return c;
}

// What the definition says: sample by sample, corner by corner.
struct Wanted {
  Values output, value, location, weight;
  std::vector<bool> jumps;  // of locations: whether the slope jumps there
  explicit Wanted(const Case& c)
      : output(c.grad_output.size()), value(c.value.size()), location(c.location.size()), weight(c.weight.size()),
        jumps(c.location.size()) {}
};

Wanted by_definition(const Case& c) {
  const dcnv3_msda_params& p = c.p;
  Wanted wanted(c);
  for (std::int64_t unit = 0; unit < c.units(); ++unit) {
    const std::int64_t image = unit / (p.queries * p.heads), head = unit % p.heads;
    Values shares(c.weight.begin() + unit * c.samples(), c.weight.begin() + (unit + 1) * c.samples());
    if (p.flags & DCNV3_SOFTMAX_MASK) test::softmax(shares.data(), c.samples());
    const double* grad = &c.grad_output[unit * p.channels];
    for (int k = 0; k < c.samples(); ++k) {
      const Level& level = c.levels[k / p.points];
      const std::int64_t at = unit * c.samples() + k;
      const double x = c.location[2 * at] * level.width - 0.5, y = c.location[2 * at + 1] * level.height - 0.5;
      wanted.jumps[2 * at] = wanted.jumps[2 * at + 1] = test::slopes_jump(x, y, c.single());
      if (std::isnan(x) || std::isnan(y))
        for (int ch = 0; ch < p.channels; ++ch) wanted.output[unit * p.channels + ch] = std::nan("");
      test::each_corner(x, y, level.height, level.width, [&](std::int64_t pixel, double w, double dx, double dy) {
        const std::int64_t first = ((image * p.pixels + level.start + pixel) * p.heads + head) * p.channels;
        for (int ch = 0; ch < p.channels; ++ch) {
          const double product = c.value[first + ch] * grad[ch];
          wanted.output[unit * p.channels + ch] += shares[k] * w * c.value[first + ch];
          wanted.value[first + ch] += shares[k] * w * grad[ch];
          wanted.weight[at] += w * product;
          wanted.location[2 * at] += shares[k] * level.width * dx * product;
          wanted.location[2 * at + 1] += shares[k] * level.height * dy * product;
        }
      });
    }
    if (p.flags & DCNV3_SOFTMAX_MASK)
      test::softmax_backward(shares.data(), &wanted.weight[unit * c.samples()], c.samples());
  }
  return wanted;
}

struct Found {
  Numbers output, value, location, weight;
};

Found run(Case& c, int threads, int round) {
  Numbers value(c.value, c.types[0]), location(c.location, c.types[1]), weight(c.weight, c.types[2]);
  Numbers grad_output(c.grad_output, c.types[0]);
  Found found{Numbers(c.grad_output.size(), c.types[0]), Numbers(c.value.size(), c.types[0]),
              Numbers(c.location.size(), c.types[1]), Numbers(c.weight.size(), c.types[2])};
  c.p.threads = threads;
  c.p.shapes = c.shapes.data();
  c.p.starts = c.starts.data();
  const dcnv3_msda_tensors in{value.array(), location.array(), weight.array()};
  const dcnv3_msda_tensors grad{found.value.array(), found.location.array(), found.weight.array()};
  test::check(dcnv3_msda_forward_cpu(&c.p, &in, found.output.array()) == DCNV3_OK, "forward status", round);
  test::check(dcnv3_msda_backward_cpu(&c.p, &in, grad_output.array(), &grad) == DCNV3_OK, "backward status", round);
  return found;
}

// Gradients that are wanted alone are those that are wanted together.
void check_single_gradients(Case& c, const Found& all, int round) {
  Numbers value(c.value, c.types[0]), location(c.location, c.types[1]), weight(c.weight, c.types[2]);
  Numbers grad_output(c.grad_output, c.types[0]);
  const dcnv3_msda_tensors in{value.array(), location.array(), weight.array()};
  const Numbers* wanted[] = {&all.value, &all.location, &all.weight};
  for (int i = 0; i < 3; ++i) {
    Numbers alone(wanted[i]->values().size(), c.types[i]);
    dcnv3_msda_tensors grad{{nullptr, c.types[0], 0}, {nullptr, c.types[1], 0}, {nullptr, c.types[2], 0}};
    (i == 0 ? grad.value : (i == 1 ? grad.location : grad.weight)) = alone.array();
    test::check(dcnv3_msda_backward_cpu(&c.p, &in, grad_output.array(), &grad) == DCNV3_OK, "status alone", round);
    test::check(alone.bytes() == wanted[i]->bytes(), "a gradient alone is another one", round);
  }
}

void one_round(test::Random& random, int round) {
  Case c = draw(random);
  const bool with_nan = random.chance(3);
  if (random.chance(3)) random.make_wild(c.location, with_nan);
  c.location = rounded(c.location, c.types[1]);
  const bool has_nan = std::any_of(c.location.begin(), c.location.end(), [](double x) { return std::isnan(x); });
  const Found found = run(c, test::kThreads[0], round);
  const Wanted wanted = by_definition(c);
  test::compare(found.output, wanted.output, c.single(), "output", round);
  if (!has_nan) {
    test::compare(found.value, wanted.value, c.single(), "gradient of the values", round);
    test::compare(found.location, wanted.location, c.single(), "gradient of the locations", round, &wanted.jumps);
    test::compare(found.weight, wanted.weight, c.single(), "gradient of the weights", round);
  }
  for (const int threads : test::kThreads) {
    const Found other = run(c, threads, round);
    test::check(other.output.bytes() == found.output.bytes() && other.value.bytes() == found.value.bytes() &&
                    other.location.bytes() == found.location.bytes() && other.weight.bytes() == found.weight.bytes(),
                "other bits with other threads", round);
  }
  if (!has_nan) check_single_gradients(c, found, round);
}

}  // namespace

int main(int argc, char** argv) { return test::run(argc, argv, 150, one_round); }
