// The counter scheme in C, from the control socket upwards: nothing of Saltbridge is linked, only the generated header is used.
// What it serves stands in ../README.md, what is spoken in the documentation of SchemeProtocol.
//
//     cc -std=gnu11 -O2 -Wall -Werror -o scheme-ccounter counter.c -pthread
//
// Everything that lies in a request memory is the client's, who may write anything at any time: it is copied once, then checked,
// then used. One lock guards everything; nobody sleeps with it. A thread per channel takes requests; the main thread listens to the
// supervisor.
#define _GNU_SOURCE 1
#include "saltbridge_protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { ROOT = 1, COUNT = 2, TICKS = 3, TICK_BYTES = 16, CONTROL = 3, CHANNELS = 16 };
enum { PARK = 1 };

struct channel {
    int is_used, is_stopping, bell;
    uint32_t number, epoch, head, tail, rung;
    struct sb_geometry geometry;
    struct sb_layout layout;
    uint8_t *request, *reply;
    struct sb_request *parked;
    uint32_t parked_count;
    pthread_t thread;
};

// What outlives the process: the supervisor holds this memory. A change writes the slot that isn't current, then the
// index: it is made wholly or not at all, and a request that comes again although it was made is known by its number.
struct state {
    uint64_t index;
    struct {
        uint64_t channel, request, count;
    } slots[2];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct channel channels[CHANNELS];
static struct state *state;
static uint32_t incarnation;

static uint32_t load32(const void *at) { return __atomic_load_n((const uint32_t *)at, __ATOMIC_ACQUIRE); }
static void store32(void *at, uint32_t value) { __atomic_store_n((uint32_t *)at, value, __ATOMIC_RELEASE); }
static void store64(void *at, uint64_t value) { __atomic_store_n((uint64_t *)at, value, __ATOMIC_RELEASE); }

static void futex_wait(const void *word, uint32_t expected, long milliseconds) {
    struct timespec limit = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    syscall(SYS_futex, word, FUTEX_WAIT, expected, &limit, NULL, 0);
}

static void die(const char *why) {
    fprintf(stderr, "cannot go on: %s\n", why);
    exit(78);
}

static uint64_t count(void) { return state->slots[state->index & 1].count; }

// MARK: Answering

static void complete(struct channel *c, const struct sb_request *r, int64_t result, uint32_t reply_bytes, uint64_t value0) {
    uint8_t *entry = c->reply + c->layout.reply_records + (uint64_t)r->tag * SB_REPLY_RECORD_BYTES;
    memset(entry, 0, SB_COMPLETION_BYTES);
    sb_put(entry + SB_COMPLETION_TAG, r->tag, 4);
    sb_put(entry + SB_COMPLETION_GENERATION, r->generation, 4);
    sb_put(entry + SB_COMPLETION_RESULT, (uint64_t)result, 8);
    sb_put(entry + SB_COMPLETION_REPLY_LENGTH, reply_bytes, 4);
    sb_put(entry + SB_COMPLETION_FLAGS, r->length <= SB_INLINE_REPLY_BYTES ? SB_FLAG_INLINE_REPLY : 0, 4);
    sb_put(entry + SB_COMPLETION_VALUE0, value0, 8);
    store32(c->reply + c->layout.completion_ring + 4 * (c->tail & (c->geometry.record_count - 1)), r->tag);
    store32(c->reply + SB_COMPLETION_TAIL, ++c->tail);
    // The client is woken if it sleeps and wasn't woken from this sleep yet.
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    uint32_t sleep = load32(c->request + SB_CLIENT_STATE);
    if ((sleep & 3) == SB_STATE_AWAKE || sleep == c->rung) return;
    c->rung = sleep;
    uint64_t one = 1;
    if ((sleep & 3) == SB_STATE_ON_EVENT && c->bell >= 0) {
        if (write(c->bell, &one, sizeof one) < 0) return;
    } else {
        syscall(SYS_futex, c->reply + SB_COMPLETION_TAIL, FUTEX_WAKE, 1, NULL, NULL, 0);
    }
}

static uint32_t put_attributes(uint8_t *at, uint64_t node) {
    memset(at, 0, SB_ATTRIBUTES_BYTES);
    sb_put(at + SB_ATTRIBUTES_NODE, node, 8);
    sb_put(at + SB_ATTRIBUTES_MODE, node == ROOT ? 040555 : node == COUNT ? 0100644 : 0100444, 4);
    sb_put(at + SB_ATTRIBUTES_LINKS, node == ROOT ? 2 : 1, 4);
    sb_put(at + SB_ATTRIBUTES_BLOCK_SIZE, 4096, 4);
    return SB_ATTRIBUTES_BYTES;
}

// Reading at offset 16 * k of ticks waits until there were more than k ticks.
static int64_t read_ticks(struct sb_request *r) {
    uint64_t now = count(), first = r->offset / TICK_BYTES;
    uint32_t room = r->length < r->room_bytes ? r->length : r->room_bytes, done = 0;
    if (room == 0) return 0;
    if (first >= now) return r->call_flags & O_NONBLOCK ? -EAGAIN : PARK;
    for (uint64_t tick = first, skip = r->offset % TICK_BYTES; tick < now && done < room; tick++, skip = 0) {
        char text[TICK_BYTES + 1];
        snprintf(text, sizeof text, "%15llu\n", (unsigned long long)(tick + 1) % 1000000000000000ULL);
        uint32_t part = TICK_BYTES - skip < room - done ? (uint32_t)(TICK_BYTES - skip) : room - done;
        memcpy(r->room + done, text + skip, part);
        done += part;
    }
    return done;
}

static int64_t read_count(struct sb_request *r) {
    char text[24];
    uint32_t bytes = (uint32_t)snprintf(text, sizeof text, "%llu\n", (unsigned long long)count());
    uint32_t room = r->length < r->room_bytes ? r->length : r->room_bytes;
    if (r->offset >= bytes) return 0;
    bytes -= (uint32_t)r->offset;
    if (bytes > room) bytes = room;
    memcpy(r->room, text + r->offset, bytes);
    return bytes;
}

static void tick(struct channel *c, const struct sb_request *r) {
    uint64_t id = r->tag | (uint64_t)r->generation << 32, now = state->index & 1;
    // It was made before the process died, and not answered.
    if (r->flags & SB_FLAG_RESUBMITTED && state->slots[now].channel == c->number && state->slots[now].request == id) return;
    uint64_t next = now ^ 1;
    state->slots[next].channel = c->number;
    state->slots[next].request = id;
    state->slots[next].count = state->slots[now].count + 1;
    store64(&state->index, next);
}

static int64_t list(struct sb_request *r) {
    static const char *const names[] = {"count", "ticks"};
    uint32_t done = 0, extra = r->call_flags & 1 ? SB_ATTRIBUTES_BYTES : 0;
    uint32_t room = r->length < r->room_bytes ? r->length : r->room_bytes;
    for (uint64_t index = r->offset; index < 2; index++) {
        uint32_t bytes = (SB_ENTRY_HEADER_BYTES + extra + 5 + 7) / 8 * 8;
        if (bytes > room - done) break;
        uint8_t *at = r->room + done;
        memset(at, 0, bytes);
        sb_put(at + SB_ENTRY_NODE, COUNT + index, 8);
        sb_put(at + SB_ENTRY_NEXT, index + 1, 8);
        sb_put(at + SB_ENTRY_BYTES, bytes, 4);
        sb_put(at + SB_ENTRY_NAME_BYTES, 5, 2);
        sb_put(at + SB_ENTRY_KIND, 0100000 >> 12, 1);
        sb_put(at + SB_ENTRY_FLAGS, extra ? SB_ENTRY_HAS_ATTRIBUTES : 0, 1);
        if (extra) put_attributes(at + SB_ENTRY_HEADER_BYTES, COUNT + index);
        memcpy(at + SB_ENTRY_HEADER_BYTES + extra, names[index], 5);
        done += bytes;
    }
    return done;
}

static int64_t look_up(struct sb_request *r) {
    char name[SB_MAXIMUM_NAME_BYTES];
    if (r->node != ROOT) return -ENOTDIR;
    if (r->payload_bytes > sizeof name) return -ENAMETOOLONG;
    memcpy(name, r->payload, r->payload_bytes);
    if (r->payload_bytes == 5 && memcmp(name, "count", 5) == 0) return put_attributes(r->room, COUNT);
    if (r->payload_bytes == 5 && memcmp(name, "ticks", 5) == 0) return put_attributes(r->room, TICKS);
    return -ENOENT;
}

static void serve(struct channel *c, struct sb_request *r);

// Tries everything again that waits for the next tick.
static void wake_all(void) {
    for (int i = 0; i < CHANNELS; i++) {
        struct channel *c = &channels[i];
        uint32_t waiting = c->is_used ? c->parked_count : 0;
        c->parked_count = 0;
        for (uint32_t k = 0; k < waiting; k++) {
            struct sb_request r = c->parked[k];
            serve(c, &r);
        }
    }
}

static void cancel(struct channel *c, const struct sb_request *r) {
    for (uint32_t k = 0; k < c->parked_count; k++) {
        if (c->parked[k].tag != r->words[0] || c->parked[k].generation != r->words[1]) continue;
        struct sb_request target = c->parked[k];
        c->parked[k] = c->parked[--c->parked_count];
        complete(c, &target, -EINTR, 0, 0);
        complete(c, r, 1, 0, 0);
        return;
    }
    complete(c, r, 0, 0, 0);
}

static void serve(struct channel *c, struct sb_request *r) {
    int64_t result = 0;
    uint32_t bytes = 0;
    uint64_t value0 = 0;
    int is_node = r->node >= ROOT && r->node <= TICKS;
    switch (r->opcode) {
    case SB_OP_PING: case SB_OP_COMMIT: case SB_OP_REPLAY_FINISHED: case SB_OP_FORGET: case SB_OP_FLUSH:
    case SB_OP_CLOSE: case SB_OP_RELEASEDIR: case SB_OP_FSYNC: case SB_OP_FSYNCDIR: case SB_OP_SYNCFS:
        break;
    case SB_OP_CANCEL:
        cancel(c, r);
        return;
    case SB_OP_HELLO:
        result = ROOT;
        break;
    case SB_OP_ADOPT_HANDLE: case SB_OP_OPEN: case SB_OP_OPENDIR:
        result = is_node ? 0 : -ESTALE;
        value0 = r->node == ROOT ? 0 : SB_OPENED_DIRECT_IO;
        break;
    case SB_OP_LOOKUP:
        result = look_up(r);
        if (result > 0) { bytes = (uint32_t)result; result = 0; }
        break;
    case SB_OP_GETATTR: case SB_OP_SETATTR:
        // Opening with O_TRUNC is no error; other changes change nothing.
        if (is_node) bytes = put_attributes(r->room, r->node); else result = -ESTALE;
        break;
    case SB_OP_READDIR:
        result = r->node == ROOT ? list(r) : -ENOTDIR;
        if (result > 0) bytes = (uint32_t)result;
        break;
    case SB_OP_READ:
        result = r->node == COUNT ? read_count(r) : r->node == TICKS ? read_ticks(r) : -EISDIR;
        if (r->node == TICKS && result == PARK && c->parked_count < c->geometry.record_count) {
            c->parked[c->parked_count++] = *r;
            return;
        }
        if (result > 0) bytes = (uint32_t)result;
        break;
    case SB_OP_WRITE:
        if (r->node != COUNT) { result = -EBADF; break; }
        tick(c, r);
        result = r->payload_bytes;
        complete(c, r, result, 0, 0);
        wake_all();
        return;
    case SB_OP_STATFS:
        memset(r->room, 0, SB_FIGURES_BYTES);
        sb_put(r->room, 4096, 8);
        bytes = SB_FIGURES_BYTES;
        break;
    case SB_OP_POLL:
        result = r->call_flags & (POLLIN | POLLOUT);
        break;
    case SB_OP_GETXATTR: case SB_OP_LISTXATTR: case SB_OP_SETXATTR: case SB_OP_REMOVEXATTR:
        result = -EOPNOTSUPP;
        break;
    case SB_OP_CREATE: case SB_OP_MKDIR: case SB_OP_MKNOD: case SB_OP_SYMLINK: case SB_OP_LINK: case SB_OP_UNLINK:
    case SB_OP_RMDIR: case SB_OP_RENAME: case SB_OP_TMPFILE:
        result = -EPERM;
        break;
    default:
        result = -ENOSYS;
    }
    complete(c, r, result, bytes, value0);
}

// MARK: Taking requests

static void mark(struct channel *c, const struct sb_request *r) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    store64(c->reply + SB_MARKS, r->tag | (uint64_t)r->generation << 32);
    store64(c->reply + SB_MARKS + 16, (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec);
    store64(c->reply + SB_MARKS + 8, (uint64_t)r->opcode + 1);
}

// Takes one request and serves it; 0 if there is none.
static int step(struct channel *c) {
    uint32_t tail = load32(c->request + SB_SUBMISSION_TAIL);
    if (tail == c->head) return 0;
    if (tail - c->head > c->geometry.record_count) {
        // No position that an honest client can reach: nothing in between is believed.
        c->head = tail;
        store32(c->reply + SB_SUBMISSION_HEAD, tail);
        return 0;
    }
    uint32_t tag = load32(c->request + c->layout.submission_ring + 4 * (c->head & (c->geometry.record_count - 1)));
    c->head++;
    struct sb_request r;
    int is_tag = tag < c->geometry.record_count;
    int is_sound = is_tag && sb_read_request(c->request, c->reply, c->geometry, c->layout, tag, &r);
    // Before the head moves: a request that kills the server is either marked or still in the ring.
    if (is_sound) mark(c, &r);
    store32(c->reply + SB_SUBMISSION_HEAD, c->head);
    if (is_sound) {
        serve(c, &r);
    } else if (is_tag) {
        complete(c, &r, -EINVAL, 0, 0);
    }
    store64(c->reply + SB_MARKS + 8, 0);
    return 1;
}

static void *run(void *argument) {
    struct channel *c = argument;
    pthread_mutex_lock(&lock);
    // The client says when this incarnation may begin, and where.
    while (!c->is_stopping && (int32_t)(load32(c->request + SB_EPOCH) - c->epoch) < 0) {
        uint32_t now = load32(c->request + SB_EPOCH);
        pthread_mutex_unlock(&lock);
        futex_wait(c->request + SB_EPOCH, now, 50);
        pthread_mutex_lock(&lock);
    }
    c->head = load32(c->request + SB_START_POSITION);
    store32(c->reply + SB_SUBMISSION_HEAD, c->head);
    store64(c->reply + SB_RECOVERED_SEQUENCE, 0);
    store64(c->reply + SB_COMMITTED_SEQUENCE, 0);
    store64(c->reply + SB_APPLIED_SEQUENCE, 0);
    if (!c->is_stopping) store32(c->reply + SB_STATUS, SB_STATUS_SERVING);
    while (!c->is_stopping) {
        if (step(c)) continue;
        uint32_t sleep = (load32(c->reply + SB_SERVER_STATE) >> 2) + 1;
        store32(c->reply + SB_SERVER_STATE, sleep << 2 | SB_STATE_ON_FUTEX);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        uint32_t head = c->head;
        pthread_mutex_unlock(&lock);
        // With a limit: the memory may be replaced by a copy meanwhile, and the old word is woken no more.
        futex_wait(c->request + SB_SUBMISSION_TAIL, head, 50);
        pthread_mutex_lock(&lock);
        store32(c->reply + SB_SERVER_STATE, sleep << 2);
    }
    pthread_mutex_unlock(&lock);
    return NULL;
}

// MARK: The control socket

struct message {
    uint8_t bytes[SB_CONTROL_MAXIMUM_BYTES];
    size_t size;
    int descriptors[SB_CONTROL_MAXIMUM_DESCRIPTORS];
    int descriptor_count;
};

// 1: a message; 0: none now, or none that makes sense. Ends the process when the supervisor is gone.
static int receive(struct message *m) {
    struct iovec part = {m->bytes, sizeof m->bytes};
    char space[CMSG_SPACE(sizeof m->descriptors)];
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof space};
    // Nothing of the message before, which was handled.
    m->descriptor_count = 0;
    ssize_t size = recvmsg(CONTROL, &header, MSG_CMSG_CLOEXEC);
    if (size == 0 || (size < 0 && errno != EINTR && errno != EAGAIN)) exit(0);
    if (size < 0) return 0;
    m->size = (size_t)size;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c != NULL; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        m->descriptor_count = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(m->descriptors, CMSG_DATA(c), (size_t)m->descriptor_count * sizeof(int));
    }
    return m->size >= SB_CONTROL_HEADER_BYTES && sb_get(m->bytes, 4) == SB_CONTROL_MAGIC &&
           sb_get(m->bytes + SB_CONTROL_VERSION, 2) == SB_VERSION;
}

