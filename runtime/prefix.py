"""The state of what every prompt begins with, where the bundle has none that fits: read once, and kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bundle import MODEL_FILE, WEIGHTS_FILE, Bundle
from .context import Context
from .manifest import Prefix
from .ort import Provider, onnxruntime_version
from .snapshot import Snapshot, state_shape, state_type
from .user_cache import cache_name, read_cached, write_cached

# Fewer ids are read with the question in the same step.
_WORTH_KEEPING = 64


def kept_snapshot(bundle: Bundle, context: Context, ids: Sequence[int], provider: Provider) -> Snapshot | None:
    """The snapshot of ``ids`` from the user's cache, else read in ``context``, which loses what it holds, and kept.

    None where ``ids`` are few, or leave the context no room. The cache is left alone where the bundle was opened
    without comparing its files: the state may be that of another model than its digests say.

    Raises:
        ModelError: onnxruntime fails on the CPU.
        ProviderError: it fails on another provider.
    """
    manifest = bundle.manifest
    if not _WORTH_KEEPING <= len(ids) < manifest.architecture.context_length:
        return None
    digests = [manifest.files[name].sha256 for name in (MODEL_FILE, WEIGHTS_FILE)]
    name = cache_name("prefix", *digests, Prefix.of(ids).ids_sha256, provider, onnxruntime_version())
    shape = state_shape(manifest.architecture, len(ids))
    dtype = state_type(manifest.precision.name)
    kept = read_cached(name) if bundle.verified else None
    if kept is not None and len(kept) == int(np.prod(shape)) * dtype.itemsize:
        return Snapshot(ids, np.frombuffer(kept, dtype).reshape(shape))
    context.keep_first(0)
    context.feed(ids)
    state = np.asarray(context.state(), dtype)
    if not np.isfinite(state).all():
        # Beyond halves: it stays a part of every prompt.
        return None
    if bundle.verified:
        write_cached(name, state.tobytes())
    return Snapshot(ids, state)
