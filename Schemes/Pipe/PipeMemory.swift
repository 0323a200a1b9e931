import Platform
import SchemeKit

// What of the pipes outlives the process, and how a call is done exactly once although the process can die between any two
// stores.
//
//     +-----------------------------+ 0
//     | magic, version              |
//     |   64  counter u64           |  of the last call that was begun
//     | 1024  16 journals, 128 each |  one per channel: the last call that it applied
//     +-----------------------------+ 4096
//     | 256 pipes, 512 bytes each   |
//     +-----------------------------+ 4096 + 128 Ki
//     | 256 rings of 64 KiB         |
//     +-----------------------------+
//
// A call first writes what can't be seen yet (bytes behind the tail, the name of a free pipe), then its journal: the new
// values of the pipe's words, and its answer. The journal counts when its counter is written; then the words are changed. The
// next incarnation does what is left of each journal (newer than the pipe's own counter), and when a call comes again that a
// journal has answered, it gets that answer. Its reply's bytes are still where they were written: the record wasn't used since.

/// What a call changes of a pipe.
struct PipeWords: Equatable {
    enum Kind: UInt32 {
        case free = 0
        /// It can be found by its name.
        case named = 1
        /// It has handles alone: anonymous, or its name was removed.
        case nameless = 2
    }
    var kind: Kind
    var head: UInt64
    var tail: UInt64
    /// The call that has written a part of its bytes, and must write the rest before any other writes: 0 for none.
    var partialRequest: UInt64
    var partialChannel: UInt64
    var partialCount: UInt64

    /// No call has written a part of its bytes any more.
    mutating func endPartial() {
        partialRequest = 0
        partialChannel = 0
        partialCount = 0
    }
}

/// The pipes in the memory that outlives the process.
final class PipeMemory: Sendable {
    static let pipeCount = 256
    static let capacity = 65536
    private static let pipesOffset = 4096
    private static let pipeBytes = 512
    private static let ringsOffset = pipesOffset + pipeCount * pipeBytes
    static let byteCount = ringsOffset + pipeCount * capacity
    private static let magic: UInt64 = 0x3170_6970_6c61_7300
    private static let counterOffset = 64
    private static let journalsOffset = 1024
    private static let journalBytes = 128
    private static let journalCount = 16

    private let memory: SharedMapping

    init(_ memory: SharedMapping) {
        self.memory = memory
        if memory.load64(0) != Self.magic { memory.store64Releasing(0, Self.magic) }
        for journal in 0..<Self.journalCount { redo(journal) }
    }

    // MARK: Pipes

    private func base(_ pipe: Int) -> Int { Self.pipesOffset + pipe * Self.pipeBytes }

    func words(_ pipe: Int) -> PipeWords {
        let base = base(pipe)
        return PipeWords(
            kind: PipeWords.Kind(rawValue: memory.load32(base)) ?? .free, head: memory.load64(base + 8),
            tail: memory.load64(base + 16), partialRequest: memory.load64(base + 24),
            partialChannel: memory.load64(base + 32), partialCount: memory.load64(base + 40))
    }

    private func store(_ words: PipeWords, _ pipe: Int, counter: UInt64) {
        let base = base(pipe)
        memory.store64(base + 8, words.head)
        memory.store64(base + 16, words.tail)
        memory.store64(base + 24, words.partialRequest)
        memory.store64(base + 32, words.partialChannel)
        memory.store64(base + 40, words.partialCount)
        memory.store32Releasing(base, words.kind.rawValue)
        memory.store64Releasing(base + 48, counter)
    }

    /// How often the place has been used: part of the node's number.
    func generation(_ pipe: Int) -> UInt64 { memory.load64(base(pipe) + 56) }

    /// Describes a pipe at a free place; it isn't one before `apply`.
    func prepare(_ pipe: Int, name: [UInt8], mode: UInt32, uid: UInt32, gid: UInt32, time: WireTime) {
        let base = base(pipe)
        memory.store64(base + 56, generation(pipe) &+ 1)
        setAttributes(pipe, mode: mode, uid: uid, gid: gid)
        setTime(pipe, time)
        memory.store32(base + 4, UInt32(name.count))
        let span = name.span
        memory.copyBytes(from: unsafe span.bytes, at: base + 256)
    }

    func name(_ pipe: Int) -> [UInt8] {
        let base = base(pipe)
        let count = min(Int(memory.load32(base + 4)), 255)
        let bytes = memory.bytes(base + 256, count: count, heldBy: self)
        return (0..<count).map { unsafe bytes.unsafeLoad(fromByteOffset: $0, as: UInt8.self) }
    }

