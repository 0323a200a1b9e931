import Platform
import SystemPackage

// What of the viewers' connections outlives the process. Their sockets, and two pipes for each, are held by the supervisor.
//
//     +-------------------------------+ 0
//     | magic u64, last serial u64    |
//     +-------------------------------+ 4096
//     | 32 connections:               |
//     |   words                4 KiB  |
//     |   what came           64 KiB  |  the batch that is worked on
//     |   what goes            2 MiB  |  the output that counts
//     |   two states, 3 MiB each      |  count u32, bytes
//     +-------------------------------+
//
// The words:
//
//      0  serial u64 (0: free; written last)    8  for a browser u32    12  which state counts u32
//     16  batch u64: the last one that is whole    24  its bytes u32
//     32  bytes of a batch that is being read: batch u32 << 32 | count u32
//     40  how far the output was written into the pipe: output u32 << 32 | count u32
//     48  how far the pipe took it to the socket, likewise
//     56  how often this has been begun since something was finished u32
//
// A state names the last batch that was worked on and the output that it gave; both count with the word that makes the state count.
// A batch goes from the socket to a pipe, from there to the memory; an output from the memory to a pipe, from there to the socket.
// Nothing is put into a pipe before it is empty, so at every instant what was put in less what is in it still is what went through:
// the next incarnation finishes the very byte. See `ViewerLink`.

/// The viewers' memory.
final class ViewerMemory: Sendable {
    static let slotCount = 32
    static let batchBytes = 64 << 10
    static let outputBytes = 2 << 20
    private static let stateBytes = 3 << 20
    private static let wordBytes = 4096
    private static let slotBytes = wordBytes + batchBytes + outputBytes + 2 * stateBytes
    static let byteCount = 4096 + slotCount * slotBytes
    private static let magic: UInt64 = 0x3173_7265_7765_6976

    private let memory: SharedMapping

    init(_ memory: SharedMapping) {
        self.memory = memory
        if memory.load64(0) != Self.magic { memory.store64Releasing(0, Self.magic) }
    }

    private func base(_ slot: Int) -> Int { 4096 + slot * Self.slotBytes }
    private func batchStart(_ slot: Int) -> Int { base(slot) + Self.wordBytes }
    private func outputStart(_ slot: Int) -> Int { batchStart(slot) + Self.batchBytes }
    private func stateStart(_ slot: Int, _ which: UInt32) -> Int {
        outputStart(slot) + Self.outputBytes + Int(which & 1) * Self.stateBytes
    }

    /// A number never given before.
    func newSerial() -> UInt64 {
        let serial = memory.load64(8) &+ 1
        memory.store64Releasing(8, serial)
        return serial
    }

    // MARK: Connections

    func serial(_ slot: Int) -> UInt64 { memory.load64Acquiring(base(slot)) }
    func isWeb(_ slot: Int) -> Bool { memory.load32(base(slot) + 8) != 0 }
    var freeSlot: Int? { (0..<Self.slotCount).first { serial($0) == 0 } }

    /// Makes a connection at a free place, with its first state. False if that is too large.
    func begin(_ slot: Int, _ serial: UInt64, isWeb: Bool, _ state: ViewerState) -> Bool {
        for offset in stride(from: 0, to: 64, by: 8) { memory.store64(base(slot) + offset, 0) }
        memory.store32(base(slot) + 8, isWeb ? 1 : 0)
        guard commit(slot, state) else { return false }
        memory.store64Releasing(base(slot), serial)
        return true
    }

    /// Makes the place free and gives its memory back.
    func end(_ slot: Int) {
        memory.store64Releasing(base(slot), 0)
        memory.discard(base(slot), count: Self.slotBytes)
    }

    /// The state that counts; nil if it makes no sense.
    func state(_ slot: Int) -> ViewerState? {
        let start = stateStart(slot, memory.load32Acquiring(base(slot) + 12))
        let count = min(Int(memory.load32(start)), Self.stateBytes - 4)
        return ViewerState(decoding: memory.array(start + 4, count: count))
    }

