"""NumPy twins of the native ops: the contract that every kernel is measured against.

One file per op, the formula and its source at the top. A twin computes in float64, or in longdouble when it is given
longdouble (the reference for float64 kernels); it is written for clarity and shares no code with the kernels.
"""
