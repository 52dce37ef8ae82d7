// The CPU kernels against a plain loop over the definition, on arrays of exactly their size: built with the address
// sanitizer (DCNV3_SANITIZE), any access beside them ends the program.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <vector>

#include "dcnv3/dcnv3.h"

namespace {

int failures = 0;

void check(bool good, const char* what, int round) {
  if (good) return;
  std::printf("round %d: %s\n", round, what);
  ++failures;
}

struct Case {
  dcnv3_params p{};
  int points = 0;
  std::vector<double> input, offset, mask, gate, grad_output;

  std::int64_t pixels() const { return p.batch * p.out_height * p.out_width; }
  std::int64_t channels() const { return std::int64_t{p.group} * p.group_channels; }
};

Case draw(std::mt19937& random) {
  auto between = [&](int low, int high) { return std::uniform_int_distribution<int>(low, high)(random); };
  Case c;
  dcnv3_params& p = c.p;
  p.struct_size = sizeof p;
  p.batch = between(0, 3);
  p.group = between(1, 4);
  p.group_channels = between(1, 40);
  p.kernel_h = between(1, 5);
  p.kernel_w = between(1, 5);
  p.stride_h = between(1, 3);
  p.stride_w = between(1, 3);
  p.dilation_h = between(1, 2);
  p.dilation_w = between(1, 2);
  p.pad_h = between(0, 3);
  p.pad_w = between(0, 3);
  p.height = std::max(1, p.dilation_h * (p.kernel_h - 1) + 1 - 2 * p.pad_h) + between(0, 12);
  p.width = std::max(1, p.dilation_w * (p.kernel_w - 1) + 1 - 2 * p.pad_w) + between(0, 12);
  p.offset_scale = between(1, 4) * 0.5;
  p.threads = between(1, 3);
  const int taps = p.kernel_h * p.kernel_w;
  const bool removes = taps % 2 == 1 && taps > 1 && between(0, 1);
  c.points = taps - removes;
  p.flags = (removes ? DCNV3_REMOVE_CENTER : 0) | (between(0, 1) ? DCNV3_SOFTMAX_MASK : 0);
  check(dcnv3_output_size(&p, &p.out_height, &p.out_width) == DCNV3_OK, "output size", -1);

  auto fill = [&](std::vector<double>& v, std::int64_t size, double spread) {
    v.resize(size);
    for (double& x : v) x = std::normal_distribution<double>(0, spread)(random);
  };
  fill(c.input, p.batch * p.height * p.width * c.channels(), 1);
  fill(c.offset, c.pixels() * p.group * c.points * 2, between(0, 3) ? 1.5 : 100);
  fill(c.mask, c.pixels() * p.group * c.points, 1);
  fill(c.grad_output, c.pixels() * c.channels(), 1);
  if (p.height == p.out_height && p.width == p.out_width && between(0, 1)) {
    fill(c.gate, c.pixels() * p.group, 1);
    for (double& x : c.gate) x = 1 / (1 + std::exp(-x));
  }
  return c;
}

double at(const Case& c, std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t channel) {
  if (y < 0 || x < 0 || y >= c.p.height || x >= c.p.width) return 0;
  return c.input[((n * c.p.height + y) * c.p.width + x) * c.channels() + channel];
}

// The definition: sample by sample, corner by corner.
std::vector<double> by_definition(const Case& c) {
  const dcnv3_params& p = c.p;
  std::vector<double> out(c.pixels() * c.channels());
  for (std::int64_t pixel = 0; pixel < c.pixels(); ++pixel) {
    const std::int64_t n = pixel / (p.out_height * p.out_width), i = pixel / p.out_width % p.out_height;
    const std::int64_t j = pixel % p.out_width;
    for (int g = 0; g < p.group; ++g) {
      const double* mask = &c.mask[(pixel * p.group + g) * c.points];
      double total = 0;
      for (int k = 0; k < c.points; ++k) total += std::exp(mask[k]);
      int k = 0;
      for (int tap = 0; tap < p.kernel_h * p.kernel_w; ++tap) {
        if ((p.flags & DCNV3_REMOVE_CENTER) && tap == p.kernel_h * p.kernel_w / 2) continue;
        const double* o = &c.offset[((pixel * p.group + g) * c.points + k) * 2];
        const int cx = p.dilation_w * (p.kernel_w - 1) / 2, cy = p.dilation_h * (p.kernel_h - 1) / 2;
        const double x = double(j * p.stride_w - p.pad_w + cx) + p.offset_scale * (tap / p.kernel_h * p.dilation_w - cx + o[0]);
        const double y = double(i * p.stride_h - p.pad_h + cy) + p.offset_scale * (tap % p.kernel_h * p.dilation_h - cy + o[1]);
        const double weight = p.flags & DCNV3_SOFTMAX_MASK ? std::exp(mask[k]) / total : mask[k];
        ++k;
        if (!(std::fabs(x) < 1e6 && std::fabs(y) < 1e6)) continue;
        const double fx = std::floor(x), fy = std::floor(y);
        for (int ch = 0; ch < p.group_channels; ++ch)
          for (int corner = 0; corner < 4; ++corner) {
            const double xx = fx + corner % 2, yy = fy + corner / 2;
            out[pixel * c.channels() + g * p.group_channels + ch] +=
                weight * (1 - std::fabs(x - xx)) * (1 - std::fabs(y - yy)) *
                at(c, n, std::int64_t(yy), std::int64_t(xx), g * p.group_channels + ch);
          }
      }
      if (c.gate.empty()) continue;
      const double gate = c.gate[pixel * p.group + g];
      for (int ch = 0; ch < p.group_channels; ++ch) {
        const std::int64_t index = pixel * c.channels() + g * p.group_channels + ch;
        out[index] = out[index] * (1 - gate) + c.input[index] * gate;
      }
    }
  }
  return out;
}

dcnv3_array array_of(std::vector<double>& v) { return {v.empty() ? nullptr : v.data(), DCNV3_F64, 0}; }

std::vector<double> forward(Case& c, int round) {
  // Never NULL, even without pixels.
  std::vector<double> out(std::max<std::int64_t>(1, c.pixels() * c.channels()), std::nan(""));
  const dcnv3_tensors in{array_of(c.input), array_of(c.offset), array_of(c.mask), array_of(c.gate)};
  check(dcnv3_forward_cpu(&c.p, &in, array_of(out)) == DCNV3_OK, "forward status", round);
  return out;
}

double weighted_sum(Case& c, int round) {
  const std::vector<double> out = forward(c, round);
  double sum = 0;
  for (std::size_t i = 0; i < c.grad_output.size(); ++i) sum += out[i] * c.grad_output[i];
  return sum;
}

// Every gradient of the backward pass against a finite difference at a few places.
void check_gradients(Case& c, std::mt19937& random, int round) {
  std::vector<double> input(c.input.size()), offset(c.offset.size()), mask(c.mask.size()), gate(c.gate.size());
  const dcnv3_tensors in{array_of(c.input), array_of(c.offset), array_of(c.mask), array_of(c.gate)};
  const dcnv3_tensors grad{array_of(input), array_of(offset), array_of(mask), array_of(gate)};
  check(dcnv3_backward_cpu(&c.p, &in, array_of(c.grad_output), &grad) == DCNV3_OK, "backward status", round);
  std::vector<double>* pairs[][2] = {{&c.input, &input}, {&c.offset, &offset}, {&c.mask, &mask}, {&c.gate, &gate}};
  for (auto& pair : pairs) {
    if (pair[0]->empty()) continue;
    for (int trial = 0; trial < 3; ++trial) {
      const std::size_t i = std::uniform_int_distribution<std::size_t>(0, pair[0]->size() - 1)(random);
      double& value = (*pair[0])[i];
      const double before = value, step = 1e-6;
      value = before + step;
      const double above = weighted_sum(c, round);
      value = before - step;
      const double below = weighted_sum(c, round);
      value = before;
      const double difference = (above - below) / (2 * step);
      // A step across a pixel's border is no slope: rare, and told by a second, smaller one.
      value = before + step / 8;
      const double near = (weighted_sum(c, round) - below) / (step * 1.125);
      value = before;
      if (std::fabs(near - difference) > 1e-4 * (1 + std::fabs(difference))) continue;
      check(std::fabs((*pair[1])[i] - difference) <= 1e-4 * (1 + std::fabs(difference)), "gradient", round);
    }
  }
}

// Positions that are no place: nothing outside the arrays is touched, the rest of the output stays.
void check_wild_positions(Case& c, std::mt19937& random, int round) {
  const double wild[] = {std::nan(""), std::numeric_limits<double>::infinity(),
                         -std::numeric_limits<double>::infinity(), 1e300, -1e300, 2147483648.0};
  for (double& x : c.offset)
    if (random() % 4 == 0) x = wild[random() % 6];
  std::vector<double> input(c.input.size()), offset(c.offset.size()), mask(c.mask.size()), gate(c.gate.size());
  const dcnv3_tensors in{array_of(c.input), array_of(c.offset), array_of(c.mask), array_of(c.gate)};
  const dcnv3_tensors grad{array_of(input), array_of(offset), array_of(mask), array_of(gate)};
  forward(c, round);
  check(dcnv3_backward_cpu(&c.p, &in, array_of(c.grad_output), &grad) == DCNV3_OK, "backward of wild positions", round);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 200;
  std::mt19937 random(7);
  for (int round = 0; round < rounds; ++round) {
    Case c = draw(random);
    const std::vector<double> found = forward(c, round), wanted = by_definition(c);
    for (std::size_t i = 0; i < wanted.size(); ++i)
      if (!(std::fabs(found[i] - wanted[i]) <= 1e-9 * (1 + std::fabs(wanted[i])))) {
        check(false, "output differs from the definition", round);
        break;
      }
    if (c.p.batch > 0) {
      check_gradients(c, random, round);
      check_wild_positions(c, random, round);
    }
  }
  std::printf("%d rounds with %s instructions, %d failures\n", rounds, dcnv3_cpu_instructions(), failures);
  return failures ? 1 : 0;
}
