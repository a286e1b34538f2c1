"""Short epochs are trained several in one native call, where nothing looks between them.

Returning to Python after every millisecond would cost a tenth of the time, and more where several models are trained at
once and wait for each other at Python's lock.
"""

import numpy as np

_STEPS = 4096  # the most steps of one call
_FIRST_STEPS = 256  # of the first one; the clock ends it as well
_ROWS = 1 << 20  # the most rows whose order is made ahead


class Ahead:
    """Orders and losses of epochs that are not closed yet.

    Attributes
    ----------
    orders : dict of int to int64 array
        Epoch -> its order of rows, if it has been made.
    losses : dict of int to float64 array
        Epoch -> losses of its first steps, if they have been made.
    """

    def __init__(self):
        self.orders, self.losses = {}, {}
        self._seconds = {}
        self._per_step = None

    def pace(self, seconds, steps):
        """Note how long the last call took."""
        self._per_step = seconds / steps if steps else None

    def epochs(self, seconds, steps, per_epoch, rows):
        """How many whole epochs after so many steps will fit into a call, as the last one has shown."""
        room = (min(seconds / self._per_step, _STEPS) if self._per_step else _FIRST_STEPS) - steps
        return max(0, min(int(room / per_epoch), _ROWS // rows))

    def join(self, index, offsets, orders, cuts):
        """(row numbers, offsets) of some batches and of all batches of the epochs after them."""
        begin, end = int(offsets[0]), int(offsets[-1])
        parts, rows = [offsets - begin], end - begin
        for i in range(len(orders)):
            parts.append(cuts[1:] + (rows + i * int(cuts[-1])))
        return np.concatenate([index[begin:end], *orders]), np.concatenate(parts)

    def put(self, epoch, orders, losses, done, per_epoch):
        """Keep what a call has made of the epochs from this one on; returns the seconds that it took."""
        total = 0.0
        for i, order in enumerate(orders):
            self.orders[epoch + i] = order
            made = losses[i * per_epoch : max(0, min(done, (i + 1) * per_epoch))]
            if len(made):
                self.losses[epoch + i], self._seconds[epoch + i] = made, len(made) * self._per_step
                total += self._seconds[epoch + i]
        return total

    def take(self, epoch):
        """(losses of the epoch's first steps or None, the seconds that they took in another epoch's call)"""
        return self.losses.pop(epoch, None), self._seconds.pop(epoch, 0.0)
