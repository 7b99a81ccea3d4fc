/* kernels_elementwise.h: part of kernels.c: map, zip, compare, select, copy. */

/* n elements each, side by side (ndim 0), or a shape and each operand's strides */
typedef struct {
    int ndim;
    int64_t shape[4], stride[3][4];
} geometry;

static int64_t count(const geometry *g) {
    int64_t n = 1;
    for (int d = 0; d < (g->ndim ? g->ndim : 1); d++) n *= g->shape[d];
    return n;
}
/* where element i of an operand stands, in elements from its first */
static int64_t place(const geometry *g, int operand, int64_t i) {
    if (g->ndim == 0) return i;
    int64_t at = 0;
    for (int d = g->ndim - 1; d >= 0; d--, i /= g->shape[d + 1])
        at += i % g->shape[d] * g->stride[operand][d];
    return at;
}
/* elements that an operand reaches; *first: how many of them lie before its first */
static int64_t extent(const geometry *g, int operand, int64_t *first) {
    int64_t low = 0, high = 0;
    if (g->ndim == 0) high = g->shape[0] - 1;
    for (int d = 0; d < g->ndim; d++) {
        const int64_t reach = (g->shape[d] - 1) * g->stride[operand][d];
        *(reach < 0 ? &low : &high) += reach;
    }
    *first = -low;
    return high - low + 1;
}
static void write_form(int64_t *form, int dtype, const geometry *g, int operands) {
    *form++ = dtype, *form++ = count(g), *form++ = g->ndim;
    for (int d = 0; d < g->ndim; d++) *form++ = g->shape[d];
    for (int k = 0; k < operands; k++)
        for (int d = 0; d < g->ndim; d++) *form++ = g->stride[k][d];
}

enum { MAPPED, ZIPPED, COMPARED, SELECTED };
static const struct {
    const char *name;
    int inputs, ops;
    const formula *formulas;
} kinds[] = {{"map", 1, MG_MAPS, maps},
             {"zip", 2, MG_ZIPS, zips},
             {"compare", 2, MG_CMPS, compares},
             {"select", 3, MG_SELS, selects}};

static int call(int kind, int op, const int64_t *form, void *y, void *const *x) {
    switch (kind) {
    case MAPPED: return mg_map(op, form, y, x[0]);
    case ZIPPED: return mg_zip(op, form, y, x[0], x[1]);
    case COMPARED: return mg_compare(op, form, y, x[0], x[1]);
    default: return mg_select(op, form, y, x[0], x[1], x[2]);
    }
}

static void one_elementwise(int kind, int op, int dtype, const geometry *g) {
    const int inputs = kinds[kind].inputs, y_dtype = kind == COMPARED ? MG_BOOL : dtype;
    const formula f = kinds[kind].formulas[op];
    const int64_t n = count(g);
    int64_t form[3 + 4 * 4], first[3] = {0};
    array x[3] = {0}, y[3];
    void *base[3] = {0};
    subject(kinds[kind].name, f.name, dtype, n, g->ndim, g->shape[0], g->stride[0][0]);
    write_form(form, dtype, g, inputs);
    for (int k = 0; k < inputs; k++) {
        const int bytes = kind == SELECTED && op == MG_SEL_where && k == 0;
        x[k] = drawn(bytes ? MG_BOOL : dtype, extent(g, k, &first[k]), 0);
        base[k] = x[k].at + first[k] * size_of(x[k].dtype);
    }
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        y[t] = result(y_dtype, n);
        if (t == 2 && g->ndim == 0 && y_dtype == dtype && n) { /* in place of the last input */
            memcpy(y[t].at, x[inputs - 1].at, (size_t)(n * size_of(dtype)));
            base[inputs - 1] = y[t].at;
        }
        status(call(kind, op, form, y[t].at, base), MG_OK);
    }
    for (int64_t i = 0; i < n; i++) {
        double v[3] = {0};
        for (int k = 0; k < inputs; k++) v[k] = get(&x[k], first[k] + place(g, k, i));
        expect(i, y_dtype, get(&y[0], i), f.of(v[0], v[1], v[2]), kind == MAPPED && v[0] == 0);
    }
    same(y);
    release(&y[0]);
    for (int k = 0; k < inputs; k++) release(&x[k]);
}

