# The wire protocol of Saltbridge's schemes, version 1.
# Made by `protocol-header --python` from the opcode table and the wire types: don't edit.

import struct as _struct

# What a request asks for (u16 at SB_REQUEST_OPCODE).
SB_OP_PING = 1
SB_OP_CANCEL = 2
SB_OP_COMMIT = 3
SB_OP_HELLO = 4
SB_OP_ADOPT_HANDLE = 5
SB_OP_REPLAY_FINISHED = 6
SB_OP_READ = 16
SB_OP_WRITE = 17
SB_OP_FSYNC = 18
SB_OP_CLOSE = 19
SB_OP_FLUSH = 20
SB_OP_POLL = 21
SB_OP_FCNTL = 22
SB_OP_FSTAT = 23
SB_OP_FSIZE = 24
SB_OP_FTRUNCATE = 25
SB_OP_FUTIMENS = 26
SB_OP_FCHMOD = 27
SB_OP_FCHOWN = 28
SB_OP_GETDENTS = 29
SB_OP_FPATH = 30
SB_OP_FSTATVFS = 31
SB_OP_FEVENT = 32
SB_OP_DUP = 33
SB_OP_MMAP = 34
SB_OP_MUNMAP = 35
SB_OP_SENDFD = 36
SB_OP_CALL = 38
SB_OP_IOCTL = 39
SB_OP_FALLOCATE = 40
SB_OP_LSEEK = 41
SB_OP_COPY_FILE_RANGE = 42
SB_OP_GETLK = 43
SB_OP_SETLK = 44
SB_OP_FLOCK = 45
SB_OP_OPENAT = 48
SB_OP_UNLINKAT = 49
SB_OP_FRENAME = 50
SB_OP_FLINK = 51
SB_OP_LOOKUP = 64
SB_OP_FORGET = 65
SB_OP_GETATTR = 66
SB_OP_SETATTR = 67
SB_OP_READLINK = 68
SB_OP_SYMLINK = 69
SB_OP_MKNOD = 70
SB_OP_MKDIR = 71
SB_OP_UNLINK = 72
SB_OP_RMDIR = 73
SB_OP_RENAME = 74
SB_OP_LINK = 75
SB_OP_OPEN = 76
SB_OP_CREATE = 77
SB_OP_TMPFILE = 78
SB_OP_OPENDIR = 79
SB_OP_READDIR = 80
SB_OP_RELEASEDIR = 81
SB_OP_FSYNCDIR = 82
SB_OP_STATFS = 83
SB_OP_SETXATTR = 84
SB_OP_GETXATTR = 85
SB_OP_LISTXATTR = 86
SB_OP_REMOVEXATTR = 87
SB_OP_ACCESS = 88
SB_OP_SYNCFS = 89

# Limits and sizes.
SB_VERSION = 1
SB_PAGE_BYTES = 4096
SB_OPCODE_COUNT = 128
SB_MAXIMUM_TRANSFER_BYTES = 1048576
SB_MAXIMUM_PAYLOAD_BYTES = 1064960
SB_MAXIMUM_PATH_BYTES = 4095
SB_MAXIMUM_NAME_BYTES = 255
SB_MAXIMUM_ATTRIBUTE_VALUE_BYTES = 65536
SB_MINIMUM_RECORD_COUNT = 16
SB_MAXIMUM_RECORD_COUNT = 65536
SB_MAXIMUM_AREA_BYTES = 1073741824
SB_MAXIMUM_WORKERS = 16
SB_REQUEST_RECORD_BYTES = 512
SB_INLINE_PAYLOAD_OFFSET = 256
SB_INLINE_PAYLOAD_BYTES = 256
SB_REPLY_RECORD_BYTES = 256
SB_INLINE_REPLY_OFFSET = 64
SB_INLINE_REPLY_BYTES = 192
SB_EVENT_BYTES = 32
SB_STATISTICS_BYTES = 192

# Headers of the two memories.
SB_REQUEST_MAGIC = 0x7365757165724253
SB_REPLY_MAGIC = 0x6d796c7065724253
SB_HEADER_VERSION = 8
SB_HEADER_GEOMETRY = 16
SB_GEOMETRY_BYTES = 32
SB_SUBMISSION_TAIL = 128
SB_COMPLETION_HEAD = 192
SB_EVENT_HEAD = 196
SB_CLIENT_STATE = 256
SB_EPOCH = 320
SB_START_POSITION = 324
SB_MEMORY_GENERATION = 328
SB_COMPLETION_TAIL = 128
SB_SUBMISSION_HEAD = 192
SB_EVENT_TAIL = 196
SB_SERVER_STATE = 256
SB_HEARTBEAT = 320
SB_COMMITTED_SEQUENCE = 328
SB_APPLIED_SEQUENCE = 336
SB_RECOVERED_SEQUENCE = 344
SB_INCARNATION = 352
SB_STATUS = 356
SB_MARKS = 1024
SB_MARK_BYTES = 64
SB_STATE_AWAKE = 0
SB_STATE_ON_FUTEX = 1
SB_STATE_ON_EVENT = 2
SB_STATUS_STARTING = 1
SB_STATUS_SERVING = 2
SB_STATUS_FINISHED = 3

