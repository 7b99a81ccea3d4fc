/* strided.c: elementwise work on operands with any strides.
 *
 * The index space is cut into blocks of about a thousand elements.  Where a block of an operand is
 * not contiguous it is packed into a buffer that stays in the first-level cache, and the kernel
 * sees the buffer: the price is one extra pass through L1, whatever the strides.  A buffer that
 * already holds the block (a scalar, a row that is added to every row) is not packed again. */
#include "strided.h"
#include <string.h>

enum {
    BLOCK = 1024,   /* elements of a block: 4 or 8 KiB per operand */
    LONG = 16384,   /* ... where nothing has to be packed */
    ROW = 128,      /* from this length on, a call of the kernel per row costs less than packing */
    TILE_ROWS = 16, /* of a transposed operand: 16 floats are one cache line */
    TILE_COLUMNS = BLOCK / TILE_ROWS
};

/* ---- moving ------------------------------------------------------------------------------ */

#define ALWAYS static inline __attribute__((always_inline))

/* One row; `size` is a constant once inlined, so that memcpy is one load and one store. */
ALWAYS void move_elements(int64_t size, int64_t n, char *y, int64_t y_step, const char *x,
                          int64_t x_step) {
    if (x_step == 0 && y_step == size) {
        char value[8];
        memcpy(value, x, (size_t)size);
        for (int64_t i = 0; i < n; i++) memcpy(y + i * size, value, (size_t)size);
    } else {
        for (int64_t i = 0; i < n; i++) memcpy(y + i * y_step, x + i * x_step, (size_t)size);
    }
}

static void move_row(int64_t size, int64_t n, char *y, int64_t ys, const char *x, int64_t xs) {
    if (xs == 1 && ys == 1)
        memcpy(y, x, (size_t)(n * size));
    else if (size == 4)
        move_elements(4, n, y, 4 * ys, x, 4 * xs);
    else if (size == 8)
        move_elements(8, n, y, 8 * ys, x, 8 * xs);
    else
        move_elements(1, n, y, ys, x, xs);
}

/* y[r][c] = x[c][r]: x is contiguous along r, y along c.  4 x 4 floats or 2 x 2 doubles at a time
 * in registers; a line of x is used up before the next one is touched. */
typedef uint32_t quad __attribute__((vector_size(16)));
typedef uint64_t pair __attribute__((vector_size(16)));
#if defined(__clang__)
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)){__VA_ARGS__})
#endif

static void transpose_4x4(char *y, int64_t y_row, const char *x, int64_t x_row) {
    quad a, b, c, d;
    memcpy(&a, x, 16), memcpy(&b, x + x_row, 16);
    memcpy(&c, x + 2 * x_row, 16), memcpy(&d, x + 3 * x_row, 16);
    quad ac0 = SHUFFLE(a, c, 0, 4, 1, 5), ac1 = SHUFFLE(a, c, 2, 6, 3, 7);
    quad bd0 = SHUFFLE(b, d, 0, 4, 1, 5), bd1 = SHUFFLE(b, d, 2, 6, 3, 7);
    a = SHUFFLE(ac0, bd0, 0, 4, 1, 5), b = SHUFFLE(ac0, bd0, 2, 6, 3, 7);
    c = SHUFFLE(ac1, bd1, 0, 4, 1, 5), d = SHUFFLE(ac1, bd1, 2, 6, 3, 7);
    memcpy(y, &a, 16), memcpy(y + y_row, &b, 16);
    memcpy(y + 2 * y_row, &c, 16), memcpy(y + 3 * y_row, &d, 16);
}

static void transpose_2x2(char *y, int64_t y_row, const char *x, int64_t x_row) {
    pair a, b;
    memcpy(&a, x, 16), memcpy(&b, x + x_row, 16);
    pair low = SHUFFLE(a, b, 0, 2), high = SHUFFLE(a, b, 1, 3);
    memcpy(y, &low, 16), memcpy(y + y_row, &high, 16);
}

