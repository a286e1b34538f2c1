"""Builds the one extension module: plain C objects, one object per ISA and dtype, and the Cython binding.

The compiler is probed, never the build machine's CPU: every ISA that the compiler can spell is built, and the library
chooses at run time. Metadata is in pyproject.toml.
"""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
SOURCES = sorted(path.relative_to(ROOT).as_posix() for room in ("base", "ops", "program") for path in
                 (ROOT / "src_c" / room).glob("*.c")) + ["src_c/isa/dispatch.c"]
TEXTS = sorted(path.relative_to(ROOT).as_posix() for pattern in ("*.h", "*.def") for path in
               (ROOT / "src_c").rglob(pattern))
BINDING = ["fastnn/_native.pyx", "fastnn/_c.pxd", *sorted(path.relative_to(ROOT).as_posix() for path in
                                                          (ROOT / "fastnn").glob("_native_*.pxi"))]

COMMON = ["-std=c11", "-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden",
          "-Wall", "-Wextra"]
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]  # all but the kernels' loops
X86 = {
    "scalar": [],
    "sse2": ["-msse2"],
    "avx2": ["-mavx2", "-mfma"],
    "avx512": ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mprefer-vector-width=512"],
}
ARM = {"scalar": [], "neon": []}
ISA_FLAGS = {"x86_64": X86, "amd64": X86, "aarch64": ARM, "arm64": ARM}
DTYPES = {"f32": "32", "f64": "64"}


def say(text):
    print(f"fastnn: {text}", file=sys.stderr)


class BuildNative(build_ext):
    """Compiles the native library with per-file flags and links it into the Cython module."""

    def run(self):
        super().run()
        self.write_stubs()

    def write_stubs(self):
        """Type stubs of what is made from the lists: they describe the module that has just been built."""
        built = Path(self.build_lib)
        root = built if (built / "fastnn" / "__init__.py").exists() and not self.inplace else ROOT
        command = [sys.executable, "-m", "fastnn._stubs", str((root / "fastnn").resolve())]
        done = subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root.resolve())},
                              capture_output=True, text=True)
        if done.returncode:  # a build for another machine cannot import what it has built
            say(f"no type stubs were written: {done.stderr.strip().splitlines()[-1:]}")

    def build_extension(self, extension):
        self.require_compiler()
        openmp = ["-fopenmp"] if self.accepts(["-fopenmp"], "#include <omp.h>\nint main(void) "
                                              "{ return omp_get_max_threads() < 1; }", link=True) else []
        if not openmp:
            say("this compiler has no OpenMP: fastnn will run on one thread. "
                "On Debian or Ubuntu install libgomp1 and gcc; with clang install libomp-dev.")
        isas = {name: flags for name, flags in ISA_FLAGS.get(platform.machine().lower(), {"scalar": []}).items()
                if not flags or self.accepts(flags)}
        say(f"instruction sets: {', '.join(isas)}; OpenMP: {'yes' if openmp else 'no'}")
        hardened = HARDENED if self.accepts(HARDENED) else []
        macros = [(f"FNN_HAVE_{name.upper()}", "1") for name in isas]
        tables = [([f"src_c/isa/{isa}.c"], f"{isa}_{dtype}", [("FNN_REAL", bits)], COMMON + flags)
                  for isa, flags in reversed(isas.items()) for dtype, bits in DTYPES.items()]  # the longest first
        jobs = [*tables, *(([source], "core", macros, COMMON + hardened + openmp) for source in SOURCES)]
        with ThreadPoolExecutor(self.parallel or os.cpu_count()) as pool:
            extension.extra_objects = sum(pool.map(lambda job: self.compile(*job), jobs), [])
        extension.define_macros += macros
        extension.extra_compile_args = ["-std=c11", "-O2", "-g0", "-fvisibility=hidden", *hardened, *openmp]
        extension.extra_link_args = [*openmp, "-Wl,-z,relro,-z,now"] if sys.platform == "linux" else openmp
        binding = ROOT / "fastnn" / "_native.c"  # Cython misses a change of _c.pxd alone
        if binding.exists() and binding.stat().st_mtime < max(os.path.getmtime(ROOT / text) for text in BINDING):
            binding.unlink()
        super().build_extension(extension)

    def compile(self, sources, folder, macros, flags):
        """Compile into a folder of its own, so that one source can be built several times with other flags."""
        out = os.path.join(self.build_temp, folder)
        os.makedirs(out, exist_ok=True)  # before the threads that compile side by side
        objects = self.compiler.object_filenames(sources, output_dir=out)
        newest_text = max(os.path.getmtime(ROOT / text) for text in [*TEXTS, "setup.py"])
        stale = [source for source, built in zip(sources, objects, strict=True)
                 if self.force or not os.path.exists(built)
                 or os.path.getmtime(built) < max(newest_text, os.path.getmtime(ROOT / source))]
        if stale:
            self.compiler.compile(stale, output_dir=out, macros=macros, extra_postargs=flags)
        return objects

    def accepts(self, flags, text="int main(void) { return 0; }", link=False):
        """Whether the compiler takes these flags, by trying."""
        folder = tempfile.mkdtemp()
        try:
            source = os.path.join(folder, "probe.c")
            Path(source).write_text(text + "\n")
            objects = self.compiler.compile([source], output_dir=folder, extra_postargs=flags)
            if link:
                self.compiler.link_executable(objects, os.path.join(folder, "probe"), extra_postargs=flags)
            return True
        except Exception:  # every compiler class raises its own
            return False
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def require_compiler(self):
        if not self.accepts([]):
            raise SystemExit("fastnn: no working C compiler found. On Debian or Ubuntu: apt install gcc libc6-dev; on "
                             "Fedora: dnf install gcc; on macOS: xcode-select --install. CC names another compiler.")
        if not self.accepts([f"-I{path}" for path in self.compiler.include_dirs], "#include <Python.h>\n"
                            "int main(void) { return 0; }"):
            raise SystemExit("fastnn: the headers of this Python are missing. On Debian or Ubuntu: apt install "
                             "python3-dev; on Fedora: dnf install python3-devel.")


setup(
    ext_modules=[Extension("fastnn._native", ["fastnn/_native.pyx"], depends=[*TEXTS, *SOURCES, *BINDING],
                           include_dirs=[numpy.get_include(), "src_c"],
                           define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")])],
    cmdclass={"build_ext": BuildNative},
)