static const geometry strided[] = {
    {1, {37}, {{0}, {1}, {0}}},
    {1, {300}, {{2}, {-1}, {3}}},
    {2, {5, 19}, {{19, 1}, {0, 1}, {1, 0}}},
    {2, {19, 5}, {{1, 19}, {5, 1}, {0, 0}}},
    {3, {3, 4, 17}, {{-68, 17, 1}, {1, 3, 12}, {0, -17, 1}}},
    {4, {2, 3, 1, 5}, {{15, 5, 9, 1}, {0, 1, 0, 3}, {1, 2, 0, -6}}},
    {3, {41, 1, 900}, {{900, 7, 1}, {0, 0, 1}, {1, 0, 41}}}, /* several tasks */
};

static void test_elementwise(int dtype) {
    for (int kind = 0; kind < 4; kind++)
        for (int op = 0; op < kinds[kind].ops; op++) {
            for (int64_t n = 0; n <= 72; n++)
                one_elementwise(kind, op, dtype, &(geometry){.shape = {n}});
            one_elementwise(kind, op, dtype, &(geometry){.shape = {1001}});
            one_elementwise(kind, op, dtype, &(geometry){.shape = {70001}}); /* several tasks */
            for (size_t s = 0; s < sizeof strided / sizeof *strided; s++)
                one_elementwise(kind, op, dtype, &strided[s]);
        }
    /* large enough to be written past the caches */
    const geometry large = {.shape = {((int64_t)16 << 20) / size_of(dtype) + 5}};
    one_elementwise(ZIPPED, MG_ZIP_add, dtype, &large);
    one_elementwise(MAPPED, MG_MAP_exp, dtype, &large);
}

/* ---- copy -------------------------------------------------------------------------------- */

static double converted(int to, double v) {
    if (to == MG_BOOL) return v != 0;
    if (to == MG_I64) return v >= -0x1p63 && v < 0x1p63 ? trunc(v) : -0x1p63;
    return v;
}

static void one_copy(int to, int from, const geometry *g) {
    const int64_t n = count(g);
    int64_t form[3 + 3 * 4], y_first, x_first;
    array y[3], x = drawn(from, extent(g, 1, &x_first), 0);
    subject("copy", from < 2 ? "from real" : "from integer", to, n, g->ndim, g->shape[0], from);
    write_form(form, to, g, 2);
    for (int t = 0; t < 3; t++) {
        mg_set_threads(t + 1);
        y[t] = result(to, extent(g, 0, &y_first));
        status(mg_copy(from, form, y[t].at + y_first * size_of(to), x.at + x_first * size_of(from)),
               MG_OK);
    }
    same(y);
    for (int64_t i = 0; i < n; i++) {
        const int64_t at = y_first + place(g, 0, i);
        const double v = converted(to, get(&x, x_first + place(g, 1, i)));
        expect(i, to, get(&y[0], at), (truth){v, 0}, from < 2 && to < 2);
        memset(y[0].at + at * size_of(to), FILL, (size_t)size_of(to)); /* seen */
    }
    for (int64_t i = 0; i < y[0].n * size_of(to); i++)
        if (y[0].at[i] != FILL) fail("written between the strides", i, y[0].at[i], FILL);
    release(&y[0]);
    release(&x);
}

static void test_copy(void) {
    static const geometry copies[] = {
        {0, {0}, {{0}}},
        {0, {1}, {{0}}},
        {0, {1003}, {{0}}},
        {0, {70001}, {{0}}},
        {1, {37}, {{1}, {0}}},
        {1, {41}, {{-1}, {3}}},
        {2, {6, 11}, {{11, 1}, {1, 6}}},
        {2, {5, 7}, {{20, 2}, {-7, 1}}},
        {3, {3, 5, 9}, {{1, 3, 15}, {45, 0, 1}}},
        {4, {2, 3, 4, 5}, {{60, 20, 5, 1}, {20, 40, 1, -4}}},
        {2, {70, 33}, {{1, 70}, {33, 1}}},
        {3, {310, 1, 260}, {{260, 3, 1}, {1, 0, 310}}}, /* several tasks */
    };
    for (int to = MG_F32; to <= MG_BOOL; to++)
        for (int from = MG_F32; from <= MG_BOOL; from++)
            for (size_t c = 0; c < sizeof copies / sizeof *copies; c++)
                one_copy(to, from, &copies[c]);
}