static void transpose(int64_t size, int64_t rows, int64_t columns, char *y, int64_t y_row,
                      const char *x, int64_t x_row) {
    int64_t step = size == 1 ? 1 : 16 / size, r, c;
    for (c = 0; c < columns; c++) /* all lines at once: the transpose alone would wait for each */
        for (r = 0; r < rows; r += 64 / size) __builtin_prefetch(x + (c * x_row + r) * size);
    for (c = 0; c + step <= columns; c += step) {
        for (r = 0; r + step <= rows; r += step) {
            char *to = y + (r * y_row + c) * size;
            const char *from = x + (c * x_row + r) * size;
            if (size == 4)
                transpose_4x4(to, y_row * 4, from, x_row * 4);
            else if (size == 8)
                transpose_2x2(to, y_row * 8, from, x_row * 8);
            else
                *to = *from;
        }
        for (; r < rows; r++)
            move_row(size, step, y + (r * y_row + c) * size, 1, x + (c * x_row + r) * size, x_row);
    }
    for (; c < columns; c++) move_row(size, rows, y + c * size, y_row, x + c * x_row * size, 1);
}

/* y[...] = x[...] for a block of any number of dimensions, the last one fastest */
static void move(int64_t size, int ndim, const int64_t *extent, char *y, const int64_t *ys,
                 const char *x, const int64_t *xs) {
    if (ndim == 1) {
        move_row(size, extent[0], y, ys[0], x, xs[0]);
    } else if (ndim == 2 && xs[0] == 1 && ys[1] == 1 && xs[1] != 1 && xs[1] != 0) {
        transpose(size, extent[0], extent[1], y, ys[0], x, xs[1]);
    } else {
        for (int64_t i = 0; i < extent[0]; i++)
            move(size, ndim - 1, extent + 1, y + i * ys[0] * size, ys + 1, x + i * xs[0] * size,
                 xs + 1);
    }
}

/* ---- cutting ----------------------------------------------------------------------------- */

/* How a kernel gets at an operand's part of a block. */
enum { DIRECT, REPEATED, PACKED };

typedef struct {
    const mg_job *job;
    int64_t step[MG_MAX_DIMS]; /* a block's extent along each dimension */
    int order[MG_MAX_DIMS];    /* dimensions, the one whose blocks follow each other first */
    int first;                 /* the first dimension along which a block is longer than 1 ... */
    int tile;                  /* ... or, of a tile, the one that goes with the last; else -1 */
    int access[4];             /* of x[0] to x[2], and y */
} cutting;

/* May the block of operand o, dimensions `first` to last, be handed over without packing? */
static int access_of(const mg_job *job, const mg_operand *o, int first) {
    int64_t product = 1;
    int contiguous = 1, repeated = 1;
    for (int d = job->ndim - 1; d >= first; d--) {
        if (job->shape[d] == 1) continue;
        contiguous &= o->stride[d] == product;
        repeated &= o->stride[d] == 0;
        product *= job->shape[d];
    }
    return contiguous ? DIRECT : repeated ? REPEATED : PACKED;
}

/* The access to all operands; returns whether any has to be packed. */
static int find_access(cutting *c) {
    int packing = 0;
    for (int i = 0; i < 4; i++) {
        const mg_operand *o = i < 3 ? &c->job->x[i] : &c->job->y;
        if (i < 3 && i >= c->job->inputs) continue;
        c->access[i] = access_of(c->job, o, c->tile < 0 ? c->first : c->job->ndim - 1);
        packing |= c->access[i] == PACKED;
    }
    return packing;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }

/* Blocks of up to `limit` elements: whole trailing dimensions, and a piece of the one before. */
static void cut_rows(cutting *c, int64_t limit) {
    const int64_t *shape = c->job->shape;
    int d = c->job->ndim - 1;
    int64_t inner = 1;
    for (; d > 0 && inner * shape[d] <= limit; d--) {
        c->step[d] = shape[d];
        inner *= shape[d];
    }
    int64_t most = limit / inner, even = ceil_div(shape[d], ceil_div(shape[d], most));
    if (inner == 1) even = ceil_div(even, 16) * 16; /* whole vectors */
    c->step[d] = smaller(even, most);
    c->first = d;
    while (d-- > 0) c->step[d] = 1;
    for (d = 0; d < c->job->ndim; d++) c->order[d] = c->job->ndim - 1 - d;
    c->tile = -1;
}

static int64_t magnitude(int64_t x) { return x < 0 ? -x : x; }

/* Tiles follow each other along the tile's rows, where a transposed operand is contiguous: a line
 * that two tiles share is still in the cache. */
