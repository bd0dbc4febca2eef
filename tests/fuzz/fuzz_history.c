/*
 * fuzz_history - a damaged file of records: whatever it holds, what can be read is read.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/fs.h"
#include "history/history.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

/* A store's directory that lives as long as the process; the file is written anew each time. */
static int store(void)
{
    static char path[] = "/dev/shm/lighter-fuzz-XXXXXX";
    static int fd = -1;
    if (fd >= 0)
        return fd;
    if (!mkdtemp(path))
        abort();
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || mkdirat(fd, "builds", 0700) < 0)
        abort();
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    scoped(arena) Arena a = {0};
    HistoryRecord *v, r;
    size_t nrecord;
    Err e = ERR_INIT;
    if (!fs_write_file(store(), "builds/short", bytes, n, &e) ||
        !history_list(store(), &a, SIZE_MAX, &v, &nrecord, &e))
        abort();
    for (size_t i = 0; i < nrecord; i++) {
        Err ignored = ERR_INIT;
        assert(v[i].id && strlen(v[i].id) == 12);
        if (!history_find(store(), &a, v[i].id, &r, &ignored))
            continue;
        for (size_t k = 0; r.steps && k < r.nstep; k++) {
            int fd = -1;
            Err once = ERR_INIT;
            if (r.steps[k].step && history_open_log(store(), &a, &r.steps[k], &fd, &once))
                assert(fd < 0);
        }
    }
    return 0;
}
