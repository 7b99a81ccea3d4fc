/* scratch.c: memory.  Blocks for results, which are kept and handed out again, and one workspace
 * per thread.
 *
 * Why keep blocks: a fresh page costs a fault and is zeroed by the system, which takes 3-5 times
 * as long as an elementwise kernel takes to fill it.  A training loop asks for the same sizes in
 * every step, so with its blocks kept only the first step pays.
 *
 * Sizes are rounded up to one of 8 steps per power of two (at most 12.5 % lost).  A freed block
 * goes on top of the stack of its size; the next request for that size takes it, still warm.
 *
 * How much is kept: never more than one and a half times the most that was ever in use at one time
 * (a step needs some sizes first and others later; with the most itself as the limit, the output
 * layer of a character model lost 431 pages in every step, and took 1.2 times as long).  When a freed
 * block would exceed that, those that have lain unused longest go back to the system, whatever their
 * size, so a program that changes its sizes does not keep the old ones for ever.  mg_trim gives
 * everything unused back.
 *
 * cffi drops Python's lock around every call and a block may be freed by another thread than asked
 * for it, hence the mutex (about 15 ns; per-thread lists would save 10 of the 300 ns that a block
 * costs through cffi.gc).
 *
 * Built with AddressSanitizer nothing is rounded or kept, so that it sees every overrun. */
#if defined(__linux__) && !defined(_GNU_SOURCE)
#define _GNU_SOURCE /* MADV_HUGEPAGE */
#endif
#include "table.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#if defined(__linux__)
#include <malloc.h>
#include <sys/mman.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define PLAIN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define PLAIN 1
#endif
#ifndef PLAIN
#define PLAIN 0
#endif

enum { ALIGN = 64, CLASSES = 8 * 64 };
static const size_t huge = (size_t)2 << 20; /* a huge page; blocks from this size on are mapped */
static const size_t page = 64 << 10;        /* the largest ordinary page of any Linux */

/* Large blocks from the system all begin at the same place of a page.  A kernel that walks over
 * more of them at once than a cache set has ways (8) then misses at every step: with 10 operands it
 * took 3-5 x as long, Adam's 4 took 1.2 x.  So blocks begin at staggered places, 9 lines apart:
 * odd, so that there are 64 of them, and far enough that a load is not taken for the next operand's
 * store (1 line apart: up to 1.4 x slower).  The first begins in the middle of a page: NumPy's
 * large arrays begin at 16, and streaming to a block that begins at 64 from one took up to 5 x as
 * long. */
static const size_t stagger_from = 128 << 10, stagger = 9 * ALIGN, small = 4096;

typedef struct link {
    struct link *next, *previous;
} link;

/* 64 bytes before the data */
typedef struct {
    _Alignas(ALIGN) link same_size; /* while kept: next = freed before this one */
    link age;
    size_t bytes;  /* of data: a size class, unless PLAIN */
    size_t mapped; /* 0: from the C library; else the length of the mapping */
    void *start;   /* what the system gave */
} header;

