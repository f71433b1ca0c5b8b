// From logits at the decoder's size to a class map at the frame's: bilinear and argmax in one, one thread a pixel.
// The compiler is told, as macros: BATCH CHANNELS; LOW_H LOW_W of the logits; AT_H AT_W, where the best class is picked;
// OUT_H OUT_W of the class map; COORDINATES 0 align_corners, 1 half_pixel, 2 asymmetric; THRESHOLD for one channel;
// HALF where the logits are in half precision. HOST is for a compiler of plain C, by which the arithmetic is tested.

#ifdef HOST
#include <math.h>
#define DEVICE static
#else
#define DEVICE __device__ __forceinline__
#endif

#if HALF && !defined(HOST)
typedef unsigned short Logit;
DEVICE float value_of(Logit bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
#elif HALF
typedef _Float16 Logit;
DEVICE float value_of(Logit value) { return (float)value; }
#else
typedef float Logit;
DEVICE float value_of(Logit value) { return value; }
#endif

// Where a pixel of the larger map lies in the smaller one, as ONNX has it.
DEVICE float source_of(int index, int small, int large) {
#if COORDINATES == 0
  return large > 1 ? index * (small - 1.0f) / (large - 1.0f) : 0.0f;
#elif COORDINATES == 1
  return (index + 0.5f) * small / large - 0.5f;
#else
  return (float)index * small / large;
#endif
}

// Nearest neighbour, of two alike the lower.
DEVICE int nearest_of(int index, int small, int large) {
  int nearest = (int)ceilf(source_of(index, small, large) - 0.5f);
  return nearest < 0 ? 0 : nearest >= small ? small - 1 : nearest;
}

DEVICE unsigned char class_at(const Logit *logits, int y, int x) {
  float fy = fminf(fmaxf(source_of(nearest_of(y, AT_H, OUT_H), LOW_H, AT_H), 0.0f), LOW_H - 1.0f);
  float fx = fminf(fmaxf(source_of(nearest_of(x, AT_W, OUT_W), LOW_W, AT_W), 0.0f), LOW_W - 1.0f);
  int top = (int)fy, left = (int)fx;
  int bottom = top + 1 < LOW_H ? top + 1 : top, right = left + 1 < LOW_W ? left + 1 : left;
  float down = fy - top, across = fx - left;
  const Logit *above = logits + top * LOW_W, *below = logits + bottom * LOW_W;
  float best = 0.0f;
  int found = 0;
#ifndef HOST
#pragma unroll
#endif
  for (int channel = 0; channel < CHANNELS; ++channel) {
    float upper = value_of(above[left]) * (1.0f - across) + value_of(above[right]) * across;
    float lower = value_of(below[left]) * (1.0f - across) + value_of(below[right]) * across;
    float value = upper * (1.0f - down) + lower * down;
    if (channel == 0 || value > best) {
      best = value;
      found = channel;
    }
    above += LOW_H * LOW_W;
    below += LOW_H * LOW_W;
  }
  return CHANNELS == 1 ? best > THRESHOLD : found;
}

#ifdef HOST
void class_map(const Logit *logits, unsigned char *out) {
  for (int row = 0; row < BATCH * OUT_H; ++row)
    for (int x = 0; x < OUT_W; ++x)
      out[row * OUT_W + x] = class_at(logits + row / OUT_H * CHANNELS * LOW_H * LOW_W, row % OUT_H, x);
}
#else
extern "C" __global__ void class_map(const Logit *logits, unsigned char *out) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < OUT_W && row < BATCH * OUT_H)
    out[row * OUT_W + x] = class_at(logits + row / OUT_H * CHANNELS * LOW_H * LOW_W, row % OUT_H, x);
}
#endif
