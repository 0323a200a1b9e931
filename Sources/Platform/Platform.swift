/// Descriptors, system calls, threads, locks, shared memory and clocks: the one place that talks to the kernel.
