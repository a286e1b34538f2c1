# The C library as Cython sees it: the one extern list.
from libc.stdint cimport int32_t, int64_t

cdef extern from "include/fastnn.h" nogil:
    ctypedef enum fnn_status:
        FNN_OK
        FNN_ERROR_MEMORY
        FNN_ERROR_ARGUMENT
        FNN_ERROR_UNKNOWN_ISA
        FNN_ERROR_UNSUPPORTED_ISA

cdef extern from "base/build_info.h" nogil:
    const char *fnn_compiler()
    int fnn_openmp_version()

cdef extern from "base/cpu.h" nogil:
    int fnn_usable_cores()
    int64_t fnn_cache_size(int level)

cdef extern from "base/team.h" nogil:
    int fnn_get_num_threads()
    int fnn_team_size()
    void fnn_set_num_threads(int n)
    void fnn_set_local_threads(int n, int force)
    void fnn_get_local_threads(int *n, int *force)
    int fnn_threads_forced()

cdef extern from "isa/dispatch.h" nogil:
    enum: FNN_MAX_ISAS
    int fnn_available_isas(const char **names)
    const char *fnn_get_isa()
    fnn_status fnn_set_isa(const char *name)
    fnn_status fnn_set_local_isa(const char *name)
    const char *fnn_isa_problem()

cdef extern from "ops/lists.h" nogil:
    enum: FNN_LIST_PARAMETERS
    ctypedef struct fnn_list_row:
        const char *name
        const char *cls
        const char *parameters
        double *defaults
        const char *states
        const char *forward
        const char *from_output
        const char *derivative
        const char *doc
        const char *citation
        const char *function
        const char *target
        const char *link
        const char *limits
    const fnn_list_row *fnn_list(const char *name, int *count, int *first_code)

cdef extern from "ops/call.h" nogil:
    enum: FNN_MAX_POINTERS
    enum: FNN_MAX_DIMS
    enum: FNN_MAX_SCALARS
    enum: FNN_OP_COUNT
    ctypedef struct fnn_work:
        double flops
        double bytes
        double ns
    ctypedef struct fnn_args:
        void **pointer
        int64_t *dim
        double *scalar
    ctypedef struct fnn_op:
        const char *name
        const char *pointers
        const char *dims
        const char *scalars
        fnn_work (*work)(const fnn_args *args)
    const fnn_op *fnn_ops
    enum: FNN_BRIEF_NS
    double fnn_call_prepare(int op, int dtype, fnn_args *args)
    fnn_status fnn_call_run(int op, fnn_args *args, double ns)

cdef extern from "ops/probe.h" nogil:
    double fnn_probe_flops(int dtype, int threads, double seconds)
    double fnn_probe_bandwidth(int dtype, int threads, void *memory, int64_t bytes, double seconds)

cdef extern from "program/program.h" nogil:
    ctypedef struct fnn_affine:
        int64_t per_row
        int64_t base
    ctypedef enum fnn_buffer_kind:
        FNN_BUFFER_EXTERNAL
        FNN_BUFFER_WORKSPACE
        FNN_BUFFER_KEPT
    ctypedef struct fnn_buffer:
        fnn_buffer_kind kind
        fnn_affine bytes
        int64_t rows_bytes
        int fixed
    int64_t fnn_affine_at(fnn_affine a, int64_t rows)
    ctypedef struct fnn_operand:
        int buffer
        fnn_affine offset
    ctypedef struct fnn_node:
        int op
        fnn_operand *operand
        fnn_affine *dim
        double *scalar
        int *slot
    ctypedef struct fnn_program:
        int node_count
        int buffer_count
        int slot_count
        int64_t capacity
        int64_t chunk
        int64_t arena_bytes
        int64_t lower_bound_bytes
        fnn_node *nodes
        fnn_buffer *buffers
        char *problem
    ctypedef struct fnn_turn:
        int barrier
        int owner
    ctypedef struct fnn_layout:
        int *threads
        fnn_turn *turns
        double ns
        int region_size
    ctypedef struct fnn_workspace:
        fnn_layout now
        void **pointers
        fnn_args *args
        int team_size
        double *seconds
        int64_t scratch_bytes
    fnn_program *fnn_program_new(int dtype)
    void fnn_program_free(fnn_program *program)
    int fnn_program_buffer(fnn_program *program, fnn_buffer_kind kind, fnn_affine bytes, int64_t rows_bytes)
    int fnn_program_append(fnn_program *program, const fnn_node *node)
    fnn_status fnn_program_finish(fnn_program *program, int64_t capacity, int64_t chunk)
    fnn_workspace *fnn_workspace_new(const fnn_program *program)
    void fnn_workspace_free(fnn_workspace *workspace)
    void fnn_layout_forget(fnn_workspace *workspace)
    fnn_status fnn_workspace_prepare(fnn_workspace *workspace, int64_t rows, int in_region, int team_size)
    void fnn_workspace_go(fnn_workspace *workspace, int64_t rows, const double *scalars)
    fnn_status fnn_program_run(fnn_workspace *workspace, int64_t rows, const double *scalars)
    ctypedef struct fnn_steps:
        fnn_workspace *gradient
        fnn_workspace *update
        int index_buffer
        const int64_t *index
        const int64_t *offsets
        int64_t steps
        const double *gradient_scalars
        const double *update_scalars
        int64_t gradient_slots
        int64_t update_slots
        const signed char *updates
        int loss_buffer
        double *losses
        const int32_t *stop
        double seconds
        int check_nan
        int64_t done
    fnn_status fnn_run_steps(fnn_steps *steps)
