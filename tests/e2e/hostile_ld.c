/*
 * hostile_ld.c - the "dynamic linker" of a hostile image. The kernel starts it in the place of the program that a step
 * executes as /proc/self/exe, which is lighter's own. It opens that program and executes /hostile with the descriptor.
 */
#include <sys/syscall.h>

static inline __attribute__((always_inline)) long call(long nr, const void *a, long b, long c)
{
    long rc;
    __asm__ volatile("syscall" : "=a"(rc) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return rc;
}

__attribute__((visibility("hidden"), used)) void begin(void)
{
    static const char own[] = "/proc/self/exe", program[] = "/hostile", word[] = "program";
    char fd[] = {(char)('0' + call(SYS_open, own, 0, 0)), 0};
    const char *argv[] = {program, word, fd, 0}, *env[] = {0};
    call(SYS_execve, program, (long)argv, (long)env);
    call(SYS_exit, (const void *)1, 0, 0);
}

__asm__(".globl _start\n.hidden begin\n_start: and $-16, %rsp\n call begin\n");
