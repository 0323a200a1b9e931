// How operations meet the disk. An operation runs with the state's lock held and only on what is in memory. If
// something is missing it throws `Fault.load` before it has changed anything; the lock is released, the block is read,
// checked and taken over, and the operation starts again from its beginning. So no lock is held across I/O, and every
// operation is atomic: all checks and loads come first, then the "point of no return", then only what cannot fail.

import DiskFormat

/// A block that an operation needs in memory.
struct Load: Sendable {
    /// Where it lies.
    var pointer: BlockPointer
    /// What it is; nil: a record.
    var kind: BlockKind?
    /// The node that it belongs to; for a node, its number.
    var owner: UInt32
    /// The record's number.
    var record: UInt64 = 0
    /// The node's record level.
    var recordLevel: UInt32 = 0
}

/// Why an operation stopped before its point of no return.
enum Fault: Error {
    /// These must be read first.
    case load([Load])
    /// It is not possible.
    case failed(FileSystemError)
    /// What it would make dirty can't be promised a place at the moment.
    case noSpace
    /// The extended attributes of a node, whose first table is there, must be read first.
    case attributes(NodeID, BlockPointer)
    /// The parent of a directory must be found first.
    case parent(NodeID)
    /// A commit couldn't be written and must be before more becomes dirty.
    case unwritten

    /// One block must be read.
    static func load(_ load: Load) -> Fault { .load([load]) }

    /// A structure breaks a rule.
    static func corrupt(
        _ structure: FormatError.Structure, _ problem: FormatError.Problem, block: UInt64, at offset: Int = 0,
        value: UInt64 = 0
    ) -> Fault {
        .failed(.corrupt(FormatError(structure, problem, at: offset, value: value), block: block))
    }
}

/// What the running operation is going to make dirty.
struct Plan: Sendable {
    /// A block that becomes dirty, with the place of its pointer.
    struct Touch: Sendable {
        var slot: Slot
        var parent: Slot
        var parentIndex: Int
    }

    /// Told apart from all other plans by this.
    var stamp: UInt32 = 0
    /// Clean blocks that become dirty, parents first.
    var touched: [Touch] = []
    /// Blocks that new objects need, beyond one for each touched block.
    var extra = Demand.none
    /// How many new objects.
    var extraObjects = 0

    /// Starts anew.
    mutating func begin() {
        stamp &+= 1
        touched.removeAll(keepingCapacity: true)
        extra = .none
        extraObjects = 0
    }

    /// New metadata blocks.
    mutating func addBlocks(_ count: Int) {
        extra[0] += count
        extraObjects &+= count
    }

    /// A new dirty record.
    mutating func addRecord(level: Int) {
        extra[level] += 1
        extraObjects &+= 1
    }
}
