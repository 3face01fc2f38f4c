"""Every error that dagger-edge raises on purpose, and the exit code that the command line gives it.

Each message says what is wrong, where, and what to do; it is shown to users as it is.
"""

from __future__ import annotations

from typing import ClassVar


class DaggerEdgeError(Exception):
    """Base of all errors of this package.

    Attributes:
        exit_code: the process's exit status at the command line; exit code 1 where a class has no other.
    """

    exit_code: ClassVar[int] = 1


class GraphError(DaggerEdgeError):
    """A graph that gives no answer (exit code 1)."""

    exit_code = 1


class UsageError(DaggerEdgeError):
    """A request that cannot be served as it is: a bad question, option, checkpoint or output path (exit code 2)."""

    exit_code = 2


class ProviderError(DaggerEdgeError):
    """onnxruntime is missing, or cannot give the execution provider that was asked for (exit code 3)."""

    exit_code = 3


class BundleError(DaggerEdgeError):
    """A bundle that is missing, incomplete, altered, or cannot be written (exit code 4)."""

    exit_code = 4


class ModelError(DaggerEdgeError):
    """The model ran, and gave nothing that can be used (exit code 1)."""

    exit_code = 1


class BusyError(DaggerEdgeError):
    """Something is in use by another process, or can take no more now (exit code 5)."""

    exit_code = 5
