import Platform
import SchemeProtocol
import SystemPackage

// The memory of a trace, made and held by the supervisor, written by the router, read by whoever traces:
//
//       0  magic u64
//      64  traced until, monotonic nanoseconds u64: 0 if nobody traces
//     128  position u64: events so far, counts up without end
//     256  places of 256 bytes (TraceEvent); the first word of each is its stamp: position + 1 of the event in it,
//          0 while one is being written
//
// Who traces says so again and again for a short time to come; a tracer that is killed leaves nothing switched on. Nobody waits for
// a reader: one that is too slow loses events, and knows how many. A writer that dies in the middle leaves a place that is passed over.

/// The ring that completed requests are put into while somebody traces.
public final class TraceRing: Sendable {
    private enum Place {
        static let until = 64
        static let position = 128
        static let events = 256
    }

    private static let magic: UInt64 = 0x6563_6172_7442_5342
    /// A power of two.
    private static let eventCount = 16_384
    /// Bytes of the memory. Pages that were never written take none.
    public static let byteCount = Place.events + eventCount * TraceEvent.byteCount
    /// For how long one announcement of a tracer counts, in nanoseconds.
    public static let attachedNanoseconds: UInt64 = 2_000_000_000

    private let memory: SharedMapping

    /// New memory.
    public static func create() throws(ChannelError) -> SharedDescriptor {
        let descriptor = try system("memfd_create") { () throws(Errno) in
            SharedDescriptor(try SharedMemory.create(name: "saltbridge-trace", byteCount: byteCount))
        }
        let memory = try system("mmap") { () throws(Errno) in
            try SharedMapping(descriptor.rawValue, byteCount: byteCount, writable: true)
        }
        memory.store64(0, magic)
        return descriptor
    }

    /// The ring in memory of another process.
    public init(_ descriptor: SharedDescriptor) throws(ChannelError) {
        let byteCount = Self.byteCount
        memory = try system("trace memory") { () throws(Errno) in
            try SharedMemory.verify(descriptor.rawValue, byteCount: byteCount)
            return try SharedMapping(descriptor.rawValue, byteCount: byteCount, writable: true)
        }
        guard memory.load64(0) == Self.magic else { throw .memory("wrong magic") }
    }

    // MARK: Writing

    /// Whether somebody traces. One load, if nobody does.
    public var isActive: Bool {
        let until = memory.load64(Place.until)
        return until != 0 && Clock.monotonicNanoseconds() < until
    }

    /// Adds an event; its own `text` doesn't count.
    func append(_ event: TraceEvent, text: RawSpan) {
        let position = memory.fetchAdd64(Place.position, 1)
        let base = Self.base(position)
        memory.store64(base, 0)
        SharedMapping.fence()
        memory.store64(base + 8, event.submittedAt)
        memory.store64(base + 16, event.nanoseconds)
        memory.store64(base + 24, event.serverNanoseconds)
        memory.store64(base + 32, event.node)
        memory.store64(base + 40, event.handle)
        memory.store64(base + 48, event.offset)
        memory.store64(base + 56, event.length)
        memory.store64(base + 64, UInt64(bitPattern: event.result))
        memory.store64(base + 72, event.found)
        memory.store32(base + 80, UInt32(event.opcode) | UInt32(event.flags.rawValue) << 16)
        memory.store32(base + 84, event.channel)
        memory.store32(base + 88, event.uid)
        memory.store32(base + 92, event.pid)
        memory.store32(base + 96, event.nameByteCount)
        let text = text.extracting(first: min(text.byteCount, TraceEvent.textLimit))
        memory.store32(base + 100, UInt32(text.byteCount))
        memory.copyBytes(from: text, at: base + 104)
        memory.store64Releasing(base, position &+ 1)
    }

    private static func base(_ position: UInt64) -> Int {
        Place.events + Int(position & UInt64(eventCount - 1)) * TraceEvent.byteCount
    }

    // MARK: Reading

    /// Announces a tracer; to be called again before `attachedNanoseconds` have passed.
    public func attach() {
        memory.store64(Place.until, Clock.monotonicNanoseconds() &+ Self.attachedNanoseconds)
    }

    /// Where the next event will be.
    public var position: UInt64 { memory.load64(Place.position) }

    /// What a reader finds at its position.
    public enum Found: Sendable {
        /// An event; the reader goes on behind it.
        case event(TraceEvent)
        /// So many events were overwritten, or never finished; the reader goes on behind them.
        case lost(UInt64)
        /// Nothing yet.
        case nothing
        /// An event that is being written, perhaps by a process that is dead.
        case unfinished
    }

    /// Looks at a position and moves it on.
    ///
    /// - Parameter skipsUnfinished: an event that isn't finished is given up.
    public func next(_ position: inout UInt64, skipsUnfinished: Bool = false) -> Found {
        let end = memory.load64(Place.position)
        let ahead = end &- position
        if ahead == 0 { return .nothing }
        if ahead > UInt64(Self.eventCount) {
            let lost = ahead - UInt64(Self.eventCount)
            position = end &- UInt64(Self.eventCount)
            return .lost(lost)
        }
        let base = Self.base(position)
        let stamp = memory.load64Acquiring(base)
        guard stamp == position &+ 1 else {
            // A later one has taken its place, or it isn't there yet.
            if stamp != 0 && stamp > position &+ 1 || skipsUnfinished {
                position &+= 1
                return .lost(1)
            }
            return .unfinished
        }
        let words = CopiedWords<32>(memory, base)
        let event = TraceEvent(decoding: words.bytes)
        SharedMapping.fence()
        position &+= 1
        guard let event, memory.load64(base) == stamp else { return .lost(1) }
        return .event(event)
    }
}
