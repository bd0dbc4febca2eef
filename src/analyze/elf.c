/*
 * analyze/elf.c - program headers and the dynamic section, read with limits.
 */
#include "analyze/elf.h"

#include <elf.h>
#include <unistd.h>

enum { MAX_PHDRS = 128, MAX_DYN = 4096, MAX_SHDRS = 256, MAX_TEXT = 4096 };

static bool read_at(int fd, uint64_t off, void *buf, size_t n)
{
    return off <= INT64_MAX && pread(fd, buf, n, (off_t)off) == (ssize_t)n;
}

/* A NUL-terminated text of at most MAX_TEXT bytes at a file offset. */
static const char *text_at(Arena *a, int fd, uint64_t off)
{
    char buf[MAX_TEXT];
    ssize_t n = off > INT64_MAX ? -1 : pread(fd, buf, sizeof buf, (off_t)off);
    const char *end = n > 0 ? memchr(buf, 0, (size_t)n) : NULL;
    return end ? arena_strndup(a, buf, (size_t)(end - buf)) : NULL;
}

/* File offset of a virtual address. */
static bool to_offset(const Elf64_Phdr *ph, size_t n, uint64_t addr, uint64_t *ret)
{
    for (size_t i = 0; i < n; i++)
        if (ph[i].p_type == PT_LOAD && addr >= ph[i].p_vaddr &&
            addr - ph[i].p_vaddr < ph[i].p_filesz) {
            *ret = addr - ph[i].p_vaddr + ph[i].p_offset;
            return true;
        }
    return false;
}

static void read_dynamic(Arena *a, int fd, const Elf64_Phdr *ph, size_t nph, const Elf64_Phdr *dyn,
                         ElfFacts *f)
{
    size_t n = dyn->p_filesz / sizeof(Elf64_Dyn);
    if (n > MAX_DYN)
        return;
    Elf64_Dyn *d = NEW_N(a, Elf64_Dyn, n + 1);
    uint64_t strtab = 0;
    bool found = false;
    if (!read_at(fd, dyn->p_offset, d, n * sizeof *d))
        return;
    for (size_t i = 0; i < n && d[i].d_tag != DT_NULL; i++)
        if (d[i].d_tag == DT_STRTAB)
            found = to_offset(ph, nph, d[i].d_un.d_ptr, &strtab);
    for (size_t i = 0; found && i < n && d[i].d_tag != DT_NULL; i++) {
        bool lib = d[i].d_tag == DT_NEEDED,
             path = d[i].d_tag == DT_RUNPATH || d[i].d_tag == DT_RPATH;
        uint64_t at;
        if ((!lib && !path) || __builtin_add_overflow(strtab, d[i].d_un.d_val, &at))
            continue;
        const char *s = text_at(a, fd, at);
        if (s && lib)
            strlist_add(a, &f->needed, s);
        else if (s)
            f->runpath = s;
    }
}

static bool has_go_buildinfo(Arena *a, int fd, const Elf64_Ehdr *h)
{
    Elf64_Shdr *sh = NEW_N(a, Elf64_Shdr, MAX_SHDRS);
    size_t n = h->e_shnum;
    if (!n || n > MAX_SHDRS || h->e_shentsize != sizeof *sh || h->e_shstrndx >= n ||
        !read_at(fd, h->e_shoff, sh, n * sizeof *sh))
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t at;
        if (__builtin_add_overflow(sh[h->e_shstrndx].sh_offset, sh[i].sh_name, &at))
            continue;
        char name[15];
        if (read_at(fd, at, name, sizeof name) && !memcmp(name, ".go.buildinfo", 14))
            return true;
    }
    return false;
}

ElfFacts elf_read(Arena *a, int fd)
{
    ElfFacts f = {0};
    Elf64_Ehdr h;
    if (!read_at(fd, 0, &h, sizeof h) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
        (h.e_type != ET_EXEC && h.e_type != ET_DYN))
        return f;
    if (!h.e_phnum || h.e_phnum > MAX_PHDRS || h.e_phentsize != sizeof(Elf64_Phdr))
        return f;
    Elf64_Phdr *ph = NEW_N(a, Elf64_Phdr, h.e_phnum);
    if (!read_at(fd, h.e_phoff, ph, h.e_phnum * sizeof *ph))
        return f;
    f.is_elf = true;
    for (size_t i = 0; i < h.e_phnum; i++) {
        if (ph[i].p_type == PT_INTERP)
            f.interp = text_at(a, fd, ph[i].p_offset);
        else if (ph[i].p_type == PT_DYNAMIC)
            read_dynamic(a, fd, ph, h.e_phnum, &ph[i], &f);
    }
    f.is_go = f.interp && has_go_buildinfo(a, fd, &h);
    return f;
}