static void cut_tiles(cutting *c, int rows, int64_t columns, int64_t limit) {
    const int64_t *shape = c->job->shape;
    int last = c->job->ndim - 1, next = 0;
    for (int d = 0; d < last; d++) c->step[d] = 1;
    c->step[last] = smaller(shape[last], columns);
    c->step[rows] = smaller(shape[rows], limit / c->step[last]);
    c->first = c->tile = rows;
    c->order[next++] = rows;
    for (int d = last; d >= 0; d--)
        if (d != rows) c->order[next++] = d;
}

/* The dimension along which a transposed operand is nearest to contiguous, if blocks of whole rows
 * would come back to each of its cache lines many times.  -1: none */
static int tile_dimension(const cutting *c) {
    const mg_job *job = c->job;
    int last = job->ndim - 1;
    for (int i = 0; i < job->inputs; i++) {
        const int64_t *stride = job->x[i].stride;
        int best = last;
        if (stride[last] == 0 || job->shape[last] == 1) continue;
        for (int d = 0; d < last; d++)
            if (stride[d] != 0 && job->shape[d] >= 4 &&
                magnitude(stride[d]) < magnitude(stride[best]))
                best = d;
        if (best < last && c->step[best] < smaller(TILE_ROWS, job->shape[best])) return best;
    }
    return -1;
}

/* The longest blocks that need no packing; failing that, short ones that do. */
static void cut(cutting *c) {
    int last = c->job->ndim - 1;
    cut_rows(c, LONG);
    if (!find_access(c)) return;
    if (last > 0 && c->job->shape[last] >= ROW) {
        cut_tiles(c, last - 1, LONG, LONG);
        if (!find_access(c)) return;
    }
    cut_rows(c, BLOCK);
    int rows = tile_dimension(c);
    if (rows >= 0) cut_tiles(c, rows, TILE_COLUMNS, BLOCK);
    find_access(c);
}

/* ---- running ----------------------------------------------------------------------------- */

/* A buffer, and the block that it holds. */
typedef struct {
    _Alignas(64) char data[BLOCK * 8];
    const char *from;
    int64_t rows, columns;
} buffer;

/* Is it there already?  `columns` stands for all extents but the first. */
static int holds(buffer *b, const char *x, int64_t rows, int64_t columns) {
    if (b->from == x && b->rows >= rows && b->columns == columns) return 1;
    b->from = x;
    b->rows = rows;
    b->columns = columns;
    return 0;
}

static mg_source repeated(buffer *b, int64_t size, const char *x) {
    if (!holds(b, x, 1, 0)) move_row(size, MG_REPEAT, b->data, 1, x, 0);
    return (mg_source){b->data, 0};
}

static void run_rows(const cutting *c, const int64_t *extent, char *y, char *const *x,
                     buffer *room) {
    const mg_job *job = c->job;
    const int first = c->first, ndim = job->ndim - first;
    int64_t contiguous[MG_MAX_DIMS], n = 1;
    const mg_operand *to = &job->y;
    extent += first;
    for (int d = ndim - 1; d >= 0; d--) contiguous[d] = n, n *= extent[d];
    if (!job->kernel) {
        move(to->size, ndim, extent, y, to->stride + first, x[0], job->x[0].stride + first);
        return;
    }
    mg_source source[3];
    for (int i = 0; i < job->inputs; i++) {
        const mg_operand *o = &job->x[i];
        if (c->access[i] == DIRECT) {
            source[i] = (mg_source){x[i], 1};
        } else if (c->access[i] == REPEATED) {
            source[i] = repeated(&room[i], o->size, x[i]);
        } else {
            if (!holds(&room[i], x[i], extent[0], contiguous[0]))
                move(o->size, ndim, extent, room[i].data, contiguous, x[i], o->stride + first);
            source[i] = (mg_source){room[i].data, 1};
        }
    }
    if (c->access[3] == DIRECT) {
        job->kernel(n, y, source, job->stream);
    } else {
        job->kernel(n, room[3].data, source, 0);
        move(to->size, ndim, extent, y, to->stride + first, room[3].data, contiguous);
    }
}

