"""A process that takes so many numbers of a log, against others, and prints those that it got."""

from __future__ import annotations

import os
import sys
from io import BytesIO

from batchforge.state.objects.folder import open_folder
from batchforge.state.objects.log import Head, SegmentLog, new_token


def main(url: str, wanted: int) -> None:
    log = SegmentLog(open_folder(url))
    content, number, won = os.environ["NAME"].encode(), 1, 0
    while won < wanted:
        head = Head(number=number, token=new_token(), previous="", schema=1, size_bytes=len(content))
        if log.append(head, BytesIO(content)):
            print(number)
            won += 1
        number += 1


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
