/*
 * sandbox/emulator.c - whether the kernel hands programs of another machine to an emulator.
 *
 * What an entry of binfmt_misc takes is compared with the head of a program of that machine, and an
 * entry counts whatever it is called. Source: kernel, Documentation/admin-guide/binfmt-misc.rst.
 */
#include <dirent.h>
#include <elf.h>

#include "base/fs.h"
#include "sandbox/sandbox.h"

enum { HEAD_SIZE = 20, ENTRY_MAX = 16 << 10 };

static const struct {
    const char *architecture; /* Go's name */
    uint8_t class, data;
    uint16_t machine;
} MACHINES[] = {
    {"amd64", ELFCLASS64, ELFDATA2LSB, EM_X86_64},  {"386", ELFCLASS32, ELFDATA2LSB, EM_386},
    {"arm64", ELFCLASS64, ELFDATA2LSB, EM_AARCH64}, {"arm", ELFCLASS32, ELFDATA2LSB, EM_ARM},
    {"riscv64", ELFCLASS64, ELFDATA2LSB, EM_RISCV}, {"ppc64le", ELFCLASS64, ELFDATA2LSB, EM_PPC64},
    {"s390x", ELFCLASS64, ELFDATA2MSB, EM_S390},    {"mips64le", ELFCLASS64, ELFDATA2LSB, EM_MIPS},
    {"mips64", ELFCLASS64, ELFDATA2MSB, EM_MIPS},   {"loong64", ELFCLASS64, ELFDATA2LSB, 258},
};

/* How a program of a machine begins. */
static bool head_of(const char *architecture, uint8_t out[static HEAD_SIZE])
{
    for (size_t i = 0; i < NELEM(MACHINES); i++) {
        if (strcmp(MACHINES[i].architecture, architecture) != 0)
            continue;
        bool big = MACHINES[i].data == ELFDATA2MSB;
        memset(out, 0, HEAD_SIZE);
        memcpy(out, ELFMAG, SELFMAG);
        out[EI_CLASS] = MACHINES[i].class;
        out[EI_DATA] = MACHINES[i].data;
        out[EI_VERSION] = EV_CURRENT;
        out[16 + big] = ET_EXEC;
        out[18 + big] = (uint8_t)MACHINES[i].machine;
        out[19 - big] = (uint8_t)(MACHINES[i].machine >> 8);
        return true;
    }
    return false;
}

/* The value of a line "key value" of an entry. */
static Str line_of(const char *text, const char *key)
{
    size_t n = strlen(key);
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (!strncmp(p, key, n) && p[n] == ' ')
            return (Str){p + n + 1, strcspn(p + n + 1, "\n")};
    }
    return (Str){"", 0};
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool hex(Str s, size_t i, uint8_t *ret)
{
    if (2 * i + 1 >= s.len || digit(s.ptr[2 * i]) < 0 || digit(s.ptr[2 * i + 1]) < 0)
        return false;
    *ret = (uint8_t)(digit(s.ptr[2 * i]) << 4 | digit(s.ptr[2 * i + 1]));
    return true;
}

static bool takes(const char *text, const uint8_t head[static HEAD_SIZE])
{
    Str magic = line_of(text, "magic"), mask = line_of(text, "mask");
    uint8_t want, bits;
    if (strncmp(text, "enabled", 7) != 0 || !str_eq(line_of(text, "offset"), "0") || !magic.len)
        return false;
    for (size_t i = 0; i < HEAD_SIZE && hex(magic, i, &want); i++) {
        if (!hex(mask, i, &bits))
            bits = 0xff;
        if ((head[i] & bits) != (want & bits))
            return false;
    }
    return true;
}

static SandboxEmulator look(const char *dir, const uint8_t head[static HEAD_SIZE])
{
    SandboxEmulator best = EMULATOR_NONE;
    DIR *d = opendir(dir);
    if (!d)
        return EMULATOR_NONE;
    for (const struct dirent *ent; best != EMULATOR_READY && (ent = readdir(d));) {
        scoped(buf) Buf text = BUF_INIT;
        Err ignored = ERR_INIT;
        if (ent->d_name[0] == '.' || !strcmp(ent->d_name, "register") ||
            !strcmp(ent->d_name, "status") ||
            !fs_read_file(dirfd(d), ent->d_name, ENTRY_MAX, &text, &ignored) ||
            !takes(buf_str(&text), head))
            continue;
        /* Without F the kernel looks for the emulator when a program starts: in the image. */
        Str flags = line_of(buf_str(&text), "flags:");
        best = memchr(flags.ptr, 'F', flags.len) ? EMULATOR_READY : EMULATOR_OUTSIDE;
    }
    closedir(d);
    return best;
}

SandboxEmulator sandbox_emulator(const char *architecture)
{
    uint8_t head[HEAD_SIZE];
    return head_of(architecture, head) ? look("/proc/sys/fs/binfmt_misc", head) : EMULATOR_NONE;
}
