/* SPDX-License-Identifier: MIT
 * gzip and zstd, whatever is packed in them. */
#include "tensors/stream.h"
#include "tests/fuzz/target.h"

void fuzz_one(const char *data, size_t n)
{
    static char buf[1 << 16];
    struct pmet_error err = {PMET_OK, ""};
    struct pmet_stream *s = NULL;
    enum pmet_status status = pmet_stream_open(pmet_io_system(), fuzz_file("a", data, n), NULL, &s, &err);
    for (size_t got = 1, all = 0; status == PMET_OK && got > 0 && all < (size_t)1 << 22; all += got)
        status = pmet_stream_read(s, buf, sizeof buf - all % 7, &got, &err);
    fuzz_expect(status, &err);
    pmet_stream_close(s);
}
