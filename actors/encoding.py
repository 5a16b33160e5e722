"""From lines to bytes: all lines of a release in one call, but for those of so many rows that the others would wait."""

from collections.abc import Iterator, Sequence

from actors.wire import Line, LongReply, encode_lines


def encoded(lines: Sequence[Line]) -> Iterator[bytes]:
    """The lines' bytes, in one piece; a long reply's are pieces of their own, each made when it is asked for."""
    try:
        data = encode_lines(lines)
    except TypeError:  # the encoder knows no long replies: a release without any pays nothing for them
        yield from _in_pieces(lines)
    else:
        yield data


def _in_pieces(lines: Sequence[Line]) -> Iterator[bytes]:
    short: list[Line] = []
    for line in lines:
        if not isinstance(line, LongReply):
            short.append(line)
            continue
        if short:
            yield encode_lines(short)
            short = []
        yield from line.pieces()
    if short:
        yield encode_lines(short)
