// Products of bfloat16 matrices, summed in float32, for processors with AVX512-BF16, called by XLA.
//
// One kernel does all three products of training; they differ in how their operands lie in memory:
//
//     0  rows times columns      a [M, K]  b [K, N]   forward            y  = x @ w
//     1  b transposed            a [M, K]  b [N, K]   input's gradient   dx = g @ w'
//     2  a transposed            a [K, M]  b [K, N]   weight's gradient  dw = x' @ g
//
// The instruction, VDPBF16PS, takes pairs of neighbours along K. So strips of COLUMNS columns of b are rewritten, pair by
// pair, into panels that stay in the second-level cache; for product 2, a is rewritten likewise, ROWS at a time, and
// otherwise read where it lies. A tile of ROWS x COLUMNS sums is held in registers for up to DEPTH of K. Each tile of the
// result is the work of one thread and its sums have one order, so results do not depend on the number of threads. The
// instruction takes and gives subnormal numbers as zeros.

#include <immintrin.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

constexpr int64_t ROWS = 12, COLUMNS = 32;  // of a tile: 24 sums of 16 numbers in registers
constexpr int64_t DEPTH = 1024;             // of K at a time, even: ROWS of a then fit the first-level cache
constexpr int64_t PANELS = 4;               // of b at a time, 64 KiB each: they fit the second-level cache
constexpr int64_t PANEL = DEPTH / 2 * COLUMNS;
constexpr int64_t BAND = 128;  // rows of a at a time that are rewritten, even and a divisor of DEPTH

enum Kind : int32_t { kPlain = 0, kRightTransposed = 1, kLeftTransposed = 2 };

int64_t blocks(int64_t size, int64_t block) { return (size + block - 1) / block; }

// Calls f(0) ... f(count - 1), each once, on this thread and on those of the pool that are free. This thread never waits
// for a task to begin, only for calls that others have begun: so all threads of the pool may be in here at once.
void parallel(ffi::ThreadPool pool, int64_t count, std::function<void(int64_t)> f) {
  struct State {
    std::function<void(int64_t)> f;
    int64_t count;
    std::atomic<int64_t> next{0}, done{0};
    void work() {
      for (int64_t i; (i = next.fetch_add(1)) < count;) {
        f(i);
        done.fetch_add(1);
      }
    }
  };
  auto state = std::make_shared<State>();
  state->f = std::move(f);
  state->count = count;
  int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule([state] { state->work(); });
  state->work();
  while (state->done.load() < count) std::this_thread::yield();
}

// Sixteen pairs: from `low` and `high`, each up to 16 bfloat16.
inline __m512i pair_up(const uint16_t* low, const uint16_t* high, __mmask16 some) {
  __m512i l = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, low));
  if (high == nullptr) return l;
  __m512i h = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(some, high));
  return _mm512_or_si512(l, _mm512_slli_epi32(h, 16));
}

inline __mmask16 first(int64_t n) { return n >= 16 ? 0xffff : n <= 0 ? 0 : static_cast<__mmask16>((1u << n) - 1); }

// Rewrites `depth` rows of a matrix with `stride` into pairs: out [depth / 2][width], columns behind `columns` zero.
template <int64_t width>
void pack_rows(const uint16_t* in, int64_t stride, int64_t depth, int64_t columns, uint32_t* out) {
  for (int64_t k = 0; k < depth; k += 2, out += width) {
    const uint16_t* low = in + k * stride;
    const uint16_t* high = k + 1 < depth ? low + stride : nullptr;
    for (int64_t c = 0; c < width; c += 16) {
      __m512i pairs = pair_up(low + c, high ? high + c : nullptr, first(columns - c));
      _mm512_mask_storeu_epi32(out + c, first(width - c), pairs);
    }
  }
}

inline uint32_t pair_at(const uint16_t* in, int64_t left) {
  uint32_t pair = 0;
  std::memcpy(&pair, in, left > 1 ? 4 : 2);
  return pair;
}

// The transpose of 16 rows of 16 pairs.
inline void turn(__m512i r[16]) {
  __m512i t[16];
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
    t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
    t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
  }
  for (int i = 0; i < 4; ++i) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
    r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
    r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
  }
}

// The same panel from a matrix whose rows are the panel's columns.
void pack_columns(const uint16_t* in, int64_t stride, int64_t depth, int64_t columns, uint32_t* out) {
  for (int64_t c = 0; c < COLUMNS; c += 16) {
    int64_t some = std::clamp<int64_t>(columns - c, 0, 16);
    for (int64_t k = 0; k < depth; k += 32) {
      uint32_t* to = out + k / 2 * COLUMNS + c;
      int64_t left = std::min<int64_t>(32, depth - k);
      __mmask32 here = left == 32 ? 0xffffffffu : (1u << left) - 1;
      __m512i r[16];
      for (int i = 0; i < 16; ++i)
        r[i] = i < some ? _mm512_maskz_loadu_epi16(here, in + (c + i) * stride + k) : _mm512_setzero_si512();
      turn(r);
      for (int64_t i = 0; i < blocks(left, 2); ++i) _mm512_storeu_si512(to + i * COLUMNS, r[i]);
    }
  }
}