static void run_tile(const cutting *c, const int64_t *extent, char *y, char *const *x,
                     buffer *room) {
    const mg_job *job = c->job;
    const mg_operand *to = &job->y;
    int last = job->ndim - 1;
    int64_t rows = extent[c->tile], columns = extent[last], contiguous[2] = {columns, 1};
    struct {
        char *at;
        int64_t row, element; /* strides */
    } in[3];
    for (int i = 0; i < job->inputs; i++) {
        const mg_operand *o = &job->x[i];
        int64_t stride[2] = {o->stride[c->tile], o->stride[last]}, tile[2] = {rows, columns};
        in[i].at = x[i], in[i].row = stride[0], in[i].element = stride[1];
        if (c->access[i] != PACKED) continue;
        if (!holds(&room[i], x[i], rows, columns))
            move(o->size, 2, tile, room[i].data, contiguous, x[i], stride);
        in[i].at = room[i].data, in[i].row = columns, in[i].element = 1;
    }
    for (int64_t r = 0; r < rows; r++, y += to->stride[c->tile] * to->size) {
        mg_source source[3];
        for (int i = 0; i < job->inputs; i++) {
            char *at = in[i].at + r * in[i].row * job->x[i].size;
            source[i] = c->access[i] == REPEATED && job->kernel
                            ? repeated(&room[i], job->x[i].size, at)
                            : (mg_source){at, 1};
        }
        if (!job->kernel) {
            move_row(to->size, columns, y, to->stride[last], source[0].at, in[0].element);
        } else if (c->access[3] == DIRECT) {
            job->kernel(columns, y, source, 0);
        } else {
            job->kernel(columns, room[3].data, source, 0);
            move_row(to->size, columns, y, to->stride[last], room[3].data, 1);
        }
    }
}

static char *address(const mg_operand *o, int ndim, const int64_t *index) {
    int64_t offset = 0;
    for (int d = 0; d < ndim; d++) offset += index[d] * o->stride[d];
    return o->base + offset * o->size;
}

static void run_blocks(void *context, int64_t begin, int64_t end) {
    const cutting *c = context;
    const mg_job *job = c->job;
    int ndim = job->ndim;
    int64_t index[MG_MAX_DIMS], extent[MG_MAX_DIMS], rest = begin;
    for (int i = 0; i < ndim; i++) {
        int d = c->order[i];
        int64_t blocks = ceil_div(job->shape[d], c->step[d]);
        index[d] = rest % blocks * c->step[d];
        rest /= blocks;
    }
    buffer room[4]; /* three inputs and the result */
    for (int i = 0; i < 4; i++) room[i].from = NULL;
    for (int64_t block = begin; block < end; block++) {
        char *x[3];
        for (int i = 0; i < job->inputs; i++) x[i] = address(&job->x[i], ndim, index);
        for (int d = 0; d < ndim; d++) extent[d] = smaller(c->step[d], job->shape[d] - index[d]);
        (c->tile < 0 ? run_rows : run_tile)(c, extent, address(&job->y, ndim, index), x, room);
        for (int i = 0; i < ndim; i++) {
            int d = c->order[i];
            index[d] += c->step[d];
            if (index[d] < job->shape[d]) break;
            index[d] = 0;
        }
    }
}

void mg_run_strided(const mg_job *job) {
    cutting c = {.job = job};
    cut(&c);
    int64_t blocks = 1, elements = 1;
    for (int d = 0; d < job->ndim; d++) {
        blocks *= ceil_div(job->shape[d], c.step[d]);
        elements *= c.step[d];
    }
    int64_t chunk = ceil_div(job->grain, elements);
    if (blocks <= chunk)
        run_blocks(&c, 0, blocks);
    else
        mg_parallel_for(blocks, chunk, run_blocks, &c);
}

static void run_range(void *context, int64_t begin, int64_t end) {
    const mg_job *job = context;
    mg_source x[3];
    _Alignas(64) char copies[3][MG_REPEAT * 8];
    for (int i = 0; i < job->inputs; i++) {
        const mg_operand *o = &job->x[i];
        x[i] = (mg_source){o->base + begin * o->size, 1};
        if (!o->stride || o->stride[0]) continue;
        x[i] = (mg_source){copies[i], 0};
        move_row(o->size, MG_REPEAT, copies[i], 1, o->base, 0);
    }
    char *y = job->y.base + begin * job->y.size;
    if (job->kernel)
        job->kernel(end - begin, y, x, job->stream);
    else
        memcpy(y, x[0].at, (size_t)((end - begin) * job->y.size));
}

void mg_run_contiguous(const mg_job *job, int64_t n) {
    if (n <= job->grain)
        run_range((void *)(uintptr_t)job, 0, n);
    else
        mg_parallel_for(n, job->grain, run_range, (void *)(uintptr_t)job);
}
