// The wire protocol of Saltbridge's schemes, version 1.
// Made by `protocol-header` from the opcode table and the wire types: don't edit. What it all means stands in the
// documentation of SchemeProtocol.
#ifndef SALTBRIDGE_PROTOCOL_H
#define SALTBRIDGE_PROTOCOL_H

#include <stdint.h>

// What a request asks for (u16 at SB_REQUEST_OPCODE).
#define SB_OP_PING            1
#define SB_OP_CANCEL          2
#define SB_OP_COMMIT          3
#define SB_OP_HELLO           4
#define SB_OP_ADOPT_HANDLE    5
#define SB_OP_REPLAY_FINISHED 6
#define SB_OP_READ            16
#define SB_OP_WRITE           17
#define SB_OP_FSYNC           18
#define SB_OP_CLOSE           19
#define SB_OP_FLUSH           20
#define SB_OP_POLL            21
#define SB_OP_FCNTL           22
#define SB_OP_FSTAT           23
#define SB_OP_FSIZE           24
#define SB_OP_FTRUNCATE       25
#define SB_OP_FUTIMENS        26
#define SB_OP_FCHMOD          27
#define SB_OP_FCHOWN          28
#define SB_OP_GETDENTS        29
#define SB_OP_FPATH           30
#define SB_OP_FSTATVFS        31
#define SB_OP_FEVENT          32
#define SB_OP_DUP             33
#define SB_OP_MMAP            34
#define SB_OP_MUNMAP          35
#define SB_OP_SENDFD          36
#define SB_OP_CALL            38
#define SB_OP_IOCTL           39
#define SB_OP_FALLOCATE       40
#define SB_OP_LSEEK           41
#define SB_OP_COPY_FILE_RANGE 42
#define SB_OP_GETLK           43
#define SB_OP_SETLK           44
#define SB_OP_FLOCK           45
#define SB_OP_OPENAT          48
#define SB_OP_UNLINKAT        49
#define SB_OP_FRENAME         50
#define SB_OP_FLINK           51
#define SB_OP_LOOKUP          64
#define SB_OP_FORGET          65
#define SB_OP_GETATTR         66
#define SB_OP_SETATTR         67
#define SB_OP_READLINK        68
#define SB_OP_SYMLINK         69
#define SB_OP_MKNOD           70
#define SB_OP_MKDIR           71
#define SB_OP_UNLINK          72
#define SB_OP_RMDIR           73
#define SB_OP_RENAME          74
#define SB_OP_LINK            75
#define SB_OP_OPEN            76
#define SB_OP_CREATE          77
#define SB_OP_TMPFILE         78
#define SB_OP_OPENDIR         79
#define SB_OP_READDIR         80
#define SB_OP_RELEASEDIR      81
#define SB_OP_FSYNCDIR        82
#define SB_OP_STATFS          83
#define SB_OP_SETXATTR        84
#define SB_OP_GETXATTR        85
#define SB_OP_LISTXATTR       86
#define SB_OP_REMOVEXATTR     87
#define SB_OP_ACCESS          88
#define SB_OP_SYNCFS          89

// Limits and sizes.
#define SB_VERSION                       1
#define SB_PAGE_BYTES                    4096
#define SB_OPCODE_COUNT                  128
#define SB_MAXIMUM_TRANSFER_BYTES        1048576
#define SB_MAXIMUM_PAYLOAD_BYTES         1064960
#define SB_MAXIMUM_PATH_BYTES            4095
#define SB_MAXIMUM_NAME_BYTES            255
#define SB_MAXIMUM_ATTRIBUTE_VALUE_BYTES 65536
#define SB_MINIMUM_RECORD_COUNT          16
#define SB_MAXIMUM_RECORD_COUNT          65536
#define SB_MAXIMUM_AREA_BYTES            1073741824
#define SB_MAXIMUM_WORKERS               16
#define SB_REQUEST_RECORD_BYTES          512
#define SB_INLINE_PAYLOAD_OFFSET         256
#define SB_INLINE_PAYLOAD_BYTES          256
#define SB_REPLY_RECORD_BYTES            256
#define SB_INLINE_REPLY_OFFSET           64
#define SB_INLINE_REPLY_BYTES            192
#define SB_EVENT_BYTES                   32
#define SB_STATISTICS_BYTES              192

