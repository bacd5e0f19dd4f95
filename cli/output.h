/* SPDX-License-Identifier: MIT
 * Standard output, which remembers why it failed: stdio tells that a write failed, not how, once
 * other calls have come between. */
#ifndef PMET_CLI_OUTPUT_H
#define PMET_CLI_OUTPUT_H

/* From here on `stdout` is a stream of ours onto descriptor 1; at its end what it holds is written
 * and `stdout` is what it was. If there is no memory for it, stdio's own goes on, and every failure
 * reads "Input/output error". */
void output_begin(void);
int output_end(void); /* 0, or errno of the first write that failed; after it nothing is written */

#endif
