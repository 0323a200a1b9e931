// Which processor a thread runs on. Defined in CLinux.c: <sched.h> has it for GNU programs only.
#ifndef CLINUX_PROCESSOR_H
#define CLINUX_PROCESSOR_H

// The calling thread stays on one processor from now on, if it is one of those that it might use so far: else -1 and EINVAL.
int clinux_keep_to_processor(unsigned processor);

// The calling thread may use again what it might use before the first clinux_keep_to_processor.
int clinux_leave_processor(void);

// The processor that the calling thread runs on; -1 if that isn't known.
int clinux_processor(void);

#endif
