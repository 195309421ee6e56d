/* The x86-64 level (2, 3 or 4) that CPU and operating system support. Other machines: 1. */
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
static int cnn_cpu_level(void) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("bmi2"))
        return 2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512vl")
        || !__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")
        || !__builtin_cpu_supports("avx512cd"))
        return 3;
    return 4;
}
#elif defined(_MSC_VER) && defined(_M_X64)
#include <intrin.h>
static int cnn_cpu_level(void) {
    int r[4]; unsigned long long saved;
    __cpuid(r, 0);
    if (r[0] < 7) return 2;
    __cpuid(r, 1);
    if (!((r[2] >> 27) & 1) || !((r[2] >> 12) & 1)) return 2;   /* OSXSAVE, FMA */
    saved = _xgetbv(0);
    if ((saved & 0x6) != 0x6) return 2;                         /* the system keeps YMM */
    __cpuidex(r, 7, 0);
    if (!((r[1] >> 5) & 1) || !((r[1] >> 8) & 1)) return 2;     /* AVX2, BMI2 */
    if ((saved & 0xE6) != 0xE6) return 3;                       /* ... and ZMM */
    return ((unsigned)r[1] & 0xD0030000u) == 0xD0030000u ? 4 : 3;
}
#else
static int cnn_cpu_level(void) { return 1; }
#endif
