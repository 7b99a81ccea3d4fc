/* parallel.c: one pool of threads behind mg_parallel_for.
 *
 * A region is cut into shares (a share is one chunk, or a run of chunks where there are very many).
 * Nobody is assigned a share: whoever is awake claims the next one by compare-and-swap, the caller
 * among them.  So a worker that is parked, or that the system has put aside, costs parallelism and
 * nothing else; with a fixed split the caller waits for it, up to 2000 x longer than the work
 * takes on a busy machine.  The caller waits only for shares that a worker has really begun.
 *
 * The caller claims from the front, workers from the back.  So with two threads each meets nearly the
 * same part of the data in the next region, still in its own cache.  A series of products of 10^6
 * numbers ran at the speed of one thread in 25 of 45 series before, in 5 of 45 since.
 *
 * One word, the ticket, says all there is to know about the open region:
 *
 *     epoch (28 bits)  |  seats (8)  |  back (14)  |  front (14)
 *
 * Shares from front to back are not yet claimed.  seats: workers that may still join, which is how
 * mg_set_threads limits a pool that has more threads.  epoch: the region's number; a worker that
 * slept through the end of its region cannot claim in the next by mistake, as its compare-and-swap
 * fails.
 *
 * The pool serves one caller at a time.  Whoever finds it busy (another Python thread, or a body
 * that itself calls mg_parallel_for) runs its chunks alone, in order.                            */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* sched_getaffinity, sched_getcpu, pthread_setaffinity_np */
#endif
#include "table.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { MAX_THREADS = 256, MAX_SHARES = (1 << 14) - 1 }; /* they fit the ticket's 8 and 14 bits */
#define FRONT(ticket) ((int64_t)((ticket) & 0x3fff))
#define BACK(ticket) ((int64_t)((ticket) >> 14 & 0x3fff))
#define SEATS(ticket) ((ticket) >> 28 & 0xff)
#define EPOCH(ticket) ((ticket) >> 36)
#define ONE_FRONT ((uint64_t)1)
#define ONE_BACK ((uint64_t)1 << 14)
#define ONE_SEAT ((uint64_t)1 << 28)
#define ONE_EPOCH ((uint64_t)1 << 36)

/* How long a worker looks for the next region, and the caller for the last share, before they
 * sleep.  Waking a sleeper costs the caller 8 us, and 10-50 us pass until it runs: about as long
 * again. */
static const int64_t spin_ns = 50 * 1000;

typedef struct {
    pthread_t thread;
    pthread_cond_t bell;
    bool asleep; /* until somebody rings the bell; guarded by pool.lock */
} worker;

/* Lines of 64 bytes: what is written together stands together. */
static struct {
    _Alignas(64) _Atomic(uint64_t) ticket;
    /* the open region; a worker may read these while the next caller writes them, and then its
     * claim fails */
    _Alignas(64) _Atomic(mg_body) body;
    _Atomic(void *) context;
    _Atomic(int64_t) n, grain, share; /* share: its length, a multiple of grain */
    _Atomic(int64_t) shares;
    _Alignas(64) atomic_uint done; /* shares that workers have finished */
    atomic_bool caller_sleeps;
    _Alignas(64) atomic_int parked; /* workers asleep, or about to be */
    atomic_bool stop;
    pthread_mutex_t lock;
    pthread_cond_t finished;
#ifdef __linux__
    cpu_set_t cores; /* where the last caller to ring might run; guarded by lock */
#endif
    /* the rest belongs to whoever holds `busy` */
    _Alignas(64) atomic_bool busy;
    bool no_more; /* the system refused a thread */
    int started;
    worker workers[MAX_THREADS];
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};

static atomic_int wanted; /* threads asked for, the caller included; 0: not decided yet */

/* ---- waiting ------------------------------------------------------------------------------ */