// The descriptor of that name, which is the caller's then; -1: there is none.
static int take_descriptor(struct message *m, const char *name) {
    size_t at = SB_CONTROL_HEADER_BYTES;
    for (int i = 0; i < (int)sb_get(m->bytes + SB_CONTROL_DESCRIPTOR_COUNT, 2) && i < m->descriptor_count; i++) {
        if (m->size - at < 2) return -1;
        size_t bytes = sb_get(m->bytes + at, 2);
        at += 2;
        if (m->size - at < bytes) return -1;
        if (bytes == strlen(name) && memcmp(m->bytes + at, name, bytes) == 0) {
            int found = m->descriptors[i];
            m->descriptors[i] = -1;
            return found;
        }
        at += bytes;
    }
    return -1;
}

static void send_message(uint16_t kind, uint32_t id, uint32_t channel, uint64_t number, const char *name, int descriptor) {
    uint8_t bytes[SB_CONTROL_HEADER_BYTES + 64] = {0};
    size_t size = SB_CONTROL_HEADER_BYTES;
    sb_put(bytes, SB_CONTROL_MAGIC, 4);
    sb_put(bytes + SB_CONTROL_KIND, kind, 2);
    sb_put(bytes + SB_CONTROL_VERSION, SB_VERSION, 2);
    sb_put(bytes + SB_CONTROL_ID, id, 4);
    sb_put(bytes + SB_CONTROL_CHANNEL, channel, 4);
    sb_put(bytes + SB_CONTROL_NUMBER, number, 8);
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } rights;
    memset(&rights, 0, sizeof rights);
    struct iovec part = {bytes, 0};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (descriptor >= 0) {
        sb_put(bytes + SB_CONTROL_DESCRIPTOR_COUNT, 1, 2);
        sb_put(bytes + size, strlen(name), 2);
        memcpy(bytes + size + 2, name, strlen(name));
        size += 2 + strlen(name);
        rights.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&rights.header), &descriptor, sizeof descriptor);
        header.msg_control = rights.space;
        header.msg_controllen = sizeof rights.space;
    }
    part.iov_len = size;
    if (sendmsg(CONTROL, &header, MSG_NOSIGNAL) < 0) exit(0);
}

