/*
 * base/defs.h - attributes and small macros every file of lighter uses.
 */
#ifndef BASE_DEFS_H
#define BASE_DEFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIGHTER_VERSION "0.1.0"

#define NODISCARD __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define NELEM(a) (sizeof(a) / sizeof((a)[0]))

/*
 * scoped(kind) T x = ...;  - run kind's destructor on x when the block ends. A kind `fd` names the
 * function scoped_fd_done(int *); every type that must close declares such a function beside
 * itself.
 */
#define scoped(kind) __attribute__((cleanup(scoped_##kind##_done)))

#endif
