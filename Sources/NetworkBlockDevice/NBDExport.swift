import BlockDevice
import Platform

/// What a server says of an export when a connection begins.
public struct NBDExport: Sendable, Equatable {
    /// What the server can do.
    public struct Abilities: OptionSet, Sendable, Equatable {
        /// One bit for each.
        public let rawValue: UInt64
        /// From bits.
        public init(rawValue: UInt64) { self.rawValue = rawValue }
        /// Nothing may be written.
        public static let readOnly = Abilities(rawValue: 1 << 0)
        /// Making durable what was written before.
        public static let flush = Abilities(rawValue: 1 << 1)
        /// Making a single write durable.
        public static let fua = Abilities(rawValue: 1 << 2)
        /// Giving up the contents of a range.
        public static let trim = Abilities(rawValue: 1 << 3)
        /// Writing zeros without sending them.
        public static let zero = Abilities(rawValue: 1 << 4)
        /// Several connections see the same, and a flush on one covers what was written on all.
        public static let multipleConnections = Abilities(rawValue: 1 << 5)
    }

    /// The size in bytes, without a rest that is smaller than a block.
    public var byteCount: UInt64
    /// What the server can do.
    public var abilities: Abilities
    /// Every access begins and ends at a multiple of this.
    public var minimumBlock: UInt64
    /// The longest read or write.
    public var maximumBlock: UInt64

    /// What clients may assume if the server doesn't say: 32 MiB.
    static let usualMaximum: UInt64 = 32 << 20

    /// From what the server says; 0 where it doesn't.
    init(byteCount: UInt64, abilities: Abilities, minimum: UInt64, maximum: UInt64) throws(BlockDeviceError) {
        let block = max(1, minimum)
        guard block & (block - 1) == 0, block <= 1 << 16 else {
            throw .unusable("the server wants blocks of \(minimum) bytes")
        }
        let largest = maximum == 0 ? Self.usualMaximum : min(maximum, Self.usualMaximum)
        guard largest >= block else { throw .unusable("the server takes at most \(maximum) bytes at once") }
        guard byteCount <= UInt64(Int64.max) else {
            throw .unusable("the server says that its disk has \(byteCount) bytes")
        }
        self.byteCount = byteCount & ~(block - 1)
        self.abilities = abilities
        minimumBlock = block
        maximumBlock = largest & ~(block - 1)
    }

    /// What a server that came back is to who opened the disk as `opened`, and makes requests that keep to the blocks of that: the
    /// same sizes, and what this server can do. Throws what differs if it doesn't take such requests, or has another disk.
    func standingIn(for opened: NBDExport, isWritten: Bool) throws(BlockDeviceError) -> NBDExport {
        let block = opened.minimumBlock
        var differences: [String] = []
        // The rest that is smaller than a block is nobody's.
        let common = max(block, minimumBlock) - 1
        let isOther = byteCount & ~common != opened.byteCount & ~common
        if isOther { differences.append("of \(byteCount) bytes, not \(opened.byteCount)") }
        if minimumBlock > block { differences.append("in blocks of \(minimumBlock) bytes, not \(block)") }
        // Requests are split at multiples of the block, as the rest of one may go to the next server.
        let maximum = maximumBlock & ~(block - 1)
        if maximum == 0 {
            differences.append("at most \(maximumBlock) bytes at once, which is less than a block of \(block)")
        }
        if isWritten, abilities.contains(.readOnly) { differences.append("read-only") }
        guard differences.isEmpty else {
            throw .unusable(
                "the server exports \(isOther ? "another disk" : "the disk otherwise") now: "
                    + differences.joined(separator: ", "))
        }
        var result = opened
        result.abilities = abilities
        result.maximumBlock = maximum
        return result
    }

    /// What a predecessor wrote down; nil if it didn't, or it makes no sense.
    init?(_ memory: SharedMapping, at offset: Int) {
        guard memory.load64Acquiring(offset) == 1,
            let export = try? NBDExport(
                byteCount: memory.load64(offset + 8), abilities: Abilities(rawValue: memory.load64(offset + 16)),
                minimum: memory.load64(offset + 24), maximum: memory.load64(offset + 32))
        else { return nil }
        self = export
    }

    /// Writes it down for a successor.
    func store(_ memory: SharedMapping, at offset: Int) {
        memory.store64(offset + 8, byteCount)
        memory.store64(offset + 16, abilities.rawValue)
        memory.store64(offset + 24, minimumBlock)
        memory.store64(offset + 32, maximumBlock)
        memory.store64Releasing(offset, 1)
    }
}