// Whether it is a memory file of that size that nobody can shrink, or also write.
static int is_sealed(int descriptor, uint64_t size, int seals) {
    struct stat status;
    int found = fcntl(descriptor, F_GET_SEALS);
    return found >= 0 && (found & (seals | F_SEAL_SHRINK)) == (seals | F_SEAL_SHRINK) &&
           fstat(descriptor, &status) == 0 && (uint64_t)status.st_size == size;
}

// Whether a request memory says itself that it is one, of this version and geometry.
static int is_request_memory(const uint8_t *memory, struct sb_geometry geometry) {
    struct sb_geometry found = sb_geometry_at(memory + SB_HEADER_GEOMETRY);
    return sb_get(memory, 8) == SB_REQUEST_MAGIC && load32(memory + SB_HEADER_VERSION) == SB_VERSION &&
           memcmp(&found, &geometry, sizeof found) == 0;
}

static struct channel *find(uint32_t number) {
    for (int i = 0; i < CHANNELS; i++) if (channels[i].is_used && channels[i].number == number) return &channels[i];
    return NULL;
}

static void detach(struct channel *c) {
    pthread_mutex_lock(&lock);
    c->is_stopping = 1;
    pthread_mutex_unlock(&lock);
    pthread_join(c->thread, NULL);
    pthread_mutex_lock(&lock);
    c->is_used = 0;
    munmap(c->request, c->layout.request_memory_bytes);
    munmap(c->reply, c->layout.reply_memory_bytes);
    if (c->bell >= 0) close(c->bell);
    free(c->parked);
    pthread_mutex_unlock(&lock);
}