    /// Makes a state count. False if it is too large: nothing is changed then.
    func commit(_ slot: Int, _ state: ViewerState) -> Bool {
        let bytes = state.encoded
        guard bytes.count <= Self.stateBytes - 4 else { return false }
        let which = memory.load32(base(slot) + 12) & 1 ^ 1
        let start = stateStart(slot, which)
        memory.store32(start, UInt32(bytes.count))
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: start + 4)
        memory.store32Releasing(base(slot) + 12, which)
        memory.store32(base(slot) + 56, 0)
        return true
    }

    /// Counts that something is begun which `commit` ends; returns how often it was before.
    func noteAttempt(_ slot: Int) -> UInt32 {
        let count = memory.load32(base(slot) + 56)
        memory.store32Releasing(base(slot) + 56, count &+ 1)
        return count
    }

    /// What was begun had nothing to change.
    func forgetAttempt(_ slot: Int) { memory.store32Releasing(base(slot) + 56, 0) }

    // MARK: What comes

    /// Whether a batch is wholly here.
    func hasBatch(_ slot: Int, _ batch: UInt64) -> Bool { memory.load64Acquiring(base(slot) + 16) == batch }

    /// The bytes of the batch that is here.
    func batch(_ slot: Int) -> [UInt8] {
        memory.array(batchStart(slot), count: min(Int(memory.load32(base(slot) + 24)), Self.batchBytes))
    }

    /// The bytes are all here.
    func setBatch(_ slot: Int, _ batch: UInt64, count: Int) {
        memory.store32(base(slot) + 24, UInt32(count))
        memory.store64Releasing(base(slot) + 16, batch)
    }

    /// How many bytes a batch has of which reading was begun; 0: it wasn't.
    func batchCount(_ slot: Int, _ batch: UInt64) -> Int { tagged(slot, 32, batch) }
    func setBatchCount(_ slot: Int, _ batch: UInt64, _ count: Int) { setTagged(slot, 32, batch, count) }

    /// Reads into a batch from a place on; returns how many bytes.
    func readBatch(_ slot: Int, from start: Int, count: Int, _ pipe: Int32) throws(Errno) -> Int {
        guard start >= 0, count >= 0, start + count <= Self.batchBytes else { throw .outOfRange }
        var bytes = memory.mutableBytes(batchStart(slot) + start, count: count, heldBy: self)
        return try SystemCall.read(pipe, into: &bytes)
    }

    // MARK: What goes

    /// Writes an output that doesn't count yet; the last one must be sent. False if it is too large.
    func setOutput(_ slot: Int, _ bytes: [UInt8]) -> Bool {
        guard bytes.count <= Self.outputBytes else { return false }
        let span = bytes.span
        memory.copyBytes(from: unsafe span.bytes, at: outputStart(slot))
        return true
    }

    /// Writes a part of the output into a pipe; returns how many bytes.
    func writeOutput(_ slot: Int, _ part: Range<Int>, _ pipe: Int32) throws(Errno) -> Int {
        guard part.lowerBound >= 0, part.upperBound <= Self.outputBytes else { throw .outOfRange }
        let bytes = memory.bytes(outputStart(slot) + part.lowerBound, count: part.count, heldBy: self)
        return try SystemCall.write(pipe, bytes)
    }

    /// How far an output was written into the pipe.
    func filled(_ slot: Int, _ output: UInt64) -> Int { tagged(slot, 40, output) }
    func setFilled(_ slot: Int, _ output: UInt64, _ count: Int) { setTagged(slot, 40, output, count) }

    /// How far it is with the socket.
    func sent(_ slot: Int, _ output: UInt64) -> Int { tagged(slot, 48, output) }
    func setSent(_ slot: Int, _ output: UInt64, _ count: Int) { setTagged(slot, 48, output, count) }

    /// A count that belongs to a number; 0 if it is another's.
    private func tagged(_ slot: Int, _ offset: Int, _ number: UInt64) -> Int {
        let word = memory.load64Acquiring(base(slot) + offset)
        return UInt32(truncatingIfNeeded: word >> 32) == UInt32(truncatingIfNeeded: number)
            ? Int(word & 0xffff_ffff) : 0
    }

    private func setTagged(_ slot: Int, _ offset: Int, _ number: UInt64, _ count: Int) {
        memory.store64Releasing(
            base(slot) + offset,
            UInt64(UInt32(truncatingIfNeeded: number)) << 32 | UInt64(UInt32(truncatingIfNeeded: count)))
    }
}

/// What a connection's state is at an instant between two steps.
struct ViewerState {
    /// The last batch that was worked on.
    var batch: UInt64 = 0
    /// The output that is being sent or was sent last, and its bytes.
    var output: UInt64 = 0
    var outputCount = 0
    var conversation: ViewerConversation

    init(_ conversation: ViewerConversation) { self.conversation = conversation }

    var encoded: [UInt8] {
        var writer = StateWriter()
        writer.put(batch)
        writer.put(output)
        writer.put(outputCount)
        conversation.encode(into: &writer)
        return writer.bytes
    }

    init?(decoding bytes: [UInt8]) {
        var reader = StateReader(bytes)
        batch = reader.uint64()
        output = reader.uint64()
        outputCount = reader.int()
        guard let conversation = ViewerConversation(decoding: &reader), reader.isWhole, outputCount >= 0,
            outputCount <= ViewerMemory.outputBytes
        else { return nil }
        self.conversation = conversation
    }
}
