/* strided.h: how kernels that see only contiguous blocks work on strided operands (strided.c). */
#ifndef MG_STRIDED_H
#define MG_STRIDED_H
#include "table.h"

enum { MG_MAX_DIMS = 64 }; /* NumPy's own limit */

typedef struct {
    char *base;
    int64_t size;          /* bytes per element */
    const int64_t *stride; /* [ndim], in elements; NULL: contiguous */
} mg_operand;

typedef struct {
    mg_kernel *kernel; /* NULL: y[i] = x[0][i], elements of the same size */
    int stream;
    int inputs;
    mg_operand y, x[3];
    int64_t grain; /* elements that are worth a task of their own */
    int ndim;
    const int64_t *shape;
} mg_job;

/* The whole job, cut for the threads: operands contiguous or one number (stride[0] is 0), n
 * elements each; or with strides. */
void mg_run_contiguous(const mg_job *job, int64_t n);
void mg_run_strided(const mg_job *job);

#endif