static int attach_memories(struct message *m, uint32_t number, uint32_t epoch, int request, int reply) {
    const uint8_t *g = m->bytes + SB_CONTROL_GEOMETRY;
    struct sb_geometry geometry = sb_geometry_at(g);
    struct channel *c = find(number);
    if (c != NULL) detach(c);
    for (int i = 0; c == NULL && i < CHANNELS; i++) if (!channels[i].is_used) c = &channels[i];
    if (c == NULL || request < 0 || reply < 0 || !(m->bytes[SB_CONTROL_FLAGS] & SB_CONTROL_HAS_GEOMETRY) ||
        !sb_geometry_is_possible(geometry))
        return EINVAL;
    struct sb_layout layout = sb_layout_of(geometry);
    if (!is_sealed(request, layout.request_memory_bytes, F_SEAL_FUTURE_WRITE) || !is_sealed(reply, layout.reply_memory_bytes, 0))
        return EINVAL;
    uint8_t *memory = mmap(NULL, layout.request_memory_bytes, PROT_READ, MAP_SHARED, request, 0);
    if (memory == MAP_FAILED) return ENOMEM;
    if (!is_request_memory(memory, geometry)) {
        munmap(memory, layout.request_memory_bytes);
        return EINVAL;
    }
    pthread_mutex_lock(&lock);
    memset(c, 0, sizeof *c);
    c->number = number;
    c->epoch = epoch;
    c->geometry = geometry;
    c->layout = layout;
    c->bell = take_descriptor(m, "client-bell");
    c->request = memory;
    c->reply = mmap(NULL, layout.reply_memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, reply, 0);
    c->parked = calloc(geometry.record_count, sizeof *c->parked);
    if (c->reply == MAP_FAILED || c->parked == NULL) die("no memory");
    c->tail = load32(c->reply + SB_COMPLETION_TAIL);
    store64(c->reply, SB_REPLY_MAGIC);
    store32(c->reply + SB_HEADER_VERSION, SB_VERSION);
    memcpy(c->reply + SB_HEADER_GEOMETRY, g, SB_GEOMETRY_BYTES);
    store32(c->reply + SB_SERVER_STATE, ((load32(c->reply + SB_SERVER_STATE) >> 2) + 1) << 2);
    for (int i = 0; i < SB_MAXIMUM_WORKERS; i++) store64(c->reply + SB_MARKS + i * SB_MARK_BYTES + 8, 0);
    store32(c->reply + SB_INCARNATION, incarnation);
    store32(c->reply + SB_STATUS, SB_STATUS_STARTING);
    c->is_used = 1;
    if (pthread_create(&c->thread, NULL, run, c) != 0) die("no thread");
    pthread_mutex_unlock(&lock);
    return 0;
}