// Headers of the two memories.
#define SB_REQUEST_MAGIC      UINT64_C(0x7365757165724253)
#define SB_REPLY_MAGIC        UINT64_C(0x6d796c7065724253)
#define SB_HEADER_VERSION     8
#define SB_HEADER_GEOMETRY    16
#define SB_GEOMETRY_BYTES     32
#define SB_SUBMISSION_TAIL    128
#define SB_COMPLETION_HEAD    192
#define SB_EVENT_HEAD         196
#define SB_CLIENT_STATE       256
#define SB_EPOCH              320
#define SB_START_POSITION     324
#define SB_MEMORY_GENERATION  328
#define SB_COMPLETION_TAIL    128
#define SB_SUBMISSION_HEAD    192
#define SB_EVENT_TAIL         196
#define SB_SERVER_STATE       256
#define SB_HEARTBEAT          320
#define SB_COMMITTED_SEQUENCE 328
#define SB_APPLIED_SEQUENCE   336
#define SB_RECOVERED_SEQUENCE 344
#define SB_INCARNATION        352
#define SB_STATUS             356
#define SB_MARKS              1024
#define SB_MARK_BYTES         64
#define SB_STATE_AWAKE        0
#define SB_STATE_ON_FUTEX     1
#define SB_STATE_ON_EVENT     2
#define SB_STATUS_STARTING    1
#define SB_STATUS_SERVING     2
#define SB_STATUS_FINISHED    3

// The submission entry and the arguments behind it, from the start of a request record.
#define SB_REQUEST_OPCODE         0
#define SB_REQUEST_FLAGS          2
#define SB_REQUEST_GENERATION     4
#define SB_REQUEST_NODE           8
#define SB_REQUEST_HANDLE         16
#define SB_REQUEST_OFFSET         24
#define SB_REQUEST_LENGTH         32
#define SB_REQUEST_PAYLOAD_OFFSET 36
#define SB_REQUEST_PAYLOAD_LENGTH 40
#define SB_REQUEST_REPLY_OFFSET   44
#define SB_REQUEST_TIME           48
#define SB_REQUEST_UID            56
#define SB_REQUEST_GID            60
#define SB_REQUEST_PID            64
#define SB_REQUEST_CALL_FLAGS     68
#define SB_REQUEST_SEQUENCE       72
#define SB_REQUEST_WORDS          80
#define SB_REQUEST_COPIED_BYTES   128
#define SB_FLAG_INLINE_PAYLOAD    1
#define SB_FLAG_REPLAY            2
#define SB_FLAG_RESUBMITTED       4
#define SB_FLAG_KILL_PRIVILEGES   8
#define SB_FLAG_FROM_CACHE        32
#define SB_FLAG_AFTER_FLUSH       64
#define SB_FLAG_TELLS_DIRECTORY   128
#define SB_FLAG_SCATTERED         256

// The completion entry, from the start of a reply record.
#define SB_COMPLETION_TAG                0
#define SB_COMPLETION_GENERATION         4
#define SB_COMPLETION_RESULT             8
#define SB_COMPLETION_SEQUENCE           16
#define SB_COMPLETION_REPLY_LENGTH       24
#define SB_COMPLETION_FLAGS              28
#define SB_COMPLETION_VALUE0             32
#define SB_COMPLETION_VALUE1             40
#define SB_COMPLETION_NANOSECONDS        48
#define SB_COMPLETION_BYTES              64
#define SB_FLAG_INLINE_REPLY             1
#define SB_OPENED_DIRECT_IO              1
#define SB_OPENED_KEEP_CACHE             2
#define SB_OPENED_STREAM                 4
#define SB_OPENED_CACHE_DIRECTORY        8
#define SB_OPENED_PARALLEL_DIRECT_WRITES 16
#define SB_OPENED_NO_FLUSH               32
#define SB_OPENED_WRITES_AFTER_FLUSH     64
#define SB_OPENED_SCATTERS_WRITES        128

// An event.
#define SB_EVENT_KIND                 0
#define SB_EVENT_FLAGS                4
#define SB_EVENT_NODE                 8
#define SB_EVENT_HANDLE               16
#define SB_EVENT_VALUE                24
#define SB_EVENT_READY                1
#define SB_EVENT_INVALIDATE_DATA      2
#define SB_EVENT_INVALIDATE_DIRECTORY 3

// Attributes of a node.
#define SB_ATTRIBUTES_NODE        0
#define SB_ATTRIBUTES_GENERATION  8
#define SB_ATTRIBUTES_SIZE        16
#define SB_ATTRIBUTES_BLOCKS      24
#define SB_ATTRIBUTES_TIMES       32
#define SB_ATTRIBUTES_NANOSECONDS 64
#define SB_ATTRIBUTES_MODE        80
#define SB_ATTRIBUTES_LINKS       84
#define SB_ATTRIBUTES_UID         88
#define SB_ATTRIBUTES_GID         92
#define SB_ATTRIBUTES_DEVICE      96
#define SB_ATTRIBUTES_BLOCK_SIZE  100
#define SB_ATTRIBUTES_VALID       104
#define SB_ATTRIBUTES_NAME_VALID  108
#define SB_ATTRIBUTES_BYTES       112
#define SB_CHANGES_BYTES          64
#define SB_FIGURES_BYTES          72
#define SB_LOCK_BYTES             32

