/* lists.h: the rows of the kernel lists as data, for the Python layer (decision 16). */
#ifndef FNN_LISTS_H
#define FNN_LISTS_H

enum { FNN_LIST_PARAMETERS = 4 };

typedef struct fnn_list_row {
    const char *name;
    const char *cls;        /* class name, "" where the list has none */
    const char *parameters; /* names, separated by spaces */
    double defaults[FNN_LIST_PARAMETERS];
    const char *states;               /* optimizers: their state arrays */
    const char *forward, *derivative; /* the formulas' texts, "" where the list has none */
    const char *from_output; /* activations: the derivative in terms of the output y, "" where it is not kept */
    const char *doc, *citation;
    /* losses: the functional name, what targets may be, what an output says, limits of parameters */
    const char *function, *target, *link, *limits;
    int operations; /* losses: instructions per vector */
} fnn_list_row;

/* Rows of "activations", "elementwise", "binary", "losses" or "optimizers" in list order, the code of the first row in
 * *first_code; NULL for another name. */
const fnn_list_row *fnn_list(const char *name, int *count, int *first_code);

#endif