// Where a tile finds pair p of row r of a: rows[r] + p * step bytes.
struct Left {
  const char* rows[ROWS];
  int64_t step;
  int64_t depth;
};

// One tile: `sums` [ROWS][COLUMNS] at `stride`, begun anew or added to.
inline void tile(const Left& a, const uint32_t* b, float* sums, int64_t stride, bool add) {
  __m512 s[ROWS][2];
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; ++r) {
    s[r][0] = add ? _mm512_loadu_ps(sums + r * stride) : _mm512_setzero_ps();
    s[r][1] = add ? _mm512_loadu_ps(sums + r * stride + 16) : _mm512_setzero_ps();
  }
  int64_t offset = 0;
  for (int64_t p = a.depth / 2; p > 0; --p, offset += a.step, b += COLUMNS) {
    __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) {
      int32_t pair;
      std::memcpy(&pair, a.rows[r] + offset, 4);
      __m512bh both = (__m512bh)_mm512_set1_epi32(pair);
      s[r][0] = _mm512_dpbf16_ps(s[r][0], both, b0);
      s[r][1] = _mm512_dpbf16_ps(s[r][1], both, b1);
    }
  }
  if (a.depth % 2) {  // the last of a pair alone: what lies behind it is not ours to read
    __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + 16);
#pragma GCC unroll 12
    for (int r = 0; r < ROWS; ++r) {
      uint32_t pair = pair_at(reinterpret_cast<const uint16_t*>(a.rows[r] + offset), 1);
      __m512bh both = (__m512bh)_mm512_set1_epi32(static_cast<int32_t>(pair));
      s[r][0] = _mm512_dpbf16_ps(s[r][0], both, b0);
      s[r][1] = _mm512_dpbf16_ps(s[r][1], both, b1);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < ROWS; ++r) {
    _mm512_storeu_ps(sums + r * stride, s[r][0]);
    _mm512_storeu_ps(sums + r * stride + 16, s[r][1]);
  }
}

struct Product {
  Kind kind;
  int64_t m, n, k;
  const uint16_t *a, *b;
  uint32_t* packed;  // a in pairs, for kLeftTransposed: per block of DEPTH and strip of ROWS, [pairs][ROWS]
  float* out32;      // one of the two is null
  uint16_t* out16;

  int64_t strips() const { return blocks(m, ROWS); }
  uint32_t* packed_at(int64_t k0, int64_t strip) const {
    return packed + (k0 / 2) * strips() * ROWS + strip * blocks(std::min(DEPTH, k - k0), 2) * ROWS;
  }

  // Rows [from, from + BAND) of a, into all strips: they are read once, in order.
  void pack_left(int64_t from) const {
    int64_t k0 = from / DEPTH * DEPTH;
    for (int64_t strip = 0; strip < strips(); ++strip) {
      int64_t i = strip * ROWS;
      pack_rows<ROWS>(a + from * m + i, m, std::min(BAND, k - from), std::min(ROWS, m - i),
                      packed_at(k0, strip) + (from - k0) / 2 * ROWS);
    }
  }

  Left left(int64_t k0, int64_t strip) const {
    Left l;
    l.depth = std::min(DEPTH, k - k0);
    for (int64_t r = 0; r < ROWS; ++r) {
      if (kind == kLeftTransposed) {
        l.rows[r] = reinterpret_cast<const char*>(packed_at(k0, strip) + r);
      } else {  // rows behind the last repeat it; their sums are not kept
        l.rows[r] = reinterpret_cast<const char*>(a + std::min(strip * ROWS + r, m - 1) * k + k0);
      }
    }
    if (kind == kLeftTransposed) l.depth += l.depth % 2;  // packed with zeros
    l.step = kind == kLeftTransposed ? 4 * ROWS : 4;
    return l;
  }