static inline void pause_cpu(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

typedef struct {
    unsigned rounds;
    int64_t deadline;
} patience;

/* True while it is worth looking again.  The yield matters on a busy machine: without it a worker
 * that shares a core with the caller spins on the caller's time, and small regions took up to 2.5 x
 * as long as on one thread (1.0 x with it). */
static bool look_again(patience *p) {
    pause_cpu();
    if (++p->rounds % 32) return true; /* clock and yield cost 25 and 100-300 ns, a pause 10-40 */
    sched_yield();
    int64_t now = now_ns();
    if (!p->deadline) p->deadline = now + spin_ns;
    return now < p->deadline;
}

/* ---- a region ------------------------------------------------------------------------------ */

static void run(mg_body body, void *context, int64_t begin, int64_t end, int64_t grain) {
    while (end - begin > grain) {
        body(context, begin, begin + grain);
        begin += grain;
    }
    body(context, begin, end);
}

static bool has_shares(uint64_t ticket) { return FRONT(ticket) < BACK(ticket); }
static bool has_work(uint64_t ticket) { return has_shares(ticket) && SEATS(ticket); }

/* Worker: take a seat in the open region, if there is one, and claim shares until none is left. */
static void join_region(void) {
    uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    uint64_t epoch = EPOCH(ticket), seat = ONE_SEAT;
    while (EPOCH(ticket) == epoch && (seat ? has_work(ticket) : has_shares(ticket))) {
        /* acquire: who reads a field of the next region also sees that this one is used up */
        mg_body body = atomic_load_explicit(&pool.body, memory_order_acquire);
        void *context = atomic_load_explicit(&pool.context, memory_order_acquire);
        int64_t n = atomic_load_explicit(&pool.n, memory_order_acquire);
        int64_t grain = atomic_load_explicit(&pool.grain, memory_order_acquire);
        int64_t share = atomic_load_explicit(&pool.share, memory_order_acquire);
        int64_t shares = atomic_load_explicit(&pool.shares, memory_order_acquire);
        if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket - ONE_BACK - seat))
            continue;
        seat = 0;
        int64_t index = BACK(ticket) - 1, begin = index * share;
        run(body, context, begin, index == shares - 1 ? n : begin + share, grain);
        atomic_fetch_add(&pool.done, 1);
        if (atomic_load(&pool.caller_sleeps)) {
            pthread_mutex_lock(&pool.lock);
            pthread_cond_signal(&pool.finished);
            pthread_mutex_unlock(&pool.lock);
        }
        ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    }
}

/* A worker that is woken must not land on the caller's core.  Left to itself Linux puts it there
 * now and then, where it waits for milliseconds while the other cores idle: whole series of regions
 * then run at the speed of one thread.  So it may wake anywhere but here, and go everywhere again
 * once it is awake. */
static void wake_elsewhere(worker *w) {
#ifdef __linux__
    cpu_set_t others;
    int here = sched_getcpu();
    if (here < 0 || sched_getaffinity(0, sizeof pool.cores, &pool.cores)) return;
    others = pool.cores;
    CPU_CLR((size_t)here, &others);
    if (CPU_COUNT(&others)) pthread_setaffinity_np(w->thread, sizeof others, &others);
#else
    (void)w;
#endif
}

/* Wake `count` of the workers that are asleep. */
static void wake(int64_t count) {
    pthread_mutex_lock(&pool.lock);
    for (int i = 0; i < pool.started && count > 0; i++) {
        worker *w = &pool.workers[i];
        if (!w->asleep) continue;
        wake_elsewhere(w);
        w->asleep = false;
        pthread_cond_signal(&w->bell);
        count--;
    }
    pthread_mutex_unlock(&pool.lock);
}

static void go_anywhere(void) {
#ifdef __linux__
    if (CPU_COUNT(&pool.cores)) sched_setaffinity(0, sizeof pool.cores, &pool.cores);
#endif
}

static void *work(void *self) {
    worker *w = self;
    while (!atomic_load(&pool.stop)) {
        join_region();
        patience p = {0};
        bool found = false;
        while (!found && look_again(&p))
            found = has_work(atomic_load_explicit(&pool.ticket, memory_order_relaxed));
        if (found) continue;
        /* Either this thread's `parked` is seen by a caller that opens a region, and the bell
         * rings, or the region came first and is seen here. */
        pthread_mutex_lock(&pool.lock);
        atomic_fetch_add(&pool.parked, 1);
        w->asleep = true;
        while (w->asleep && !has_work(atomic_load(&pool.ticket)) && !atomic_load(&pool.stop))
            pthread_cond_wait(&w->bell, &pool.lock);
        if (!w->asleep) go_anywhere();
        w->asleep = false;
        atomic_fetch_sub(&pool.parked, 1);
        pthread_mutex_unlock(&pool.lock);
    }
    return NULL;
}

