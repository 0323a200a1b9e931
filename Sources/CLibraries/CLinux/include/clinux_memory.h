// Shared memory and futexes: system calls without a wrapper in the C library, and macros that the importer drops.
#ifndef CLINUX_MEMORY_H
#define CLINUX_MEMORY_H

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/memfd.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_GET_SEALS 1034
#define F_SEAL_SEAL 0x0001
#define F_SEAL_SHRINK 0x0002
#define F_SEAL_GROW 0x0004
#define F_SEAL_WRITE 0x0008
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

// Values that are macros over macros, which the importer doesn't take.
static const int clinux_seal_seal = F_SEAL_SEAL;
static const int clinux_seal_shrink = F_SEAL_SHRINK;
static const int clinux_seal_grow = F_SEAL_GROW;
static const int clinux_seal_write = F_SEAL_WRITE;
static const int clinux_seal_future_write = F_SEAL_FUTURE_WRITE;

// A memory file that can be sealed and never executed. Kernels before 6.3 don't know MFD_NOEXEC_SEAL.
static inline int clinux_memfd_create(const char *name) {
    int descriptor = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (descriptor == -1 && errno == EINVAL) {
        descriptor = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    }
    return descriptor;
}

static inline int clinux_add_seals(int descriptor, int seals) { return fcntl(descriptor, F_ADD_SEALS, seals); }
static inline int clinux_get_seals(int descriptor) { return fcntl(descriptor, F_GET_SEALS); }

// MAP_FAILED is a cast that the importer drops: NULL stands for it.
static inline void *clinux_map_shared(void *address, size_t length, int writable, int descriptor) {
    int flags = MAP_SHARED | (address ? MAP_FIXED : 0);
    void *mapped = mmap(address, length, PROT_READ | (writable ? PROT_WRITE : 0), flags, descriptor, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

// Waits while *word is `expected`. The word is shared between processes. nanoseconds < 0: without limit.
static inline int clinux_futex_wait(const void *word, uint32_t expected, int64_t nanoseconds) {
    struct timespec limit = {.tv_sec = nanoseconds / 1000000000, .tv_nsec = nanoseconds % 1000000000};
    return (int)syscall(SYS_futex, word, FUTEX_WAIT, expected, nanoseconds < 0 ? NULL : &limit, NULL, 0);
}

static inline int clinux_futex_wake(const void *word, int count) {
    return (int)syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

// A hint to the processor that this is a waiting loop.
static inline void clinux_pause(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
