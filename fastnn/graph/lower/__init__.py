"""From a graph to a native program: memory layouts (view), one op after the other (emit), the whole plan (plan)."""
