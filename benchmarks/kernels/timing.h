/* A clock, and the multiply-adds that one core can do at most. */
#if defined(_MSC_VER)
  #include <intrin.h>
  #include <windows.h>
  static double bench_now(void) {
      LARGE_INTEGER count, frequency;
      QueryPerformanceFrequency(&frequency);
      QueryPerformanceCounter(&count);
      return (double)count.QuadPart / (double)frequency.QuadPart;
  }
  #define bench_fence() _ReadWriteBarrier()
#else
  #include <time.h>
  static double bench_now(void) {
      struct timespec t;
      clock_gettime(CLOCK_MONOTONIC, &t);
      return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
  }
  /* Keeps the compiler from seeing that a call repeats the one before. */
  #define bench_fence() __asm__ volatile("" ::: "memory")
#endif

/* The widest registers that this build may use; one number where the compiler has no vector types. */
#if defined(__AVX512F__)
  #define BENCH_BYTES 64
#elif defined(__AVX__)
  #define BENCH_BYTES 32
#else
  #define BENCH_BYTES 16
#endif
#if defined(__GNUC__) || defined(__clang__)
  typedef float bench_floats __attribute__((vector_size(BENCH_BYTES)));
  typedef double bench_doubles __attribute__((vector_size(BENCH_BYTES)));
#else
  typedef float bench_floats;
  typedef double bench_doubles;
#endif

/* n rounds of twelve independent chains a = a x + y: enough to hide the latency (4 or 5 cycles, 2 a cycle), few enough
   for 16 registers. The chains differ, or a compiler would make one of them. Returns the number of operations. */
#define BENCH_FMA(name, vector, scalar)                                                                            \
    static double name(long n) {                                                                                   \
        volatile scalar factor = (scalar)0.5, term = (scalar)0.25;                                                 \
        volatile vector sink;                                                                                      \
        const vector zero = {0};                                                                                   \
        const vector x = zero + factor, y = zero + term;                                                           \
        vector a = x, b = a + y, c = b + y, d = c + y, e = d + y, f = e + y;                                       \
        vector g = f + y, h = g + y, i = h + y, j = i + y, k = j + y, l = k + y;                                   \
        for (long round = 0; round < n; round++) {                                                                 \
            a = a * x + y; b = b * x + y; c = c * x + y; d = d * x + y; e = e * x + y; f = f * x + y;              \
            g = g * x + y; h = h * x + y; i = i * x + y; j = j * x + y; k = k * x + y; l = l * x + y;              \
        }                                                                                                          \
        sink = ((a + b) + (c + d)) + ((e + f) + (g + h)) + ((i + j) + (k + l));                                    \
        (void)sink;                                                                                                \
        return 2.0 * 12 * (double)n * (sizeof(vector) / sizeof(scalar));                                           \
    }
BENCH_FMA(bench_fma_float, bench_floats, float)
BENCH_FMA(bench_fma_double, bench_doubles, double)
