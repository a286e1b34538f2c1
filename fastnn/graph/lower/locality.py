"""Which programs work row by row: those run in chunks of 256 rows in constant memory (decision 3)."""

from ..rules.base import CONST, LOCAL, MIXED, is_local_shape


def row_local(nodes, inputs, outputs):
    """Whether row i of every output depends on row i of the inputs only."""
    states = {}
    given = {id(t) for t in inputs}
    for node in nodes:
        if node.op in ("constant", "parameter", "size"):
            state = CONST if node.op != "size" else MIXED
        elif node.op == "input":
            local = id(node.outputs[0]) in given and is_local_shape(node.outputs[0].shape)
            state = LOCAL if local else MIXED
        else:
            before = [states[id(x)] for x in node.inputs]
            if MIXED in before:
                state = MIXED
            elif LOCAL not in before:
                state = CONST if node.op not in ("dropout", "python_op") else MIXED
            else:
                state = LOCAL if node.rule.keeps_rows(node, before) else MIXED
        for y in node.outputs:
            states[id(y)] = state
    return all(states[id(t)] == LOCAL for t in outputs)
