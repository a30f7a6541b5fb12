// The functions that are PTX on a GPU, for the stand-in: conversions of 16-bit floats, ldmatrix, mma and cp.async with
// the register layouts of the PTX ISA. common.cuh includes this under HEDDLE_STAND_IN after it has declared the structs
// bf16 and f16 (2 bytes each, whatever their member is called).
#pragma once

// ---- 16-bit floats; NaN becomes 0x7fff, as cvt.rn does

inline float to_float(bf16 x) { return __uint_as_float((unsigned) heddle_bits<unsigned short>(x) << 16); }
inline float to_float(f16 x) {
  unsigned bits = heddle_bits<unsigned short>(x), sign = (bits & 0x8000) << 16, rest = bits & 0x7fff;
  if (rest >= 0x7c00) return __uint_as_float(sign | 0x7f800000 | (rest & 0x3ff) << 13);
  return __uint_as_float(sign | __float_as_uint(__uint_as_float(rest << 13) * 0x1p112f));
}
inline bf16 to_bf16(float x) {
  unsigned bits = __float_as_uint(x);
  if (x != x) return heddle_bits<bf16>((unsigned short) 0x7fff);
  return heddle_bits<bf16>((unsigned short) ((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
}
inline f16 to_f16(float x) {
  unsigned bits = __float_as_uint(x), sign = bits >> 16 & 0x8000, rest = bits & 0x7fffffff, half;
  if (rest > 0x7f800000) return heddle_bits<f16>((unsigned short) 0x7fff);
  if (rest >= 0x47800000) half = 0x7c00;                                             // 65536 and more
  else if (rest < 0x38800000) half = (unsigned) rintf(__uint_as_float(rest) * 0x1p24f);   // subnormal
  else half = (rest - 0x38000000 + 0xfff + (rest >> 13 & 1)) >> 13;                  // may round up to infinity
  return heddle_bits<f16>((unsigned short) (sign | half));
}

// ---- mma.sync.aligned.m16n8k16.row.col, f32 accumulators: d += a * b

struct HeddleMma { float* d; const unsigned *a, *b; };
template <class T> float heddle_half(unsigned pair, int which) {
  return to_float(heddle_bits<T>((unsigned short) (pair >> 16 * which)));
}
template <class T> void heddle_mma(void** lane, unsigned) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; l++) {
    if (!lane[l]) heddle_here.fault(719, "mma with a lane missing");
    auto mine = (HeddleMma*) lane[l];
    int group = l >> 2, in_group = l & 3;
    for (int r = 0; r < 4; r++) for (int h = 0; h < 2; h++)
      a[group + (r & 1) * 8][in_group * 2 + h + (r >> 1) * 8] = heddle_half<T>(mine->a[r], h);
    for (int r = 0; r < 2; r++) for (int h = 0; h < 2; h++) b[in_group * 2 + h + r * 8][group] = heddle_half<T>(mine->b[r], h);
  }
  for (int l = 0; l < 32; l++) {
    auto mine = (HeddleMma*) lane[l];
    for (int i = 0; i < 4; i++) {
      int row = (l >> 2) + (i >> 1) * 8, column = (l & 3) * 2 + (i & 1);
      float sum = 0;
      for (int k = 0; k < 16; k++) sum += a[row][k] * b[k][column];
      mine->d[i] += sum;
    }
  }
}
inline void mma_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], bf16) {
  HeddleMma mine{d, a, b};
  heddle_here.collective(0xffffffffu, heddle_mma<bf16>, &mine);
}
inline void mma_16816(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], f16) {
  HeddleMma mine{d, a, b};
  heddle_here.collective(0xffffffffu, heddle_mma<f16>, &mine);
}

// ---- ldmatrix.sync.aligned.m8n8: lanes 8m to 8m+7 give the rows' addresses of matrix m, 16 bytes a row

struct HeddleRows { unsigned* registers; const void* row; };
template <int matrices, bool transposed> void heddle_ldmatrix(void** lane, unsigned) {
  unsigned short m[matrices][8][8];
  for (int l = 0; l < 32; l++) {
    if (!lane[l]) heddle_here.fault(719, "ldmatrix with a lane missing");
    if (l >= 8 * matrices) continue;
    const void* row = ((HeddleRows*) lane[l])->row;
    if ((size_t) row & 15) heddle_here.fault(716, "ldmatrix of a row that is not 16-byte aligned");
    memcpy(m[l >> 3][l & 7], row, 16);
  }
  for (int l = 0; l < 32; l++) for (int i = 0; i < matrices; i++) {
    int outer = l >> 2, pair = (l & 3) * 2;
    unsigned low = transposed ? m[i][pair][outer] : m[i][outer][pair];
    unsigned high = transposed ? m[i][pair + 1][outer] : m[i][outer][pair + 1];
    ((HeddleRows*) lane[l])->registers[i] = low | high << 16;
  }
}
template <int matrices, bool transposed> void heddle_load(unsigned* registers, const void* row) {
  HeddleRows mine{registers, row};
  heddle_here.collective(0xffffffffu, heddle_ldmatrix<matrices, transposed>, &mine);
}
inline void ldmatrix_x4(unsigned (&r)[4], const void* shared) { heddle_load<4, false>(r, shared); }
inline void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) { heddle_load<4, true>(r, shared); }
inline void ldmatrix_x2(unsigned (&r)[2], const void* shared) { heddle_load<2, false>(r, shared); }
inline void ldmatrix_x2_trans(unsigned (&r)[2], const void* shared) { heddle_load<2, true>(r, shared); }

// ---- cp.async: the bytes arrive only at the wait, so a kernel that forgets it computes with NaN

inline void cp_async_16(void* shared, const void* global, bool valid) { heddle_here.copy_async(shared, global, valid); }
inline void cp_async_commit() { heddle_here.copy_commit(); }
template <int pending> inline void cp_async_wait() { heddle_here.copy_wait(pending); }
