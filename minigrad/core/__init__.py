"""The door to the C core: arrays in, arrays out.

No file outside this package touches the compiled module.  Its functions take arrays and Python
numbers, check shapes and element types, call C and return a new array.  They know nothing of
gradients.
"""

try:
    from minigrad import _core
except ModuleNotFoundError:
    raise ImportError(
        "minigrad's C core is not built in this folder: run `pip install -e .` here, or, if minigrad "
        "is installed elsewhere, leave the source folder"
    ) from None

from . import shapes
from .array import (
    BOOL,
    DTYPES,
    F32,
    F64,
    I64,
    Array,
    Layout,
    Scalar,
    alias,
    astype,
    contiguous,
    copy_into,
    describe,
    empty,
    empty_of,
    from_numpy,
    layout,
    operand,
    owner,
    results_are,
    strides_of,
    view,
    zeros,
)  # fmt: skip
from .axes import (
    cross_entropy,
    cross_entropy_grad,
    gather,
    indices,
    normalize,
    permute,
    reduce,
    rows,
    scatter_add,
    sum_to,
)  # fmt: skip
from .crf import crf_backward, crf_forward
from .ctc import Paths, ctc_backward, ctc_forward
from .elementwise import (
    CMP,
    MAP,
    ZIP,
    add_into,
    binary,
    clip,
    compare,
    muladd_into,
    unary,
    where,
)  # fmt: skip
from .filter import covariance
from .jacobian import StepJacobian
from .lengths import sizes, valid_steps
from .machine import (
    compiled_isas,
    get_num_threads,
    isa,
    isas,
    memory,
    set_num_threads,
    trim,
    use_isa,
)
from .matrix import gemm, gemm_nt, gemm_nt_add, gemm_tn, gemm_tn_into, transposed
from .sequence import (
    OPERANDS,
    PARAMETERS,
    SEQ,
    Clock,
    Counts,
    Saved,
    Step,
    sequence_backward,
    sequence_forward,
)
from .shapes import Shape
from .sparse import Pattern, Reservoir, spmm
from .training import UPD, Arrays, Update, scalar