# The submission entry and the arguments behind it, from the start of a request record.
SB_REQUEST_OPCODE = 0
SB_REQUEST_FLAGS = 2
SB_REQUEST_GENERATION = 4
SB_REQUEST_NODE = 8
SB_REQUEST_HANDLE = 16
SB_REQUEST_OFFSET = 24
SB_REQUEST_LENGTH = 32
SB_REQUEST_PAYLOAD_OFFSET = 36
SB_REQUEST_PAYLOAD_LENGTH = 40
SB_REQUEST_REPLY_OFFSET = 44
SB_REQUEST_TIME = 48
SB_REQUEST_UID = 56
SB_REQUEST_GID = 60
SB_REQUEST_PID = 64
SB_REQUEST_CALL_FLAGS = 68
SB_REQUEST_SEQUENCE = 72
SB_REQUEST_WORDS = 80
SB_REQUEST_COPIED_BYTES = 128
SB_FLAG_INLINE_PAYLOAD = 1
SB_FLAG_REPLAY = 2
SB_FLAG_RESUBMITTED = 4
SB_FLAG_KILL_PRIVILEGES = 8
SB_FLAG_FROM_CACHE = 32
SB_FLAG_AFTER_FLUSH = 64
SB_FLAG_TELLS_DIRECTORY = 128
SB_FLAG_SCATTERED = 256

# The completion entry, from the start of a reply record.
SB_COMPLETION_TAG = 0
SB_COMPLETION_GENERATION = 4
SB_COMPLETION_RESULT = 8
SB_COMPLETION_SEQUENCE = 16
SB_COMPLETION_REPLY_LENGTH = 24
SB_COMPLETION_FLAGS = 28
SB_COMPLETION_VALUE0 = 32
SB_COMPLETION_VALUE1 = 40
SB_COMPLETION_NANOSECONDS = 48
SB_COMPLETION_BYTES = 64
SB_FLAG_INLINE_REPLY = 1
SB_OPENED_DIRECT_IO = 1
SB_OPENED_KEEP_CACHE = 2
SB_OPENED_STREAM = 4
SB_OPENED_CACHE_DIRECTORY = 8
SB_OPENED_PARALLEL_DIRECT_WRITES = 16
SB_OPENED_NO_FLUSH = 32
SB_OPENED_WRITES_AFTER_FLUSH = 64
SB_OPENED_SCATTERS_WRITES = 128

# An event.
SB_EVENT_KIND = 0
SB_EVENT_FLAGS = 4
SB_EVENT_NODE = 8
SB_EVENT_HANDLE = 16
SB_EVENT_VALUE = 24
SB_EVENT_READY = 1
SB_EVENT_INVALIDATE_DATA = 2
SB_EVENT_INVALIDATE_DIRECTORY = 3

# Attributes of a node.
SB_ATTRIBUTES_NODE = 0
SB_ATTRIBUTES_GENERATION = 8
SB_ATTRIBUTES_SIZE = 16
SB_ATTRIBUTES_BLOCKS = 24
SB_ATTRIBUTES_TIMES = 32
SB_ATTRIBUTES_NANOSECONDS = 64
SB_ATTRIBUTES_MODE = 80
SB_ATTRIBUTES_LINKS = 84
SB_ATTRIBUTES_UID = 88
SB_ATTRIBUTES_GID = 92
SB_ATTRIBUTES_DEVICE = 96
SB_ATTRIBUTES_BLOCK_SIZE = 100
SB_ATTRIBUTES_VALID = 104
SB_ATTRIBUTES_NAME_VALID = 108
SB_ATTRIBUTES_BYTES = 112
SB_CHANGES_BYTES = 64
SB_FIGURES_BYTES = 72
SB_LOCK_BYTES = 32

# An entry of a directory listing.
SB_ENTRY_NODE = 0
SB_ENTRY_NEXT = 8
SB_ENTRY_BYTES = 16
SB_ENTRY_NAME_BYTES = 20
SB_ENTRY_KIND = 22
SB_ENTRY_FLAGS = 23
SB_ENTRY_HEADER_BYTES = 24
SB_ENTRY_HAS_ATTRIBUTES = 1

