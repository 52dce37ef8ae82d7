// DCNv3 on the CPU against a plain loop over its definition.
#include "support.h"

namespace {

using test::Numbers;
using test::rounded;
using test::Values;

struct Case {
  dcnv3_params p{};
  int points = 0;
  Values input, offset, mask, gate, grad_output;  // as stored, rounded to their types
  int types[4];                                   // of input, offset, mask, gate

  std::int64_t pixels() const { return p.batch * p.out_height * p.out_width; }
  std::int64_t channels() const { return std::int64_t{p.group} * p.group_channels; }
  bool single() const { return types[0] != DCNV3_F64; }
};

Case draw(test::Random& random) {
  Case c;
  dcnv3_params& p = c.p;
  p.struct_size = sizeof p;
  p.batch = random.between(0, 3);
  p.group = random.between(1, 4);
  p.group_channels = random.between(1, 40);
  p.kernel_h = random.between(1, 5);
  p.kernel_w = random.between(1, 5);
  p.stride_h = random.between(1, 3);
  p.stride_w = random.between(1, 3);
  p.dilation_h = random.between(1, 2);
  p.dilation_w = random.between(1, 2);
  p.pad_h = random.between(0, 3);
  p.pad_w = random.between(0, 3);
  p.height = std::max(1, p.dilation_h * (p.kernel_h - 1) + 1 - 2 * p.pad_h) + random.between(0, 9);
  p.width = std::max(1, p.dilation_w * (p.kernel_w - 1) + 1 - 2 * p.pad_w) + random.between(0, 9);
  p.offset_scale = random.between(1, 4) * 0.5;
  const int taps = p.kernel_h * p.kernel_w;
  const bool removes = taps % 2 == 1 && taps > 1 && random.chance(2);
  c.points = taps - removes;
  p.flags = (removes ? DCNV3_REMOVE_CENTER : 0) | (random.chance(2) ? DCNV3_SOFTMAX_MASK : 0);
  test::check(dcnv3_output_size(&p, &p.out_height, &p.out_width) == DCNV3_OK, "output size", -1);

  for (int& type : c.types) type = random.type();
  const std::int64_t samples = c.pixels() * p.group * c.points;
  c.input = rounded(random.normal(p.batch * p.height * p.width * c.channels(), 1), c.types[0]);
  c.mask = rounded(random.normal(samples, 1), c.types[2]);
  c.grad_output = rounded(random.normal(c.pixels() * c.channels(), 1), c.types[0]);
  c.offset = random.normal(2 * samples, random.chance(4) ? 100 : 1.5);
  if (p.height == p.out_height && p.width == p.out_width && random.chance(2)) {
    c.gate = random.normal(c.pixels() * p.group, 1);
    for (double& x : c.gate) x = 1 / (1 + std::exp(-x));
    c.gate = rounded(c.gate, c.types[3]);
  }
  return c;
}

// What the definition says: sample by sample, corner by corner.
struct Wanted {
  Values output, input, offset, mask, gate;
  std::vector<bool> jumps;  // of offsets: whether the slope jumps there
  explicit Wanted(const Case& c)
      : output(c.grad_output.size()), input(c.input.size()), offset(c.offset.size()), mask(c.mask.size()),
        gate(c.gate.size()), jumps(c.offset.size()) {}
};

// Adds one sample of one pixel and group to its output, and to the gradients.
void add_sample(const Case& c, std::int64_t at, double x, double y, double share, std::int64_t image, int group,
                const Values& grad, Values& output, Wanted& wanted) {
  const dcnv3_params& p = c.p;
  wanted.jumps[2 * at] = wanted.jumps[2 * at + 1] = test::slopes_jump(x, y, c.single());
  if (std::isnan(x) || std::isnan(y)) output.assign(output.size(), std::nan(""));
  test::each_corner(x, y, p.height, p.width, [&](std::int64_t place, double w, double dx, double dy) {
    const std::int64_t first =
        (image * p.height * p.width + place) * c.channels() + std::int64_t{group} * p.group_channels;
    for (int ch = 0; ch < p.group_channels; ++ch) {
      const double product = c.input[first + ch] * grad[ch];
      output[ch] += share * w * c.input[first + ch];
      wanted.input[first + ch] += share * w * grad[ch];
      wanted.mask[at] += w * product;
      wanted.offset[2 * at] += share * p.offset_scale * dx * product;
      wanted.offset[2 * at + 1] += share * p.offset_scale * dy * product;
    }
  });
}

// Blends a pixel's output with the centre.
void add_gate(const Case& c, std::int64_t unit, Values& output, Wanted& wanted) {
  const int channels = c.p.group_channels;
  for (int ch = 0; ch < channels; ++ch) {
    // Input and output have one size.
    const double grad = c.grad_output[unit * channels + ch], center = c.input[unit * channels + ch];
    wanted.gate[unit] += grad * (center - output[ch]);
    wanted.input[unit * channels + ch] += grad * c.gate[unit];
    output[ch] = output[ch] * (1 - c.gate[unit]) + center * c.gate[unit];
  }
}

Wanted by_definition(const Case& c) {
  const dcnv3_params& p = c.p;
  const int cx = p.dilation_w * (p.kernel_w - 1) / 2, cy = p.dilation_h * (p.kernel_h - 1) / 2;
  Wanted wanted(c);
  for (std::int64_t unit = 0; unit < c.pixels() * p.group; ++unit) {
    const std::int64_t pixel = unit / p.group, image = pixel / (p.out_height * p.out_width);
    const std::int64_t i = pixel / p.out_width % p.out_height, j = pixel % p.out_width;
    Values shares(c.mask.begin() + unit * c.points, c.mask.begin() + (unit + 1) * c.points);
    if (p.flags & DCNV3_SOFTMAX_MASK) test::softmax(shares.data(), c.points);
    Values output(p.group_channels), grad(p.group_channels);
    for (int ch = 0; ch < p.group_channels; ++ch)
      grad[ch] = c.grad_output[unit * p.group_channels + ch] * (c.gate.empty() ? 1 : 1 - c.gate[unit]);
    int k = 0;
    for (int tap = 0; tap < p.kernel_h * p.kernel_w; ++tap) {
      if ((p.flags & DCNV3_REMOVE_CENTER) && tap == p.kernel_h * p.kernel_w / 2) continue;
      const std::int64_t at = unit * c.points + k;
      const double x = static_cast<double>(j * p.stride_w - p.pad_w + cx) +
                       p.offset_scale * (tap / p.kernel_h * p.dilation_w - cx + c.offset[2 * at]);
      const double y = static_cast<double>(i * p.stride_h - p.pad_h + cy) +
                       p.offset_scale * (tap % p.kernel_h * p.dilation_h - cy + c.offset[2 * at + 1]);
      add_sample(c, at, x, y, shares[k], image, static_cast<int>(unit % p.group), grad, output, wanted);
      ++k;
    }
    if (p.flags & DCNV3_SOFTMAX_MASK) test::softmax_backward(shares.data(), &wanted.mask[unit * c.points], c.points);
    if (!c.gate.empty()) add_gate(c, unit, output, wanted);
    std::copy(output.begin(), output.end(), wanted.output.begin() + unit * p.group_channels);
  }
  return wanted;
}

struct Found {
  Numbers output, input, offset, mask, gate;
};

Found run(Case& c, int threads, int round) {
  Numbers input(c.input, c.types[0]), offset(c.offset, c.types[1]), mask(c.mask, c.types[2]);
  Numbers gate(c.gate, c.types[3]), grad_output(c.grad_output, c.types[0]);
  Found found{Numbers(c.grad_output.size(), c.types[0]), Numbers(c.input.size(), c.types[0]),
              Numbers(c.offset.size(), c.types[1]), Numbers(c.mask.size(), c.types[2]),
              Numbers(c.gate.size(), c.types[3])};
  c.p.threads = threads;
  const dcnv3_tensors in{input.array(), offset.array(), mask.array(), gate.array()};
  const dcnv3_tensors grad{found.input.array(), found.offset.array(), found.mask.array(), found.gate.array()};
  test::check(dcnv3_forward_cpu(&c.p, &in, found.output.array()) == DCNV3_OK, "forward status", round);
  test::check(dcnv3_backward_cpu(&c.p, &in, grad_output.array(), &grad) == DCNV3_OK, "backward status", round);
  return found;
}

void one_round(test::Random& random, int round) {
  Case c = draw(random);
  const bool with_nan = random.chance(3);
  if (random.chance(3)) random.make_wild(c.offset, with_nan);
  c.offset = rounded(c.offset, c.types[1]);
  const bool has_nan = std::any_of(c.offset.begin(), c.offset.end(), [](double x) { return std::isnan(x); });
  const Found found = run(c, test::kThreads[0], round);
  const Wanted wanted = by_definition(c);
  test::compare(found.output, wanted.output, c.single(), "output", round);
  if (!has_nan) {
    test::compare(found.input, wanted.input, c.single(), "gradient of the input", round);
    test::compare(found.offset, wanted.offset, c.single(), "gradient of the offsets", round, &wanted.jumps);
    test::compare(found.mask, wanted.mask, c.single(), "gradient of the mask", round);
    test::compare(found.gate, wanted.gate, c.single(), "gradient of the gate", round);
  }
  for (const int threads : test::kThreads) {
    const Found other = run(c, threads, round);
    test::check(other.output.bytes() == found.output.bytes() && other.input.bytes() == found.input.bytes() &&
                    other.offset.bytes() == found.offset.bytes() && other.mask.bytes() == found.mask.bytes() &&
                    other.gate.bytes() == found.gate.bytes(),
                "other bits with other threads", round);
  }
}

}  // namespace

int main(int argc, char** argv) { return test::run(argc, argv, 150, one_round); }