  // The strips [from, to) of the result's columns [j, j + PANELS * COLUMNS).
  void columns(int64_t j, int64_t from, int64_t to) const {
    alignas(64) thread_local uint32_t panels[PANELS * PANEL];
    thread_local std::vector<float> kept;
    int64_t count = std::min(PANELS, blocks(n - j, COLUMNS));
    bool again = k > DEPTH;  // then sums wait in `kept`, all of this part
    if (again) kept.resize((to - from) * count * ROWS * COLUMNS);
    alignas(64) float one[ROWS * COLUMNS];
    for (int64_t k0 = 0; k0 < k; k0 += DEPTH) {
      int64_t depth = std::min(DEPTH, k - k0);
      for (int64_t c = 0; c < count; ++c) {
        int64_t at = j + c * COLUMNS, width = std::min(COLUMNS, n - at);
        if (kind == kRightTransposed) {
          pack_columns(b + at * k + k0, k, depth, width, panels + c * PANEL);
        } else {
          pack_rows<COLUMNS>(b + k0 * n + at, n, depth, width, panels + c * PANEL);
        }
      }
      for (int64_t strip = from; strip < to; ++strip) {
        Left l = left(k0, strip);
        for (int64_t c = 0; c < count; ++c) {
          float* sums = again ? kept.data() + ((strip - from) * count + c) * ROWS * COLUMNS : one;
          tile(l, panels + c * PANEL, sums, COLUMNS, k0 > 0);
          int64_t at = j + c * COLUMNS;
          if (k0 + depth == k) store(sums, strip * ROWS, at, std::min(COLUMNS, n - at));
        }
      }
    }
  }

  void store(const float* sums, int64_t i, int64_t j, int64_t width) const {
    int64_t rows = std::min(ROWS, m - i);
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < COLUMNS; c += 16) {
        __m512 s = _mm512_loadu_ps(sums + r * COLUMNS + c);
        int64_t at = (i + r) * n + j + c;
        if (out32) {
          _mm512_mask_storeu_ps(out32 + at, first(width - c), s);
        } else {
          _mm256_mask_storeu_epi16(out16 + at, first(width - c), (__m256i)_mm512_cvtneps_pbh(s));
        }
      }
    }
  }

  void run(ffi::ThreadPool pool) const {
    if (m == 0 || n == 0) return;
    if (k == 0) {
      std::memset(out32 ? static_cast<void*>(out32) : out16, 0, m * n * (out32 ? 4 : 2));
      return;
    }
    if (kind == kLeftTransposed) parallel(pool, blocks(k, BAND), [this](int64_t band) { pack_left(band * BAND); });
    // Parts of about equal work, several a thread: a few panels of columns, cut along the rows where those are few.
    int64_t across = blocks(n, PANELS * COLUMNS);
    int64_t down = std::min(strips(), blocks(4 * pool.num_threads(), across));
    int64_t each = blocks(strips(), down);
    down = blocks(strips(), each);
    parallel(pool, across * down, [this, down, each](int64_t part) {
      int64_t from = part % down * each;
      columns(part / down * PANELS * COLUMNS, from, std::min(from + each, strips()));
    });
  }
};

ffi::Error product(ffi::ThreadPool pool, ffi::Buffer<ffi::BF16> a, ffi::Buffer<ffi::BF16> b, ffi::Result<ffi::AnyBuffer> out,
                   ffi::Result<ffi::Buffer<ffi::U32>> packed, int32_t kind) {
  auto of_a = a.dimensions(), of_b = b.dimensions(), of_out = out->dimensions();
  if (of_a.size() != 2 || of_b.size() != 2 || of_out.size() != 2)
    return ffi::Error::InvalidArgument("the product takes matrices");
  Product p;
  p.kind = static_cast<Kind>(kind);
  p.m = of_a[kind == kLeftTransposed ? 1 : 0];
  p.k = of_a[kind == kLeftTransposed ? 0 : 1];
  p.n = of_b[kind == kRightTransposed ? 0 : 1];
  if (of_b[kind == kRightTransposed ? 1 : 0] != p.k || of_out[0] != p.m || of_out[1] != p.n)
    return ffi::Error::InvalidArgument("the shapes of the product do not match");
  p.a = reinterpret_cast<const uint16_t*>(a.typed_data());
  p.b = reinterpret_cast<const uint16_t*>(b.typed_data());
  int64_t needed = kind == kLeftTransposed ? blocks(p.k, 2) * p.strips() * ROWS : 0;
  if (static_cast<int64_t>(packed->element_count()) < needed)
    return ffi::Error::InvalidArgument("there is too little room to pack the left operand");
  p.packed = packed->typed_data();
  bool wide = out->element_type() == ffi::F32;
  if (!wide && out->element_type() != ffi::BF16)
    return ffi::Error::InvalidArgument("the result is float32 or bfloat16");
  p.out32 = wide ? static_cast<float*>(out->untyped_data()) : nullptr;
  p.out16 = wide ? nullptr : static_cast<uint16_t*>(out->untyped_data());
  p.run(pool);
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(polyturn_product, product,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<ffi::Buffer<ffi::BF16>>()
                                  .Arg<ffi::Buffer<ffi::BF16>>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::Buffer<ffi::U32>>()
                                  .Attr<int32_t>("kind"));
