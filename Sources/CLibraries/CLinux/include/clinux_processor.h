// Which processor a thread runs on. Defined in CLinux.c: <sched.h> has it for GNU programs only.
#ifndef CLINUX_PROCESSOR_H
#define CLINUX_PROCESSOR_H

// The calling thread stays on one processor from now on.
int clinux_pin_to_processor(int processor);

#endif