static struct {
    pthread_mutex_t lock;
    size_t used, kept, peak; /* bytes in use, kept, most ever in use */
    link same_size[CLASSES]; /* next: last freed */
    link age;                /* next: last freed, previous: longest unused */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void push(link *list, link *item) {
    item->next = list->next;
    item->previous = list;
    list->next->previous = item;
    list->next = item;
}

static void drop(link *item) {
    item->previous->next = item->next;
    item->next->previous = item->previous;
}

/* ---- sizes ---------------------------------------------------------------------------------- */

/* Smallest class that holds `bytes`, and its size in *size: multiples of 64 up to 512, then 8 steps
 * per power of two. */
static int size_class(size_t bytes, size_t *size) {
    size_t units = bytes ? (bytes - 1) / ALIGN : 0; /* units of 64, less one */
    if (units < 8) {
        *size = (units + 1) * ALIGN;
        return (int)units;
    }
    int shift = 60 - __builtin_clzll(units); /* keeps the four leading bits: 8..15 */
    *size = ((units >> shift) + 1) * ALIGN << shift;
    return 8 * shift + (int)(units >> shift);
}

/* ---- from and to the system ------------------------------------------------------------------ */

/* Anonymous memory in huge pages as far as they fit: the first touch is 4-10 x faster than in small
 * ones (one fault instead of 512), walking down columns 10 %. */
static void *map_huge(size_t room) {
#if defined(__linux__)
    int access = PROT_READ | PROT_WRITE, kind = MAP_PRIVATE | MAP_ANONYMOUS;
    char *memory = mmap(NULL, room + huge, access, kind, -1, 0);
    if (memory == MAP_FAILED) return NULL;
    size_t before = (huge - (uintptr_t)memory % huge) % huge;
    if (before) munmap(memory, before);
    munmap(memory + before + room, huge - before);
    madvise(memory + before, room, MADV_HUGEPAGE); /* a wish: without it there are small pages */
    return memory + before;
#else
    (void)room;
    return NULL;
#endif
}

static header *from_system(size_t bytes) {
    size_t room = sizeof(header) + bytes, offset = 0, mapped = 0;
    void *start = NULL;
    if (!PLAIN && bytes >= stagger_from) {
        static atomic_uint turn;
        offset = (small / 2 + atomic_fetch_add_explicit(&turn, 1, memory_order_relaxed) * stagger) %
                 small;
        room += small;
    }
    if (!PLAIN && room >= huge) {
        mapped = (room + page - 1) / page * page;
        start = map_huge(mapped);
        if (!start) mapped = 0;
    }
    if (!start && posix_memalign(&start, ALIGN, room)) return NULL;
    header *block = (header *)(void *)((char *)start + offset);
    block->bytes = bytes;
    block->mapped = mapped;
    block->start = start;
    return block;
}

static void to_system(header *block) {
#if defined(__linux__)
    if (block->mapped) {
        munmap(block->start, block->mapped);
        return;
    }
#endif
    free(block->start);
}

/* Give back the blocks that have lain unused longest, until at most `limit` bytes are kept. */
static void shrink(size_t limit) {
    while (pool.kept > limit) {
        link *oldest = pool.age.previous;
        header *block = (header *)(void *)((char *)oldest - offsetof(header, age));
        drop(&block->same_size);
        drop(&block->age);
        pool.kept -= block->bytes;
        to_system(block);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void *mg_alloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    size_t size = bytes;
    int class = size_class(bytes, &size);
    if (PLAIN) size = bytes;
    header *block = NULL;
    pthread_mutex_lock(&pool.lock);
    link *top = pool.same_size[class].next;
    if (top != &pool.same_size[class]) {
        block = (header *)(void *)top;
        drop(&block->same_size);
        drop(&block->age);
        pool.kept -= size;
    } else {
        block = from_system(size);
        if (!block) { /* perhaps what is kept is what is missing */
            shrink(0);
            block = from_system(size);
        }
    }
    if (block) {
        pool.used += size;
        if (pool.used > pool.peak) pool.peak = pool.used;
    }
    pthread_mutex_unlock(&pool.lock);
    return block ? block + 1 : NULL;
}

void mg_free(void *data) {
    if (!data) return;
    header *block = (header *)data - 1;
    size_t size = block->bytes;
    pthread_mutex_lock(&pool.lock);
    pool.used -= size;
    if (PLAIN) {
        to_system(block);
    } else {
        push(&pool.same_size[size_class(size, &size)], &block->same_size);
        push(&pool.age, &block->age);
        pool.kept += size;
        shrink(pool.peak + pool.peak / 2);
    }
    pthread_mutex_unlock(&pool.lock);
}

void mg_memory(size_t *used, size_t *kept) {
    pthread_mutex_lock(&pool.lock);
    *used = pool.used;
    *kept = pool.kept;
    pthread_mutex_unlock(&pool.lock);
}

void mg_trim(void) {
    pthread_mutex_lock(&pool.lock);
    shrink(0);
    pool.peak = pool.used;
    pthread_mutex_unlock(&pool.lock);
#if defined(__GLIBC__)
    malloc_trim(0); /* free() alone keeps small blocks in the process */
#endif
}

/* ---- workspace ------------------------------------------------------------------------------ */

static _Thread_local header *workspace;
static pthread_key_t at_thread_exit;

static void free_workspace(void *block) { to_system(block); }

void *mg_scratch(size_t bytes) {
    if (workspace && !PLAIN && workspace->bytes >= bytes) return workspace + 1;
    if (bytes > PTRDIFF_MAX / 2) return NULL;
    /* at least double, so that slowly growing requests do not allocate each time */
    size_t size = bytes;
    if (!PLAIN) {
        if (workspace && size < 2 * workspace->bytes) size = 2 * workspace->bytes;
        size_class(size, &size);
    }
    if (workspace) to_system(workspace);
    workspace = from_system(size);
    pthread_setspecific(at_thread_exit, workspace);
    return workspace ? workspace + 1 : NULL;
}

/* ---- load, fork, unload --------------------------------------------------------------------- */

/* The lock is held across fork(), so that the child's lists are whole. */
static void before_fork(void) { pthread_mutex_lock(&pool.lock); }
static void after_fork(void) { pthread_mutex_unlock(&pool.lock); }

__attribute__((constructor)) static void at_load(void) {
    pool.age.next = pool.age.previous = &pool.age;
    for (int i = 0; i < CLASSES; i++)
        pool.same_size[i].next = pool.same_size[i].previous = &pool.same_size[i];
    pthread_key_create(&at_thread_exit, free_workspace);
    pthread_atfork(before_fork, after_fork, after_fork);
}

/* The priority puts this after parallel.c's: its threads, when they end, free their workspaces. */
__attribute__((destructor(1000))) static void at_unload(void) {
    mg_trim();
    pthread_key_delete(at_thread_exit); /* its destructor is about to go */
}
