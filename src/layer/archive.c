/*
 * layer/archive.c - is this file an archive? Its bytes decide.
 */
#include <errno.h>

#include "base/fs.h"
#include "layer/layer.h"

/* Read the first header. What follows it is the business of whoever unpacks. */
static bool probe(int fd, bool *ret_archive, Err *e)
{
    Err why = ERR_INIT;
    TarReader t;
    TarEntry first;
    bool got;
    scoped(layer_in) LayerIn *in = layer_in_new(fd, LAYER_SNIFF);
    tar_reader_init(&t, in);
    t.clip = true;
    bool ok = tar_next(&t, &first, &got, &why);
    bool archive = t.nheader > 0;
    tar_reader_done(&t);
    if (!ok && !archive && layer_in_trouble(in))
        return err_set(e, why.kind, "%s", why.msg);
    *ret_archive = archive;
    return true;
}

bool layer_archive_detect(int fd, bool *ret_archive, Err *e)
{
    off_t start = lseek(fd, 0, SEEK_CUR);
    bool archive = false;
    if (start < 0)
        return err_errno(e, ERR_STORE, "look whether a file is an archive");
    if (!probe(fd, &archive, e))
        return false;
    if (lseek(fd, start, SEEK_SET) < 0)
        return err_errno(e, ERR_STORE, "look whether a file is an archive");
    *ret_archive = archive;
    return true;
}
