/* lists.c: see lists.h. */
#include "lists.h"

#include <string.h>

#include "../kernels/kernel_types.h"

#define FNN_TWO(a, b)                                                                                                  \
    { a, b }
static const fnn_list_row activations[] = {
#define FNN_ACTIVATION(name, cls, nparams, names, defaults, forward, derivative, doc, citation)                        \
    {#name, #cls, names, defaults, "", #forward, #derivative, "", doc, citation, "", "", "", "", 0},
#define FNN_ACTIVATION_OUTPUT(name, cls, nparams, names, defaults, forward, derivative, from_output, doc, citation)    \
    {#name, #cls, names, defaults, "", #forward, #derivative, #from_output, doc, citation, "", "", "", "", 0},
#include "../kernels/activations.def"
#undef FNN_ACTIVATION
};
static const fnn_list_row elementwise[] = {
#define FNN_ELEMENTWISE(name, formula, doc) {#name, "", "", {0}, "", #formula, "", "", doc, "", "", "", "", "", 0},
#include "../kernels/elementwise.def"
#undef FNN_ELEMENTWISE
};
static const fnn_list_row binary[] = {
#define FNN_BINARY(name, formula, doc) {#name, "", "", {0}, "", #formula, "", "", doc, "", "", "", "", "", 0},
#include "../kernels/binary.def"
#undef FNN_BINARY
};
#define VALUES(...) __VA_ARGS__ /* a list in parentheses is one macro argument, one in braces is not */
static const fnn_list_row losses[] = {
#define FNN_LOSS(name, function, cls, target, link, names, defaults, limits, operations, value, derivative, doc,       \
                 citation)                                                                                             \
    {#name, #cls,     names,     {VALUES defaults}, "",   #value, #derivative, "",                                     \
     doc,   citation, #function, #target,           link, limits, operations},
#include "../kernels/losses.def"
#undef FNN_LOSS
};
static const fnn_list_row optimizers[] = {
#define FNN_OPTIMIZER(name, norms, states, scalars, doc, citation)                                                     \
    {#name, "", scalars, {0}, states, "", "", "", doc, citation, "", "", "", "", 0},
#include "../kernels/optimizers.def"
#undef FNN_OPTIMIZER
};

#define ROWS(list) (int)(sizeof list / sizeof list[0])

const fnn_list_row *fnn_list(const char *name, int *count, int *first_code) {
    const struct {
        const char *name;
        const fnn_list_row *rows;
        int count, first_code;
    } lists[] = {{"activations", activations, ROWS(activations), 0},
                 {"elementwise", elementwise, ROWS(elementwise), ROWS(activations)},
                 {"binary", binary, ROWS(binary), 0},
                 {"losses", losses, ROWS(losses), 0},
                 {"optimizers", optimizers, ROWS(optimizers), 0}};
    for (int i = 0; i < ROWS(lists); i++)
        if (strcmp(name, lists[i].name) == 0) {
            *count = lists[i].count;
            *first_code = lists[i].first_code;
            return lists[i].rows;
        }
    return 0;
}
