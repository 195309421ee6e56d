/* What the threads of a team need: their number, arithmetic that flushes, and a barrier that spins and then sleeps.
 *
 * OpenMP's own barrier spins for milliseconds, which on a busy machine takes the core from the thread that is waited for.
 */
#ifndef CNN_TEAM_H
#define CNN_TEAM_H
#include <stdint.h>
#include <string.h>

#if defined(_OPENMP)
#include <omp.h>
#define cnn_team_size() omp_get_num_threads()
#else
#define cnn_team_size() 1
#endif

/* For how long a thread spins: to wake one that sleeps takes longer than most waits, on a virtual machine above all. */
#if defined(__x86_64__) || defined(_M_X64)
#define CNN_PATIENCE 400000 /* ticks of the time-stamp counter, 100 to 200 us */
#define cnn_ticks(spins) __rdtsc()
#else
#define CNN_PATIENCE 50000 /* pauses, for want of a clock that is as quick to read */
#define cnn_ticks(spins) ((uint64_t)(spins))
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#include <windows.h>
#define cnn_pause() YieldProcessor()
#define cnn_load(p) (MemoryBarrier(), *(volatile int32_t *)(p))
#define cnn_store(p, v) ((void)InterlockedExchange((volatile LONG *)(p), (v)))
#define cnn_add(p, v) ((int32_t)InterlockedExchangeAdd((volatile LONG *)(p), (v)))
#define cnn_peek(p) (*(const volatile int32_t *)(p))
#define cnn_note(p, v) ((void)(*(volatile int32_t *)(p) = (v)))
#define cnn_sleep(p, v) ((void)SwitchToThread())
#define cnn_wake(p) ((void)0)
#else
#if defined(__x86_64__)
#include <x86intrin.h>
#define cnn_pause() _mm_pause()
#elif defined(__aarch64__)
#define cnn_pause() __asm__ volatile("yield")
#else
#define cnn_pause() ((void)0)
#endif
#define cnn_load(p) __atomic_load_n((p), __ATOMIC_SEQ_CST)
#define cnn_store(p, v) __atomic_store_n((p), (v), __ATOMIC_SEQ_CST)
#define cnn_add(p, v) __atomic_fetch_add((p), (v), __ATOMIC_SEQ_CST)
/* Flags that are looked at often and order nothing: who sees one a little later does a little more. */
#define cnn_peek(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define cnn_note(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#if defined(__linux__)
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>
#define cnn_sleep(p, v) ((void)syscall(SYS_futex, (p), FUTEX_WAIT_PRIVATE, (v), (void *)0, (void *)0, 0))
#define cnn_wake(p) ((void)syscall(SYS_futex, (p), FUTEX_WAKE_PRIVATE, INT_MAX, (void *)0, (void *)0, 0))
#else
#include <sched.h>
#define cnn_sleep(p, v) ((void)sched_yield())
#define cnn_wake(p) ((void)0)
#endif
#endif

/* From here to `cnn_unflush`, which takes the result, this thread counts numbers below the smallest normal one as 0.
 * Intel's processors take many cycles for each, and in the averages of units without a gradient they stay for ever.
 */
#if defined(__x86_64__) || defined(_M_X64)
#define cnn_flush() cnn_flush_from(_mm_getcsr())
static inline uint64_t cnn_flush_from(uint64_t before)
{
    _mm_setcsr((unsigned)before | 0x8040u);
    return before;
}
#define cnn_unflush(before) _mm_setcsr((unsigned)(before))
#elif defined(__aarch64__) && defined(__GNUC__)
static inline uint64_t cnn_flush(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | 1u << 24));
    return before;
}
#define cnn_unflush(before) __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)(before)))
#else
#define cnn_flush() ((uint64_t)0)
#define cnn_unflush(before) ((void)(before))
#endif

/* How many of n threads a team may have. OpenMP's runtime ends the process where the system gives no further thread (a
 * limit on memory or on the processes of a container), so those that it would start are started here before, in a way
 * that can fail. It keeps the threads of a team for the next one of the same thread, but for those that this one does
 * not need; a Python thread has a team of its own.
 */
#if defined(_OPENMP) && !defined(_MSC_VER)
#include <pthread.h>
static __thread int cnn_threads_there = 1;

static void *cnn_wait_for(void *gate)
{
    pthread_mutex_lock((pthread_mutex_t *)gate);
    pthread_mutex_unlock((pthread_mutex_t *)gate);
    return NULL;
}

static inline int cnn_granted(int n)
{
    enum { MOST = 1024 };
    pthread_t started[MOST];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    int i, more = 0, wanted = n - cnn_threads_there;
    if (n == 1) return 1; /* no team: those that are there stay */
    if (wanted > MOST) wanted = MOST;
    if (wanted > 0) {
        pthread_mutex_lock(&gate); /* all at once: each must stay until the last one is there */
        while (more < wanted && pthread_create(&started[more], NULL, cnn_wait_for, &gate) == 0) more++;
        pthread_mutex_unlock(&gate);
        for (i = 0; i < more; i++) pthread_join(started[i], NULL);
        n = cnn_threads_there + more;
    }
    return cnn_threads_there = n;
}
#else
#define cnn_granted(n) (n)
#endif

/* Each field that threads write has a cache line of its own. */
typedef struct {
    int32_t arrived; char pad_1[60];
    int32_t round; char pad_2[60];
    int32_t sleepers; char pad_3[60];
    int32_t spin_shift; char pad_4[60]; /* how often spin_ticks is halved */
} cnn_barrier_t;

static inline void cnn_barrier(cnn_barrier_t *b, int n)
{
    int32_t round, spin_shift;
    uint64_t began, spins = 0;
    int slept = 0;
    if (n == 1) return;
    round = cnn_load(&b->round);
    if (cnn_add(&b->arrived, 1) == n - 1) {
        cnn_store(&b->arrived, 0);
        cnn_store(&b->round, (int32_t)((uint32_t)round + 1u));
        if (cnn_load(&b->sleepers)) cnn_wake(&b->round);
        return;
    }
    spin_shift = cnn_load(&b->spin_shift);
    began = cnn_ticks(0);
    while (cnn_load(&b->round) == round)
        if (cnn_ticks(++spins) - began < CNN_PATIENCE >> spin_shift) cnn_pause();
        else {
            slept = 1;
            cnn_add(&b->sleepers, 1);
            if (cnn_load(&b->round) == round) cnn_sleep(&b->round, round);
            cnn_add(&b->sleepers, -1);
        }
    /* Where there are more threads than cores, whoever spins keeps the others from theirs. It does not matter if one of
     * two writes is lost.
     */
    if (slept && spin_shift < 6) cnn_store(&b->spin_shift, spin_shift + 2);
    if (!slept && spin_shift > 0) cnn_store(&b->spin_shift, spin_shift - 1);
}
#endif
