// Starting a process in new namespaces. Between clone3 and execveat only raw system calls are made: neither Swift's nor
// the C library's state is usable in a copy of a process. Everything the child needs is prepared in the plan.
#ifndef CLINUX_SPAWN_H
#define CLINUX_SPAWN_H

#include <stddef.h>
#include <stdint.h>

// Where a start can fail; reported by the child with the errno.
enum clinux_spawn_step {
    CLINUX_STEP_CLONE = 1,
    CLINUX_STEP_HANDSHAKE,
    CLINUX_STEP_SESSION,
    CLINUX_STEP_SIGNALS,
    CLINUX_STEP_OPEN_TREE,
    CLINUX_STEP_PRIVATE_MOUNTS,
    CLINUX_STEP_MOUNT_ROOT,
    CLINUX_STEP_MAKE_DIRECTORY,
    CLINUX_STEP_BIND,
    CLINUX_STEP_MOUNT_ATTRIBUTES,
    CLINUX_STEP_PIVOT_ROOT,
    CLINUX_STEP_LEAVE_OLD_ROOT,
    CLINUX_STEP_GROUPS,
    CLINUX_STEP_GROUP_ID,
    CLINUX_STEP_USER_ID,
    CLINUX_STEP_DESCRIPTORS,
    CLINUX_STEP_LIMITS,
    CLINUX_STEP_BOUNDING_SET,
    CLINUX_STEP_SECURE_BITS,
    CLINUX_STEP_CAPABILITIES,
    CLINUX_STEP_NO_NEW_PRIVILEGES,
    CLINUX_STEP_LANDLOCK,
    CLINUX_STEP_DEATH_SIGNAL,
    CLINUX_STEP_SECCOMP,
    CLINUX_STEP_EXECUTE,
};

struct clinux_spawn_bind {
    const char *source;    // absolute path outside
    const char *target;    // relative path inside the new root
    int recursive;
};

struct clinux_spawn_limit {
    uint32_t resource;
    uint64_t soft, hard;
};

struct clinux_spawn_plan {
    uint64_t clone_flags;  // CLONE_NEW*
    int new_session;

    int new_root;              // an empty read-only tmpfs becomes the root
    const char *root_place;    // a directory to mount it on meanwhile
    const char *root_options;
    const char *const *directories;  // relative paths, parents first
    size_t directory_count;
    const struct clinux_spawn_bind *binds;
    size_t bind_count;

    int set_ids;
    int clear_groups;
    uint32_t uid, gid;

    const int *descriptors;    // the child's descriptor i is a copy of descriptors[i]
    size_t descriptor_count;
    int executable;            // executed with an empty path
    int status;                // child's end of the status socket: reads a byte "go", writes {step, errno}
    int status_peer;           // the other end, closed by the child

    const struct clinux_spawn_limit *limits;
    size_t limit_count;

    int drop_capabilities;
    int no_new_privileges;
    int landlock;              // descriptor of a ruleset, or -1
    int death_signal;          // sent when the parent dies, or 0
    const void *filter;        // struct sock_filter[filter_count], or NULL
    uint16_t filter_count;

    char *const *arguments;
    char *const *environment;
};

// Makes the child. Returns its pid and a pidfd, or -1 with errno.
int clinux_spawn(const struct clinux_spawn_plan *plan, int *pidfd);

#endif
