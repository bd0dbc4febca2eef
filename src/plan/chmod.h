/*
 * plan/chmod.h - the language of --chmod. Private to the plan room.
 */
#ifndef PLAN_CHMOD_H
#define PLAN_CHMOD_H

#include "plan/plan.h"

/* chmod_parse - read an octal number up to 7777 or "u=rwX,go=rX". Fails with ERR_DOCKERFILE. */
NODISCARD bool chmod_parse(const char *text, PlanChmod *ret, Err *e);

#endif
