import SchemeProtocol

// What every server does in the same way, so that none has to do it by itself: the places of the parts, and requests copied and
// checked. The rest is the server's own.

extension ProtocolHeader {
    /// Where the rings begin, behind header and statistics.
    private static var ring: Int { ChannelLayout(.small).submissionRing }

    /// Functions of the C header.
    static var functionsInC: String {
        """
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
            l.submission_ring = \(ring);
            l.request_records = l.submission_ring + sb_page_up((uint64_t)g.record_count * 4);
            l.client_area = l.request_records + sb_page_up((uint64_t)g.record_count * SB_REQUEST_RECORD_BYTES);
            l.payload_area = l.client_area + g.client_area_bytes;
            l.request_memory_bytes = l.payload_area + g.payload_bytes;
            l.completion_ring = \(ring);
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

        """
    }

    /// Classes of the Python module.
    static var classesInPython: String {
        """

        def sb_page_up(count):
            return (count + SB_PAGE_BYTES - 1) // SB_PAGE_BYTES * SB_PAGE_BYTES


        class SBLayout:
            \"""Where the parts lie, in bytes from the start of the memory that they are in.

            From a geometry as it comes with the control message; ValueError if it is no possible one.
            \"""

            def __init__(self, geometry):
                records, payload, reply, client_area, events = _struct.unpack_from("<5I", geometry)
                for number, least in ((records, SB_MINIMUM_RECORD_COUNT), (events, 1)):
                    if number & (number - 1) or not least <= number <= SB_MAXIMUM_RECORD_COUNT:
                        raise ValueError("geometry")
                for area in (payload, reply, client_area):
                    if area > SB_MAXIMUM_AREA_BYTES or area % SB_PAGE_BYTES:
                        raise ValueError("geometry")
                self.record_count, self.payload_bytes, self.reply_bytes = records, payload, reply
                self.submission_ring = \(ring)
                self.request_records = self.submission_ring + sb_page_up(records * 4)
                self.client_area = self.request_records + sb_page_up(records * SB_REQUEST_RECORD_BYTES)
                self.payload_area = self.client_area + client_area
                self.request_memory_bytes = self.payload_area + payload
                self.completion_ring = \(ring)
                self.event_ring = self.completion_ring + sb_page_up(records * 4)
                self.reply_records = self.event_ring + sb_page_up(events * SB_EVENT_BYTES)
                self.reply_area = self.reply_records + sb_page_up(records * SB_REPLY_RECORD_BYTES)
                self.reply_memory_bytes = self.reply_area + reply


        class SBRequest:
            \"""The record of a tag that is below the number of records: a copy, that the client changes no more, and checked.

            `payload` and `room` are places in the request and the reply memory: only what lies at the first can still change. Without
            `is_sound` it makes no sense, and has no length, so that it can be answered by EINVAL.
            \"""

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

        """
    }
}