static int attach(struct message *m, uint32_t number, uint32_t epoch) {
    int request = take_descriptor(m, "request"), reply = take_descriptor(m, "reply");
    int error = attach_memories(m, number, epoch, request, reply);
    // What is mapped needs no descriptor any more.
    if (request >= 0) close(request);
    if (reply >= 0) close(reply);
    return error;
}

// The client was replaced: its copy of the memory takes the place of the old one, at the same address.
static int replace(struct message *m, struct channel *c) {
    int request = take_descriptor(m, "request"), error = EINVAL;
    if (request < 0) return error;
    if (c != NULL && is_sealed(request, c->layout.request_memory_bytes, F_SEAL_FUTURE_WRITE)) {
        size_t bytes = c->layout.request_memory_bytes;
        uint8_t *memory = mmap(NULL, bytes, PROT_READ, MAP_SHARED, request, 0);
        if (memory == MAP_FAILED) {
            error = ENOMEM;
        } else if (!is_request_memory(memory, c->geometry)) {
            munmap(memory, bytes);
        } else {
            pthread_mutex_lock(&lock);
            if (mremap(memory, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, c->request) == MAP_FAILED) die("no memory");
            error = 0;
            pthread_mutex_unlock(&lock);
        }
    }
    close(request);
    return error;
}