/* Have `count` workers, or as many as the system grants. */
static void start_workers(int count) {
    /* Signals are Python's business: Ctrl-C must interrupt its main thread, not a worker.  Faults
     * stay, they are raised in the thread that commits them. */
    sigset_t most, before;
    sigfillset(&most);
    const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) sigdelset(&most, faults[i]);
    pthread_sigmask(SIG_BLOCK, &most, &before);
    while (pool.started < count && !pool.no_more) {
        worker *w = &pool.workers[pool.started];
        pthread_cond_init(&w->bell, NULL);
        pool.no_more = pthread_create(&w->thread, NULL, work, w) != 0;
        if (!pool.no_more) pool.started++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* Wait for the shares that workers have claimed. */
static void wait_for(unsigned shares) {
    patience p = {0};
    while (atomic_load_explicit(&pool.done, memory_order_acquire) != shares)
        if (!look_again(&p)) break;
    if (atomic_load_explicit(&pool.done, memory_order_acquire) == shares) return;
    pthread_mutex_lock(&pool.lock);
    atomic_store(&pool.caller_sleeps, true);
    while (atomic_load(&pool.done) != shares) pthread_cond_wait(&pool.finished, &pool.lock);
    atomic_store(&pool.caller_sleeps, false);
    pthread_mutex_unlock(&pool.lock);
}

void mg_parallel_for(int64_t n, int64_t grain, mg_body body, void *context) {
    if (n <= 0) return;
    if (grain < 1) grain = 1;
    if (n <= grain) {
        body(context, 0, n);
        return;
    }
    int threads = mg_threads();
    if (threads == 1 || atomic_load_explicit(&pool.busy, memory_order_relaxed) ||
        atomic_exchange(&pool.busy, true)) {
        run(body, context, 0, n, grain);
        return;
    }
    if (pool.started < threads - 1) start_workers(threads - 1);

    int64_t chunks = (n - 1) / grain + 1, run_length = (chunks - 1) / MAX_SHARES + 1;
    int64_t share = grain * run_length, shares = (chunks - 1) / run_length + 1;
    int64_t seats = shares - 1 < threads - 1 ? shares - 1 : threads - 1;
    atomic_store_explicit(&pool.body, body, memory_order_release);
    atomic_store_explicit(&pool.context, context, memory_order_release);
    atomic_store_explicit(&pool.n, n, memory_order_release);
    atomic_store_explicit(&pool.grain, grain, memory_order_release);
    atomic_store_explicit(&pool.share, share, memory_order_release);
    atomic_store_explicit(&pool.shares, shares, memory_order_release);
    atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
    uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_relaxed);
    ticket =
        (EPOCH(ticket) + 1) * ONE_EPOCH + (uint64_t)seats * ONE_SEAT + (uint64_t)shares * ONE_BACK;
    atomic_store(&pool.ticket, ticket);
    int parked = atomic_load(&pool.parked), awake = pool.started - parked;
    if (parked && awake < seats) wake(seats - awake < parked ? seats - awake : parked);

    unsigned mine = 0;
    ticket = atomic_load_explicit(&pool.ticket, memory_order_relaxed);
    while (has_shares(ticket)) {
        if (!atomic_compare_exchange_weak(&pool.ticket, &ticket, ticket + ONE_FRONT)) continue;
        int64_t index = FRONT(ticket), begin = index * share;
        run(body, context, begin, index == shares - 1 ? n : begin + share, grain);
        mine++;
        ticket = atomic_load_explicit(&pool.ticket, memory_order_relaxed);
    }
    wait_for((unsigned)shares - mine);
    atomic_store_explicit(&pool.busy, false, memory_order_release);
}

/* ---- how many ------------------------------------------------------------------------------ */

/* MINIGRAD_NUM_THREADS, else the cores that this process may use.  Python checks the variable and
 * explains what is wrong with it; here a value that is no count is as good as none. */
static int default_threads(void) {
    const char *text = getenv("MINIGRAD_NUM_THREADS");
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;
    if (text && *text && !*end && n >= 1 && n <= MAX_THREADS) return (int)n;
    n = sysconf(_SC_NPROCESSORS_ONLN);
#ifdef __linux__
    cpu_set_t set;
    if (!sched_getaffinity(0, sizeof set, &set)) n = CPU_COUNT(&set);
    /* a container's share of the machine: "quota period" in us, or "max period" */
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "re");
    if (file) {
        long quota, period;
        if (fscanf(file, "%ld %ld", &quota, &period) == 2 && period > 0) {
            long share = (quota + period - 1) / period;
            if (share >= 1 && share < n) n = share;
        }
        fclose(file);
    }
#endif
    return n < 1 ? 1 : n > MAX_THREADS ? MAX_THREADS : (int)n;
}

int mg_threads(void) {
    int n = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (n) return n;
    int fresh = default_threads();
    return atomic_compare_exchange_strong(&wanted, &n, fresh) ? fresh : n;
}

/* From the next region on.  MG_BAD_OP unless 1 <= n <= 256. */
int mg_set_threads(int n) {
    if (n < 1 || n > MAX_THREADS) return MG_BAD_OP;
    atomic_store(&wanted, n);
    return MG_OK;
}

/* ---- fork and exit -------------------------------------------------------------------------- */

/* fork() copies the forking thread alone: the child's pool is empty, whatever it was doing. */
static void after_fork(void) {
    pthread_mutex_init(&pool.lock, NULL);
    pthread_cond_init(&pool.finished, NULL);
    atomic_store(&pool.parked, 0);
    atomic_store(&pool.caller_sleeps, false);
    pool.started = 0;
    pool.no_more = false;
    uint64_t epoch = EPOCH(atomic_load(&pool.ticket));
    atomic_store(&pool.ticket, epoch * ONE_EPOCH);
    atomic_store(&pool.busy, false);
}

__attribute__((constructor)) static void at_load(void) { pthread_atfork(NULL, NULL, after_fork); }

/* At exit, or when the library is unloaded: no thread may run code that is gone.  If some thread is
 * inside a region even now, the process is ending under it; leave it be. */
__attribute__((destructor)) static void at_unload(void) {
    if (atomic_exchange(&pool.busy, true)) return;
    atomic_store(&pool.stop, true);
    wake(pool.started);
    while (pool.started) pthread_join(pool.workers[--pool.started].thread, NULL);
}