// An entry of a directory listing.
#define SB_ENTRY_NODE           0
#define SB_ENTRY_NEXT           8
#define SB_ENTRY_BYTES          16
#define SB_ENTRY_NAME_BYTES     20
#define SB_ENTRY_KIND           22
#define SB_ENTRY_FLAGS          23
#define SB_ENTRY_HEADER_BYTES   24
#define SB_ENTRY_HAS_ATTRIBUTES 1

// A control message.
#define SB_CONTROL_MAGIC               UINT32_C(0x6d634253)
#define SB_CONTROL_KIND                4
#define SB_CONTROL_VERSION             6
#define SB_CONTROL_ID                  8
#define SB_CONTROL_CHANNEL             12
#define SB_CONTROL_NUMBER              16
#define SB_CONTROL_FLAGS               24
#define SB_CONTROL_DESCRIPTOR_COUNT    28
#define SB_CONTROL_FIELD_COUNT         30
#define SB_CONTROL_GEOMETRY            32
#define SB_CONTROL_HAS_GEOMETRY        1
#define SB_CONTROL_HEADER_BYTES        64
#define SB_CONTROL_MAXIMUM_BYTES       8192
#define SB_CONTROL_MAXIMUM_DESCRIPTORS 16
#define SB_KIND_CONFIGURE              1
#define SB_KIND_STARTED                2
#define SB_KIND_FAILED                 3
#define SB_KIND_DONE                   4
#define SB_KIND_ATTACH                 5
#define SB_KIND_REPLACE_REQUEST_MEMORY 6
#define SB_KIND_DETACH                 7
#define SB_KIND_CONNECT                8
#define SB_KIND_SERVER_CHANGED         9
#define SB_KIND_FINISH                 10
#define SB_KIND_SET                    11
#define SB_KIND_GET                    12
#define SB_KIND_HOLD                   13
#define SB_KIND_LOG                    14
#define SB_KIND_RESUMED                64
#define SB_KIND_ADOPT                  65
#define SB_KIND_UNMOUNTED              66
#define SB_KIND_SUSPECT                67
#define SB_KIND_HELD                   15
#define SB_KIND_ACCEPT                 16
#define SB_KIND_DIAL                   17

// The geometry of a channel, as it comes with the control message; check it with sb_geometry_is_possible.
struct sb_geometry {
    uint32_t record_count, payload_bytes, reply_bytes, client_area_bytes, event_count;
};

static inline int sb_geometry_is_possible(struct sb_geometry g) {
#define SB_IS_POWER(n) ((n) != 0 && ((n) & ((n) - 1)) == 0)
#define SB_IS_AREA(n) ((n) <= SB_MAXIMUM_AREA_BYTES && (n) % SB_PAGE_BYTES == 0)
    return SB_IS_POWER(g.record_count) && g.record_count >= SB_MINIMUM_RECORD_COUNT &&
           g.record_count <= SB_MAXIMUM_RECORD_COUNT && SB_IS_POWER(g.event_count) &&
           g.event_count <= SB_MAXIMUM_RECORD_COUNT && SB_IS_AREA(g.payload_bytes) &&
           SB_IS_AREA(g.reply_bytes) && SB_IS_AREA(g.client_area_bytes);
#undef SB_IS_POWER
#undef SB_IS_AREA
}

// Where the parts lie, in bytes from the start of the memory that they are in.
struct sb_layout {
    uint64_t submission_ring, request_records, client_area, payload_area, request_memory_bytes;
    uint64_t completion_ring, event_ring, reply_records, reply_area, reply_memory_bytes;
};

static inline uint64_t sb_page_up(uint64_t bytes) {
    return (bytes + SB_PAGE_BYTES - 1) / SB_PAGE_BYTES * SB_PAGE_BYTES;
}

static inline struct sb_layout sb_layout_of(struct sb_geometry g) {
    struct sb_layout l;
    l.submission_ring = 28672;
    l.request_records = l.submission_ring + sb_page_up((uint64_t)g.record_count * 4);
    l.client_area = l.request_records + sb_page_up((uint64_t)g.record_count * SB_REQUEST_RECORD_BYTES);
    l.payload_area = l.client_area + g.client_area_bytes;
    l.request_memory_bytes = l.payload_area + g.payload_bytes;
    l.completion_ring = 28672;
    l.event_ring = l.completion_ring + sb_page_up((uint64_t)g.record_count * 4);
    l.reply_records = l.event_ring + sb_page_up((uint64_t)g.event_count * SB_EVENT_BYTES);
    l.reply_area = l.reply_records + sb_page_up((uint64_t)g.record_count * SB_REPLY_RECORD_BYTES);
    l.reply_memory_bytes = l.reply_area + g.reply_bytes;
    return l;
}

