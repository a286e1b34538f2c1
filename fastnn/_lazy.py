"""Names that are imported on first use (PEP 562), for the ``__init__`` of every package."""

import sys
from types import ModuleType


def attach(package, names, modules=()):
    """Make ``__getattr__`` and ``__dir__`` of a package.

    Parameters
    ----------
    package : str
        ``__name__`` of the package.
    names : dict
        Public name -> the module of the package that defines it.
    modules : sequence of str
        Modules of the package that are public themselves.
    """

    def __getattr__(name):
        from importlib import import_module

        if name in names:
            value = getattr(import_module("." + names[name], package), name)
        elif name in modules:
            value = import_module("." + name, package)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    class Package(ModuleType):
        """Keeps a submodule from hiding the function of its name: importing it sets it as an attribute."""

        def __setattr__(self, name, value):
            if not (name in names and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package

    def __dir__():
        return sorted({*vars(sys.modules[package]), *names, *modules})

    return __getattr__, __dir__
