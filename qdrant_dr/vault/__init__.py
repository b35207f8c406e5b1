"""The layout `chunked`: blocks stored once, in packs, put together by recipes, if wanted encrypted.

Five words: a *block* is 64 KiB of an archive, a *pack* many blocks in one object, a *recipe* says
how a part is put together, a *box* is the byte layout of all three and of seals, and to *decline* a
pack is not to reuse its blocks.
"""