    func setAttributes(_ pipe: Int, mode: UInt32, uid: UInt32, gid: UInt32) {
        let base = base(pipe)
        memory.store32(base + 64, mode)
        memory.store32(base + 68, uid)
        memory.store32(base + 72, gid)
    }

    func setTime(_ pipe: Int, _ time: WireTime) {
        memory.store64(base(pipe) + 80, UInt64(bitPattern: time.seconds))
        memory.store32(base(pipe) + 88, time.nanoseconds)
    }

    func attributes(_ pipe: Int) -> (mode: UInt32, uid: UInt32, gid: UInt32, time: WireTime) {
        let base = base(pipe)
        return (
            memory.load32(base + 64), memory.load32(base + 68), memory.load32(base + 72),
            WireTime(seconds: Int64(bitPattern: memory.load64(base + 80)), nanoseconds: memory.load32(base + 88))
        )
    }

    // MARK: Bytes

    /// Writes bytes behind the tail, where nobody sees them yet. They must fit.
    func put(_ pipe: Int, at tail: UInt64, _ bytes: RawSpan) {
        let ring = Self.ringsOffset + pipe * Self.capacity
        let place = Int(tail % UInt64(Self.capacity))
        let first = min(bytes.byteCount, Self.capacity - place)
        memory.copyBytes(from: bytes.extracting(first: first), at: ring + place)
        memory.copyBytes(from: bytes.extracting(droppingFirst: first), at: ring)
    }

    /// Copies bytes from the head on; there must be as many.
    func get(_ pipe: Int, at head: UInt64, count: Int, into buffer: inout MutableRawSpan) {
        let ring = Self.ringsOffset + pipe * Self.capacity
        let place = Int(head % UInt64(Self.capacity))
        let first = min(count, Self.capacity - place)
        buffer.copyBytes(from: memory.bytes(ring + place, count: first, heldBy: self))
        buffer.copyBytes(from: memory.bytes(ring, count: count - first, heldBy: self), at: first)
    }

    // MARK: Journal

    /// Where the journal of a channel lies; the last one is for what the scheme does of its own accord (channel 0).
    private func journal(_ channel: UInt32) -> Int {
        let index = channel == 0 ? Self.journalCount - 1 : Int(channel % UInt32(Self.journalCount - 1))
        return Self.journalsOffset + index * Self.journalBytes
    }

    /// Changes a pipe's words as the effect of a call.
    ///
    /// - Parameter result: the call's answer; nil if it isn't done with this.
    func apply(_ words: PipeWords, _ pipe: Int, _ context: CallContext, result: Int64?) {
        let counter = memory.load64(Self.counterOffset) &+ 1
        memory.store64(Self.counterOffset, counter)
        let base = journal(context.channel)
        memory.store64Releasing(base, 0)
        SharedMapping.fence()
        memory.store64(base + 8, context.requestID)
        memory.store64(base + 16, UInt64(context.channel))
        memory.store64(base + 24, UInt64(pipe))
        memory.store64(base + 32, UInt64(words.kind.rawValue))
        memory.store64(base + 40, words.head)
        memory.store64(base + 48, words.tail)
        memory.store64(base + 56, words.partialRequest)
        memory.store64(base + 64, words.partialChannel)
        memory.store64(base + 72, words.partialCount)
        memory.store64(base + 80, UInt64(bitPattern: result ?? 0))
        memory.store64(base + 88, result == nil ? 0 : 1)
        memory.store64Releasing(base, counter)
        store(words, pipe, counter: counter)
    }

    private func redo(_ journal: Int) {
        let base = Self.journalsOffset + journal * Self.journalBytes
        let counter = memory.load64Acquiring(base)
        guard counter != 0 else { return }
        let pipe = Int(truncatingIfNeeded: memory.load64(base + 24))
        guard (0..<Self.pipeCount).contains(pipe), counter > memory.load64(self.base(pipe) + 48) else { return }
        let words = PipeWords(
            kind: PipeWords.Kind(rawValue: UInt32(truncatingIfNeeded: memory.load64(base + 32))) ?? .free,
            head: memory.load64(base + 40), tail: memory.load64(base + 48), partialRequest: memory.load64(base + 56),
            partialChannel: memory.load64(base + 64), partialCount: memory.load64(base + 72))
        store(words, pipe, counter: counter)
    }

    /// The answer of a call that comes again, if the last incarnation had applied it.
    func answer(_ context: CallContext) -> Int64? {
        guard context.isResubmitted else { return nil }
        let base = journal(context.channel)
        guard memory.load64Acquiring(base) != 0, memory.load64(base + 8) == context.requestID,
            memory.load64(base + 16) == UInt64(context.channel), memory.load64(base + 88) == 1
        else { return nil }
        return Int64(bitPattern: memory.load64(base + 80))
    }
}
