// Random tensors: the same Philox numbers as on the CPU, element by element (dev.heddle.engine.op.Random says which word
// belongs to which element). One thread a block of four elements.
#include "common.cuh"
#include "expression.cuh"

#ifndef DTYPE
#define DTYPE f32
#endif

constexpr float TWO_PI = 6.283185307179586f;

/// Uniform in [0, 1). seed, offset: one number each. Grid: blocks of 256 threads, ceil(elements / 4) threads.
extern "C" __global__ void random_uniform(DTYPE* y, const int64_t* seed, const int64_t* offset, int64_t elements) {
    int64_t block = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (4 * block >= elements) {
        return;
    }
    uint32_t words[4];
    philox(words, static_cast<uint64_t>(*seed), static_cast<uint64_t>(*offset + block));
    for (int i = 0; i < 4 && 4 * block + i < elements; i++) {
        y[4 * block + i] = uniform(words[i]);
    }
}

/// Standard normal, by Box and Muller's transform of word pairs. The same launch.
extern "C" __global__ void random_normal(DTYPE* y, const int64_t* seed, const int64_t* offset, int64_t elements) {
    int64_t block = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (4 * block >= elements) {
        return;
    }
    uint32_t words[4];
    philox(words, static_cast<uint64_t>(*seed), static_cast<uint64_t>(*offset + block));
    for (int i = 0; i < 4 && 4 * block + i < elements; i++) {
        uint32_t u = words[i & 2];
        float radius = sqrtf(-2 * logf(static_cast<float>((u >> 8) + 1) * 0x1p-24f));
        float angle = TWO_PI * uniform(words[(i & 2) + 1]);
        y[4 * block + i] = radius * (i % 2 == 0 ? cosf(angle) : sinf(angle));
    }
}
