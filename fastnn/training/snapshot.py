"""Snapshot: a trainer's state kept in memory, put back bit for bit into the same arrays."""

from contextlib import contextmanager


class Snapshot:
    """Weights, running statistics, moments, averages and counters of a trainer as they are now.

    Arrays are restored in place, so that compiled programs stay valid.
    """

    def __init__(self, trainer):
        self.trainer = trainer
        tensors = {id(tensor): tensor for _, tensor in trainer.model._all_named_tensors()}.values()
        self.tensors = [(tensor, tensor.storage.copy()) for tensor in tensors]
        state = trainer._optimizer_state
        self.kind = state.kind
        self.slots = {name: (slot, slot.steps, _copies(slot.arrays)) for name, slot in state.slots.items()}
        averages = trainer._average.slots
        self.averages = {name: (slot, slot.steps, slot.array.copy()) for name, slot in averages.items()}
        self.counters = {name: getattr(trainer, name) for name in ("epoch", "step", "micro_step", "scheduler")}
        self.options = trainer.optimizer.to_config()

    def restore(self):
        """Put everything back; states that did not exist are forgotten."""
        trainer = self.trainer
        for tensor, values in self.tensors:
            tensor.storage[...] = values
            tensor.version += 1
        state = trainer._optimizer_state
        for slot, steps, arrays in self.slots.values():
            slot.steps = steps
            for name, (array, values) in arrays.items():
                array[...] = values
                slot.arrays[name] = array
        if state.slots.keys() != self.slots.keys() or state.kind != self.kind:
            state.generation += 1  # programs that use the forgotten ones are stale
        state.kind, state.slots = self.kind, {name: entry[0] for name, entry in self.slots.items()}
        for slot, steps, values in self.averages.values():
            slot.steps = steps
            slot.array[...] = values
        if trainer._average.slots.keys() != self.averages.keys():
            state.generation += 1
        trainer._average.slots = {name: entry[0] for name, entry in self.averages.items()}
        state.clock += 1
        trainer.optimizer.load_config(self.options)
        for name, value in self.counters.items():
            setattr(trainer, name, value)


def _copies(arrays):
    return {name: (array, array.copy()) for name, array in arrays.items()}


@contextmanager
def preserved(trainer):
    """Inside the ``with`` the trainer may train; afterwards it is what it was before."""
    snapshot = Snapshot(trainer)
    try:
        yield trainer
    finally:
        snapshot.restore()