# A control message.
SB_CONTROL_MAGIC = 0x6d634253
SB_CONTROL_KIND = 4
SB_CONTROL_VERSION = 6
SB_CONTROL_ID = 8
SB_CONTROL_CHANNEL = 12
SB_CONTROL_NUMBER = 16
SB_CONTROL_FLAGS = 24
SB_CONTROL_DESCRIPTOR_COUNT = 28
SB_CONTROL_FIELD_COUNT = 30
SB_CONTROL_GEOMETRY = 32
SB_CONTROL_HAS_GEOMETRY = 1
SB_CONTROL_HEADER_BYTES = 64
SB_CONTROL_MAXIMUM_BYTES = 8192
SB_CONTROL_MAXIMUM_DESCRIPTORS = 16
SB_KIND_CONFIGURE = 1
SB_KIND_STARTED = 2
SB_KIND_FAILED = 3
SB_KIND_DONE = 4
SB_KIND_ATTACH = 5
SB_KIND_REPLACE_REQUEST_MEMORY = 6
SB_KIND_DETACH = 7
SB_KIND_CONNECT = 8
SB_KIND_SERVER_CHANGED = 9
SB_KIND_FINISH = 10
SB_KIND_SET = 11
SB_KIND_GET = 12
SB_KIND_HOLD = 13
SB_KIND_LOG = 14
SB_KIND_RESUMED = 64
SB_KIND_ADOPT = 65
SB_KIND_UNMOUNTED = 66
SB_KIND_SUSPECT = 67
SB_KIND_HELD = 15
SB_KIND_ACCEPT = 16
SB_KIND_DIAL = 17


def sb_page_up(count):
    return (count + SB_PAGE_BYTES - 1) // SB_PAGE_BYTES * SB_PAGE_BYTES


class SBLayout:
    """Where the parts lie, in bytes from the start of the memory that they are in.

    From a geometry as it comes with the control message; ValueError if it is no possible one.
    """

    def __init__(self, geometry):
        records, payload, reply, client_area, events = _struct.unpack_from("<5I", geometry)
        for number, least in ((records, SB_MINIMUM_RECORD_COUNT), (events, 1)):
            if number & (number - 1) or not least <= number <= SB_MAXIMUM_RECORD_COUNT:
                raise ValueError("geometry")
        for area in (payload, reply, client_area):
            if area > SB_MAXIMUM_AREA_BYTES or area % SB_PAGE_BYTES:
                raise ValueError("geometry")
        self.record_count, self.payload_bytes, self.reply_bytes = records, payload, reply
        self.submission_ring = 28672
        self.request_records = self.submission_ring + sb_page_up(records * 4)
        self.client_area = self.request_records + sb_page_up(records * SB_REQUEST_RECORD_BYTES)
        self.payload_area = self.client_area + client_area
        self.request_memory_bytes = self.payload_area + payload
        self.completion_ring = 28672
        self.event_ring = self.completion_ring + sb_page_up(records * 4)
        self.reply_records = self.event_ring + sb_page_up(events * SB_EVENT_BYTES)
        self.reply_area = self.reply_records + sb_page_up(records * SB_REPLY_RECORD_BYTES)
        self.reply_memory_bytes = self.reply_area + reply


class SBRequest:
    """The record of a tag that is below the number of records: a copy, that the client changes no more, and checked.

    `payload` and `room` are places in the request and the reply memory: only what lies at the first can still change. Without
    `is_sound` it makes no sense, and has no length, so that it can be answered by EINVAL.
    """

    def __init__(self, layout, request_memory, tag):
        base = layout.request_records + tag * SB_REQUEST_RECORD_BYTES
        copy = bytes(request_memory[base : base + SB_REQUEST_COPIED_BYTES])
        (self.opcode, self.flags, self.generation, self.node, self.handle, self.offset) = _struct.unpack_from("<HHIQQQ", copy)
        (length, payload, self.payload_bytes, reply, self.time, self.uid, self.gid) = _struct.unpack_from(
            "<IIIIqII", copy, SB_REQUEST_LENGTH
        )
        self.pid, self.call_flags, self.sequence, *self.words = _struct.unpack_from("<IIQ6Q", copy, SB_REQUEST_PID)
        self.tag = tag
        if self.flags & SB_FLAG_INLINE_PAYLOAD:
            self.payload, payload_limit = base + SB_INLINE_PAYLOAD_OFFSET, SB_INLINE_PAYLOAD_BYTES
        else:
            self.payload, payload_limit = layout.payload_area + payload, layout.payload_bytes - payload
        if length <= SB_INLINE_REPLY_BYTES:
            self.room = layout.reply_records + tag * SB_REPLY_RECORD_BYTES + SB_INLINE_REPLY_OFFSET
            self.room_bytes = room_limit = SB_INLINE_REPLY_BYTES
        else:
            self.room, self.room_bytes, room_limit = layout.reply_area + reply, length, layout.reply_bytes - reply
        self.is_sound = (
            0 < self.opcode < SB_OPCODE_COUNT
            and self.payload_bytes <= min(payload_limit, SB_MAXIMUM_PAYLOAD_BYTES)
            and self.room_bytes <= min(room_limit, SB_MAXIMUM_PAYLOAD_BYTES)
        )
        self.length = length if self.is_sound else 0
