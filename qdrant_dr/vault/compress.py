"""zstd, bounded: nothing is decoded to more than it claimed to be."""

from __future__ import annotations

import sys
import threading

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_WINDOW_LOG = 17  # twice a block: no frame of ours needs more memory
_LEVEL: dict[int, int] = {
    zstd.CompressionParameter.compression_level: 3,
    zstd.CompressionParameter.window_log: _WINDOW_LOG,
}
_BOUND: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG}


_of_thread = threading.local()


def compress(data: bytes) -> bytes:
    """Return one zstd frame. Each thread keeps its compressor: to make one takes a tenth of it."""
    compressor = getattr(_of_thread, "compressor", None)
    if compressor is None:
        compressor = _of_thread.compressor = zstd.ZstdCompressor(options=_LEVEL)
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def decompress(frame: bytes, size: int) -> bytes:
    """Decode exactly one frame of exactly so many bytes. Raise ValueError for anything else."""
    decoder = zstd.ZstdDecompressor(options=_BOUND)
    try:
        # one byte more than it may have: the end is only seen when it is reached
        data = decoder.decompress(frame, max_length=size + 1)
    except zstd.ZstdError as e:
        raise ValueError(str(e)) from None
    if len(data) != size or not decoder.eof or decoder.unused_data:
        raise ValueError(f"is no frame of {size} bytes")
    return data
