# The compiled module, which cffi makes: its contents are declared in cextension/minigrad.h.
from typing import Any

ffi: Any
lib: Any