static void handle(struct message *m) {
    uint16_t kind = (uint16_t)sb_get(m->bytes + SB_CONTROL_KIND, 2);
    uint32_t id = (uint32_t)sb_get(m->bytes + SB_CONTROL_ID, 4), number = (uint32_t)sb_get(m->bytes + SB_CONTROL_CHANNEL, 4);
    struct channel *c = find(number);
    int error = 0;
    switch (kind) {
    case SB_KIND_ATTACH: error = attach(m, number, (uint32_t)sb_get(m->bytes + SB_CONTROL_NUMBER, 8)); break;
    case SB_KIND_REPLACE_REQUEST_MEMORY: error = replace(m, c); break;
    case SB_KIND_DETACH: if (c != NULL) detach(c); break;
    case SB_KIND_GET: case SB_KIND_FINISH: case SB_KIND_SERVER_CHANGED: break;
    default: error = EINVAL;
    }
    if (id != 0) send_message(error ? SB_KIND_FAILED : SB_KIND_DONE, id, number, (uint64_t)error, NULL, -1);
    if (kind == SB_KIND_FINISH) exit(0);
}

static void begin(struct message *m) {
    if (!receive(m) || sb_get(m->bytes + SB_CONTROL_KIND, 2) != SB_KIND_CONFIGURE) die("no configuration came");
    incarnation = (uint32_t)sb_get(m->bytes + SB_CONTROL_NUMBER, 8);
    int memory = take_descriptor(m, "state");
    struct stat status;
    if (memory < 0) {
        memory = memfd_create("counter", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memory < 0 || ftruncate(memory, SB_PAGE_BYTES) != 0 || fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK) != 0)
            die("no memory");
        send_message(SB_KIND_HOLD, 0, 0, 0, "state", memory);
    }
    if (fstat(memory, &status) != 0 || status.st_size < SB_PAGE_BYTES) die("the state is too short");
    state = mmap(NULL, SB_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (state == MAP_FAILED) die("no memory");
    send_message(SB_KIND_STARTED, 0, 0, 0, NULL, -1);
}

int main(void) {
    static struct message message;
    if (getenv("SALTBRIDGE_CONTROL") == NULL) die("it is started by the supervisor");
    begin(&message);
    for (;;) {
        struct pollfd control = {CONTROL, POLLIN, 0};
        int ready = poll(&control, 1, 200);
        for (int i = 0; i < CHANNELS; i++) {
            if (!channels[i].is_used) continue;
            uint8_t *beat = channels[i].reply + SB_HEARTBEAT;
            store64(beat, __atomic_load_n((uint64_t *)(void *)beat, __ATOMIC_RELAXED) + 1);
        }
        if (ready <= 0) continue;
        if (receive(&message)) handle(&message);
        for (int i = 0; i < message.descriptor_count; i++) if (message.descriptors[i] >= 0) close(message.descriptors[i]);
    }
}
