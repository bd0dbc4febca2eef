/*
 * cmd/compare.h - differences of images, for people. Private to cmd.
 */
#ifndef CMD_COMPARE_H
#define CMD_COMPARE_H

#include "analyze/analyze.h"
#include "cmd/cmd.h"

/* compare_print - a line each. */
void compare_print(FILE *to, const AnalyzeDifference *d);

#endif
