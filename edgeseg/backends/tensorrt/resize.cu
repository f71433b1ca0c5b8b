// From camera frames to frames of the network's size, one thread a pixel, in whole numbers as OpenCV's INTER_LINEAR.
// The compiler is told, as macros: BATCH CHANNELS; FROM_H FROM_W of the camera's frames; TO_H TO_W of the network's;
// TOP LEFT HEIGHT WIDTH, where the frame is shown in them; PADDING around that. HOST is for a compiler of plain C, by
// which the arithmetic is tested.
// A tap is three numbers: two places to read, and the weight of the second out of 2048.

#ifdef HOST
#define DEVICE static
#else
#define DEVICE __device__ __forceinline__
#endif

DEVICE int row_of(const unsigned char *row, const int *tap, int channel) {
  return row[tap[0] * CHANNELS + channel] * (2048 - tap[2]) + row[tap[1] * CHANNELS + channel] * tap[2];
}

DEVICE void resize_at(const unsigned char *frame, const int *rows, const int *columns, unsigned char *out, int y, int x) {
  int inside = y >= TOP && y < TOP + HEIGHT && x >= LEFT && x < LEFT + WIDTH;
  const int *down = rows + 3 * (inside ? y - TOP : 0), *across = columns + 3 * (inside ? x - LEFT : 0);
  const unsigned char *upper = frame + down[0] * FROM_W * CHANNELS, *lower = frame + down[1] * FROM_W * CHANNELS;
  for (int channel = 0; channel < CHANNELS; ++channel) {
    int above = row_of(upper, across, channel), below = row_of(lower, across, channel);
    int value = (((2048 - down[2]) * (above >> 4) >> 16) + (down[2] * (below >> 4) >> 16) + 2) >> 2;
    out[(y * TO_W + x) * CHANNELS + channel] = inside ? value : PADDING;
  }
}

#ifdef HOST
void resize(const unsigned char *frames, const int *rows, const int *columns, unsigned char *out) {
  for (int row = 0; row < BATCH * TO_H; ++row)
    for (int x = 0; x < TO_W; ++x)
      resize_at(frames + row / TO_H * FROM_H * FROM_W * CHANNELS, rows, columns,
                out + row / TO_H * TO_H * TO_W * CHANNELS, row % TO_H, x);
}
#else
extern "C" __global__ void resize(const unsigned char *frames, const int *rows, const int *columns,
                                  unsigned char *out) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, row = blockIdx.y * blockDim.y + threadIdx.y;
  if (x < TO_W && row < BATCH * TO_H)
    resize_at(frames + row / TO_H * FROM_H * FROM_W * CHANNELS, rows, columns,
              out + row / TO_H * TO_H * TO_W * CHANNELS, row % TO_H, x);
}
#endif
