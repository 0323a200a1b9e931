import DiskFormat
import Platform

/// What is known of a node besides its block, as long as somebody has it open or asks often.
struct InodeState: Sendable {
    /// How many times it is open.
    var opens: UInt32 = 0
    /// A directory's parent; 0: not known.
    var parent: UInt32 = 0
    /// How many subdirectories a directory has; -1: not known.
    var subdirectories: Int32 = -1
    /// It has no name any more and is deleted when the last one closes it.
    var isOrphan = false
    /// Where the last read ended: the next sequential one begins there.
    var readEnd: UInt64 = .max
    /// How many records are read ahead.
    var readWindow: UInt8 = 0
    /// Small writes inside the file that didn't follow each other, less those that did.
    var scatteredWrites: Int32 = 0
    /// Where the last write ended.
    var writeEnd: UInt64 = 0

    /// Whether nothing is worth remembering.
    var isIdle: Bool { opens == 0 && parent == 0 && subdirectories < 0 && !isOrphan }
}

/// The allocation log as it is on disk, or will be after the commit that is being written.
struct LogState: Sendable {
    /// All blocks, oldest first.
    var blocks: [BlockPointer] = []
    /// The entries of the newest block.
    var newestEntries: [AllocationLogBlock.Entry] = []
}

/// Nodes without a name that are still open.
struct ReleaseState: Sendable {
    /// The nodes, in the order in which they lost their names.
    var nodes: [UInt32] = []
    /// The list's blocks on disk, newest first.
    var blocks: [BlockAddress] = []
    /// The pointer that the header has.
    var head = BlockPointer.null
    /// The nodes are others than those on disk.
    var isChanged = false
}

/// Everything that the file system knows, behind one lock.
struct EngineState: Sendable {
    /// Metadata blocks.
    var blocks: BlockCache
    /// File content.
    var records: RecordCache
    /// Free and promised space.
    var space = Space()
    /// Open nodes and known directories.
    var inodes = FlatMap<UInt64, InodeState>(filler: InodeState())
    /// Decoded extended attributes.
    var attributeSets = AttributeCache()
    /// The pointer to the top tree block.
    var root: BlockPointer
    /// The allocation log.
    var log = LogState()
    /// Nodes without a name.
    var release = ReleaseState()
    /// The plan of the running operation.
    var plan = Plan()

    /// How many blocks the file system has.
    let blockCount: UInt64
    /// Nothing may change.
    let isReadOnly: Bool
    /// Closed: no operation is possible.
    var isClosed = false

    /// The newest generation that was sealed.
    var generation: UInt64
    /// The newest generation that is on disk.
    var durableGeneration: UInt64
    /// The newest sequence number that was given out.
    var sequence: UInt64
    /// The newest sequence number that is on disk.
    var durableSequence: UInt64
    /// `OpenOptions.tellsBirthsApart`.
    var tellsBirthsApart = false
    /// Nodes that lost their last name a moment ago.
    var departed = DepartedNodes()
    /// From where on a number for a new node is looked for.
    var nextNode: UInt32 = 0
    /// Counts everything that makes a commit necessary.
    var changes: UInt64 = 0
    /// `changes` at the last seal.
    var sealedChanges: UInt64 = 0
    /// `changes` at the last seal that is on disk.
    var durableChanges: UInt64 = 0
    /// The time of the newest change.
    var newestTime = Timespec()

    /// A commit is being put together: nothing may change.
    var isSealing = false
    /// A node that lost its last name is being freed in several steps: nothing else may change, and nothing be committed. Its number
    /// is free at the end, and a repetition must find it free at the same place in the sequence of changes.
    var isReleasing = false
    /// The sealed commit is being written by somebody.
    var isWriting = false
    /// The commit that is put together but not yet on disk.
    var sealed: SealedCommit?
    /// Counts seals: what was read before one may be outdated after.
    var epoch: UInt64 = 0

    /// Bytes in memory that wait to be written.
    var dirtyBytes: Int { records.dirtyBytes &+ blocks.dirtyCount &* Limits.blockSize }

    /// Gives out the next sequence number: something changed.
    mutating func noteChange(_ context: inout RequestContext) {
        if context.repeatedSequence == 0 {
            sequence &+= 1
        } else if !context.isStepOfRepetition {
            sequence = max(sequence, context.repeatedSequence)
        }
        changes &+= 1
        context.sequence = sequence
        if newestTime < context.time { newestTime = context.time }
    }

    /// The slot of a pointer's block.
    mutating func block(_ pointer: BlockPointer, _ kind: BlockKind, owner: UInt32) throws(Fault) -> Slot {
        if let slot = blocks.find(pointer) {
            guard blocks.slots[slot].kind == kind else {
                throw .corrupt(.address, .value, block: pointer.address.number, value: pointer.address.rawValue)
            }
            return slot
        }
        throw .load(Load(pointer: pointer, kind: kind, owner: owner))
    }

    /// Notes that a block is going to be dirty.
    mutating func touch(_ slot: Slot, parent: Slot, parentIndex: Int) {
        guard !blocks.slots[slot].isDirty, blocks.slots[slot].planStamp != plan.stamp else { return }
        blocks.setPlanStamp(slot, plan.stamp)
        plan.touched.append(Plan.Touch(slot: slot, parent: parent, parentIndex: parentIndex))
    }

    /// Makes sure that everything planned can be written. The last thing that can fail.
    mutating func secure(isFreeing: Bool = false) throws(Fault) {
        var extra = plan.extra
        extra[0] += plan.touched.count
        let objects = plan.extraObjects &+ plan.touched.count
        guard space.canHold(extra, objects: objects, isFreeing: isFreeing) else { throw .noSpace }
    }

    /// The point of no return: what was touched becomes dirty.
    mutating func applyPlan() {
        for touch in plan.touched {
            blocks.markDirty(touch.slot, parent: touch.parent, parentIndex: touch.parentIndex)
            space.reserve(level: 0)
        }
        plan.touched.removeAll(keepingCapacity: true)
    }

    /// A new metadata block, dirty and reserved.
    mutating func createBlock(_ kind: BlockKind, owner: UInt32, parent: Slot, parentIndex: Int) -> Slot {
        space.reserve(level: 0)
        return blocks.create(kind: kind, owner: owner, parent: parent, parentIndex: parentIndex)
    }

    /// Gives up a metadata block: its place is free after the next commit.
    mutating func dropBlock(_ slot: Slot) {
        if blocks.slots[slot].isDirty { space.release(level: 0) }
        space.free(BlockAddress(number: blocks.slots[slot].number, level: 0))
        blocks.remove(slot)
    }
}
