"""The lists of the static check: what a controller's text may name."""

from __future__ import annotations

import builtins
import re
from typing import Final

from trace_robot.sandbox.protocol import PACKAGE, TRACE


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


# Modules that may be imported; everything else is refused.
MODULES: Final = words(
    """
    __future__ abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum
    fractions functools heapq itertools json logging math numbers operator pprint queue random re statistics string
    struct sys textwrap time types typing unicodedata warnings weakref
    numpy numpy.fft numpy.lib numpy.lib.stride_tricks numpy.linalg numpy.ma numpy.polynomial numpy.polynomial.polynomial
    numpy.polynomial.chebyshev numpy.polynomial.legendre numpy.random numpy.typing
    scipy scipy.cluster scipy.cluster.vq scipy.constants scipy.fft scipy.integrate scipy.interpolate scipy.linalg
    scipy.ndimage scipy.optimize scipy.signal scipy.sparse scipy.sparse.csgraph scipy.sparse.linalg scipy.spatial
    scipy.spatial.distance scipy.spatial.transform scipy.special scipy.stats
    """
) | {PACKAGE, TRACE}
_TRACE_NAMES: Final = words(
    """
    Bounds Bundle Choices ExceptionNode ExecutionError Map MessageNode Module Node ParameterNode Seq apply_op bundle
    fixed is_tracing model node stop_tracing to_data trace
    """
)
# The only names that may be taken from these modules.
ONLY: Final = {
    "numpy.lib": words("stride_tricks"),
    "sys": words("float_info maxsize stderr stdout version_info"),
    "types": words("MappingProxyType SimpleNamespace"),
    PACKAGE: _TRACE_NAMES,
    TRACE: _TRACE_NAMES,
}
# Names that may not be taken from these modules: they read or write files, run text, or are never the same twice.
EXCEPT: Final = {
    "numpy": words(
        "DataSource core compat ctypeslib distutils f2py fromfile fromregex genfromtxt load loadtxt memmap recfromcsv "
        "recfromtxt safe_eval save savetxt savez savez_compressed show_config show_runtime test testing"
    ),
    "scipy": words("LowLevelCallable datasets io misc show_config test"),
    "scipy.sparse": words("load_npz save_npz"),
    "dataclasses": words("make_dataclass"),
    "json": words("dump load"),
    "logging": words("FileHandler config handlers"),
    "random": words("SystemRandom"),
    "string": words("Formatter"),
    "typing": words("ForwardRef get_type_hints"),
}
# Names that may not be taken from any module: the interpreter's own modules, which others import.
INTERPRETER: Final = words(
    """
    builtins codecs ctypes ctypeslib f2py faulthandler gc imp importlib inspect io linecache marshal mmap nt os pathlib
    pickle platform posix resource shutil site socket ssl subprocess sys sysconfig tempfile threading tokenize traceback
    zipimport
    """
)
MODULE_DUNDERS: Final = words("__name__ __version__ __doc__")
LITERAL_ONLY: Final = words("operator.attrgetter operator.methodcaller")

ALL_BUILTINS: Final = frozenset(dir(builtins))
BUILTINS: Final = ALL_BUILTINS - words(
    """
    __build_class__ __import__ __loader__ __spec__ breakpoint compile copyright credits delattr eval exec exit getattr
    globals hasattr help input license locals open quit setattr vars
    """
)
NEVER: Final = words("eval exec __import__ __builtins__")
LOOKED_UP_BY_LITERAL: Final = words("globals locals vars")  # as in `"t" in globals()` and `globals()["t"]`
NAMED_BY_LITERAL: Final = words("getattr setattr hasattr delattr")

# Attributes that lead from an ordinary object to frames, code, memory or files: the known ways out of a Python-level
# sandbox.
HIDDEN: Final = words(
    """
    ag_await ag_code ag_frame cr_await cr_code cr_frame cr_origin f_back f_builtins f_code f_globals f_lasti f_lineno
    f_locals f_trace fromfile func_code func_globals gi_code gi_frame gi_yieldfrom mro tb_frame tb_lasti tb_next tofile
    """
) | frozenset(name for name in dir((lambda: 0).__code__) if name.startswith("co_"))
LEADS_TO_FRAMES: Final = re.compile(r"(ag|co|cr|f|func|gi|tb)(_[a-z]?|$)")
# The same, unless the source itself defines the name.
HIDDEN_UNLESS_OWN: Final = words("ctypes ctypeslib dump dumps f2py memmap")

_OPERATORS: Final = words("add and divmod floordiv lshift matmul mod mul or pow rshift sub truediv xor")
_METHODS: Final = words(
    """
    abs array array_priority array_ufunc bool bytes call ceil class_getitem complex contains copy deepcopy delattr
    delete delitem dir enter eq exit float floor format ge get getattr getitem gt hash index init int invert iter le
    len length_hint lt missing ne neg new next pos post_init repr reversed round set set_name setattr setitem str trunc
    """
)
_MARKS: Final = words(
    "all annotations author date debug doc main match_args members name qualname slots version"
)
DUNDERS_OF_SELF: Final = words("__class__ __dict__")
DUNDERS: Final = frozenset(
    f"__{prefix}{name}__"
    for prefixes, group in ((("", "r", "i"), _OPERATORS), (("",), _METHODS | _MARKS))
    for prefix in prefixes
    for name in group
)