// A number of up to 8 bytes, in memory that nobody else writes meanwhile.
static inline uint64_t sb_get(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static inline void sb_put(uint8_t *at, uint64_t value, int bytes) {
    for (int i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> (8 * i));
}

static inline struct sb_geometry sb_geometry_at(const uint8_t *at) {
    struct sb_geometry g = {
        (uint32_t)sb_get(at, 4), (uint32_t)sb_get(at + 4, 4), (uint32_t)sb_get(at + 8, 4),
        (uint32_t)sb_get(at + 12, 4), (uint32_t)sb_get(at + 16, 4),
    };
    return g;
}

// A request: a copy, that the client changes no more. Only what lies at the payload can still change.
struct sb_request {
    uint16_t opcode, flags;
    uint32_t tag, generation, length, payload_bytes, room_bytes, uid, gid, pid, call_flags;
    uint64_t node, handle, offset, sequence, words[6];
    int64_t time;
    const uint8_t *payload;
    // Where the reply's bytes go.
    uint8_t *room;
};

// Copies the record of a tag that is below the number of records, and checks the copy: payload and room lie in the memories. 0 if
// it makes no sense; then it has no length, so that it can be answered by EINVAL.
static inline int sb_read_request(const uint8_t *request_memory, uint8_t *reply_memory, struct sb_geometry g,
                                  struct sb_layout l, uint32_t tag, struct sb_request *r) {
    const uint8_t *record = request_memory + l.request_records + (uint64_t)tag * SB_REQUEST_RECORD_BYTES;
    uint64_t words[SB_REQUEST_COPIED_BYTES / 8];
    for (int i = 0; i < SB_REQUEST_COPIED_BYTES / 8; i++)
        words[i] = __atomic_load_n((const uint64_t *)(const void *)(record + 8 * i), __ATOMIC_RELAXED);
    const uint8_t *copy = (const uint8_t *)words;
    struct sb_request found = {
        .opcode = (uint16_t)sb_get(copy + SB_REQUEST_OPCODE, 2),
        .flags = (uint16_t)sb_get(copy + SB_REQUEST_FLAGS, 2),
        .tag = tag,
        .generation = (uint32_t)sb_get(copy + SB_REQUEST_GENERATION, 4),
        .payload_bytes = (uint32_t)sb_get(copy + SB_REQUEST_PAYLOAD_LENGTH, 4),
        .uid = (uint32_t)sb_get(copy + SB_REQUEST_UID, 4),
        .gid = (uint32_t)sb_get(copy + SB_REQUEST_GID, 4),
        .pid = (uint32_t)sb_get(copy + SB_REQUEST_PID, 4),
        .call_flags = (uint32_t)sb_get(copy + SB_REQUEST_CALL_FLAGS, 4),
        .node = sb_get(copy + SB_REQUEST_NODE, 8),
        .handle = sb_get(copy + SB_REQUEST_HANDLE, 8),
        .offset = sb_get(copy + SB_REQUEST_OFFSET, 8),
        .sequence = sb_get(copy + SB_REQUEST_SEQUENCE, 8),
        .time = (int64_t)sb_get(copy + SB_REQUEST_TIME, 8),
    };
    for (int i = 0; i < 6; i++) found.words[i] = sb_get(copy + SB_REQUEST_WORDS + 8 * i, 8);
    *r = found;
    uint64_t length = sb_get(copy + SB_REQUEST_LENGTH, 4);
    uint64_t payload = sb_get(copy + SB_REQUEST_PAYLOAD_OFFSET, 4), reply = sb_get(copy + SB_REQUEST_REPLY_OFFSET, 4);
    if (r->flags & SB_FLAG_INLINE_PAYLOAD) {
        if (r->payload_bytes > SB_INLINE_PAYLOAD_BYTES) return 0;
        r->payload = record + SB_INLINE_PAYLOAD_OFFSET;
    } else {
        if (r->payload_bytes > SB_MAXIMUM_PAYLOAD_BYTES || payload + r->payload_bytes > g.payload_bytes) return 0;
        r->payload = request_memory + l.payload_area + payload;
    }
    if (length <= SB_INLINE_REPLY_BYTES) {
        r->room = reply_memory + l.reply_records + (uint64_t)tag * SB_REPLY_RECORD_BYTES + SB_INLINE_REPLY_OFFSET;
        r->room_bytes = SB_INLINE_REPLY_BYTES;
    } else {
        if (length > SB_MAXIMUM_PAYLOAD_BYTES || reply + length > g.reply_bytes) return 0;
        r->room = reply_memory + l.reply_area + reply;
        r->room_bytes = (uint32_t)length;
    }
    if (r->opcode == 0 || r->opcode >= SB_OPCODE_COUNT) return 0;
    r->length = (uint32_t)length;
    return 1;
}

#endif
