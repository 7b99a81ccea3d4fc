/* Stress test of the thread pool and of the block pool, for ThreadSanitizer (and ASan):
 *
 *   gcc -std=gnu11 -g -O1 -fsanitize=thread -pthread -Icextension tests/c/stress_parallel.c \
 *       cextension/parallel.c cextension/scratch.c -o stress
 *   TSAN_OPTIONS="die_after_fork=0 allocator_may_return_null=1" ./stress
 *
 * Prints "ok", or says what went wrong and ends with status 1. */
#include "table.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

enum { N = 4096, CALLERS = 3, ROUNDS = 1500 };

typedef struct {
    int64_t n, grain;
    int nested;
    unsigned char count[N]; /* not atomic: two threads in one chunk would be a race, and reported */
} job;

static void visit(void *context, int64_t begin, int64_t end) {
    job *j = context;
    CHECK(begin % j->grain == 0 && end == (begin + j->grain < j->n ? begin + j->grain : j->n));
    for (int64_t i = begin; i < end; i++) j->count[i]++;
    char *scratch = mg_scratch((size_t)(64 + begin));
    memset(scratch, 1, (size_t)(64 + begin));
    if (j->nested) {
        job *inner = mg_alloc(sizeof(job));
        CHECK(inner);
        memset(inner, 0, sizeof *inner);
        inner->n = 100, inner->grain = 7;
        mg_parallel_for(inner->n, inner->grain, visit, inner);
        for (int64_t i = 0; i < inner->n; i++) CHECK(inner->count[i] == 1);
        mg_free(inner);
    }
}

static void *caller(void *seed_) {
    unsigned seed = *(unsigned *)seed_;
    job *j = mg_alloc(sizeof(job));
    CHECK(j);
    for (int round = 0; round < ROUNDS; round++) {
        memset(j, 0, sizeof *j);
        j->n = 1 + rand_r(&seed) % N;
        j->grain = 1 + rand_r(&seed) % (rand_r(&seed) % 2 ? 16 : 1000);
        j->nested = round % 16 == 0;
        mg_parallel_for(j->n, j->grain, visit, j);
        for (int64_t i = 0; i < j->n; i++) CHECK(j->count[i] == 1);
        if (round % 50 == 0) CHECK(mg_set_threads(1 + rand_r(&seed) % 6) == MG_OK);
        if (round % 300 == 0) usleep(1000); /* long enough for the workers to park */
        if (round % 200 == 0) mg_trim();
    }
    mg_free(j);
    return NULL;
}

static void run_callers(void) {
    pthread_t thread[CALLERS];
    unsigned seed[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
        seed[i] = i;
        CHECK(!pthread_create(&thread[i], NULL, caller, &seed[i]));
    }
    for (int i = 0; i < CALLERS; i++) CHECK(!pthread_join(thread[i], NULL));
}

/* Each share waits until all are being run: that takes as many threads as there are shares. */
static void meet(void *context, int64_t begin, int64_t end) {
    atomic_int *missing = context;
    (void)begin, (void)end;
    atomic_fetch_sub(missing, 1);
    for (int ms = 0; atomic_load(missing) > 0; ms++) {
        CHECK(ms < 20000);
        usleep(1000);
    }
}

static void check_threads(int n) {
    atomic_int missing = n;
    CHECK(mg_set_threads(n) == MG_OK);
    mg_parallel_for(n, 1, meet, &missing);
}

/* Blocks travel: each thread frees what another has allocated and written. */
static void *volatile exchange_[64];
static pthread_mutex_t exchange_lock = PTHREAD_MUTEX_INITIALIZER;

static void *trader(void *seed_) {
    unsigned seed = *(unsigned *)seed_;
    for (int round = 0; round < 20000; round++) {
        size_t bytes = (size_t)1 << rand_r(&seed) % (round % 500 ? 16 : 21);
        bytes += (size_t)rand_r(&seed) % bytes;
        unsigned char *block = mg_alloc(bytes);
        CHECK(block && (uintptr_t)block % 64 == 0);
        block[0] = block[bytes - 1] = (unsigned char)seed;
        int slot = rand_r(&seed) % 64;
        pthread_mutex_lock(&exchange_lock);
        void *other = exchange_[slot];
        exchange_[slot] = block;
        pthread_mutex_unlock(&exchange_lock);
        mg_free(other);
    }
    return NULL;
}

static void run_traders(void) {
    size_t used, kept;
    pthread_t thread[CALLERS];
    unsigned seed[CALLERS];
    for (unsigned i = 0; i < CALLERS; i++) {
        seed[i] = 7 * i;
        CHECK(!pthread_create(&thread[i], NULL, trader, &seed[i]));
    }
    for (int i = 0; i < CALLERS; i++) CHECK(!pthread_join(thread[i], NULL));
    for (int i = 0; i < 64; i++) {
        mg_free(exchange_[i]);
        exchange_[i] = NULL;
    }
    mg_memory(&used, &kept);
    CHECK(used == 0);
    mg_trim();
    mg_memory(&used, &kept);
    CHECK(used == 0 && kept == 0);
}

static void run_forks(void) {
    pthread_t thread;
    unsigned seed = 99;
    CHECK(!pthread_create(&thread, NULL, caller, &seed)); /* regions and blocks are in flight */
    for (int i = 0; i < 8; i++) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (!child) {
            alarm(60);
            unsigned own = (unsigned)i;
            caller(&own);
            check_threads(3);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child && status == 0);
    }
    CHECK(!pthread_join(thread, NULL));
}

int main(void) {
    CHECK(mg_threads() >= 1);
    CHECK(mg_set_threads(0) == MG_BAD_OP && mg_set_threads(257) == MG_BAD_OP);
    CHECK(mg_set_threads(4) == MG_OK && mg_threads() == 4);
    mg_free(NULL);
    CHECK(!mg_alloc(SIZE_MAX) && !mg_alloc(SIZE_MAX / 2) && !mg_alloc((size_t)1 << 60));
    CHECK(!mg_scratch(SIZE_MAX));
    for (int n = 1; n < 6; n++) check_threads(n);
    usleep(20000); /* the workers park */
    check_threads(5);
    usleep(20000);
    check_threads(2);
    run_callers();
    run_traders();
    run_forks();
    puts("ok");
    return 0;
}
