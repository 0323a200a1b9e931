// Metadata blocks in memory: an arena of slots. A block is found by its address, real or virtual, as it stands in its
// parent's pointer; the hash must be the pointer's too, so that a block that was given up and used again is never
// mistaken for its successor. Dirty blocks stay; clean ones go when there are too many, the ones not used for long
// first (a clock).
//
// A dirty block's parent is dirty as well and known by slot, up to the tree's top: a commit needs no search.

import DiskFormat
import Platform

/// The index of a slot in one of the arenas.
typealias Slot = Int

/// A slot that is none.
let noSlot: Slot = -1

/// One metadata block in memory.
struct BlockSlot: Sendable {
    /// The block's bytes; nil: the slot is not in use.
    var buffer: AlignedBuffer?
    /// The block number by which the parent knows it.
    var number: UInt64 = 0
    /// The hash in the parent's pointer.
    var hash: UInt64 = 0
    /// When it became dirty, in order of all blocks.
    var dirtyOrder: UInt64 = 0
    /// The node that it belongs to; for a node, its number.
    var owner: UInt32 = 0
    /// While dirty: the parent's slot; `noSlot` for the tree's top.
    var parent: Slot = noSlot
    /// While dirty: the index of the pointer in the parent; not kept for entries of hash trees, which move.
    var parentIndex: Int32 = 0
    /// What it is.
    var kind = BlockKind(rawValue: 0)
    /// Waits to be written.
    var isDirty = false
    /// Was used since the clock's hand passed.
    var isReferenced = false
    /// The plan of the running operation has it already.
    var planStamp: UInt32 = 0
}

/// A block that is or was dirty: it still is if the order is the slot's.
struct DirtyReference: Sendable {
    var slot: Slot
    var order: UInt64
}

/// The arena of metadata blocks.
struct BlockCache: Sendable {
    private(set) var slots: [BlockSlot] = []
    private var vacant: [Slot] = []
    private var byNumber = FlatMap<UInt64, Slot>(filler: noSlot)
    private var byNode = FlatMap<UInt64, Slot>(filler: noSlot)
    /// Dirty blocks by rank, in the order in which they became dirty; entries may be outdated.
    private(set) var dirty = [[DirtyReference]](repeating: [], count: BlockKind.count)
    /// How many blocks are dirty.
    private(set) var dirtyCount = 0
    private var nextOrder: UInt64 = 0
    private var virtualCounter: UInt64 = 0
    private var hand = 0
    private let maximumCleanCount: Int
    /// How many blocks an operation may need in memory at the same time: less than what is kept, whatever others do.
    var workingSet: Int { maximumCleanCount / 4 }
    private let pool: BufferPool

    /// - Parameter maximumCleanCount: how many clean blocks are kept.
    init(maximumCleanCount: Int, pool: BufferPool) {
        self.maximumCleanCount = max(maximumCleanCount, 512)
        self.pool = pool
    }

    /// How many blocks are in memory.
    var count: Int { slots.count &- vacant.count }

    /// The slot of a pointer's block, or nil if it isn't in memory.
    @inline(__always)
    mutating func find(_ pointer: BlockPointer) -> Slot? {
        guard let slot = byNumber[pointer.address.number], slots[slot].hash == pointer.hash else { return nil }
        slots[slot].isReferenced = true
        return slot
    }

    /// The slot of a node, or nil if it isn't in memory.
    @inline(__always)
    mutating func findNode(_ node: UInt32) -> Slot? {
        guard let slot = byNode[UInt64(node)] else { return nil }
        slots[slot].isReferenced = true
        return slot
    }

    /// The bytes of a block. Let go of the buffer before the block is changed: a shared buffer is copied.
    @inline(__always)
    func buffer(_ slot: Slot) -> AlignedBuffer {
        guard let buffer = slots[slot].buffer else { preconditionFailure("a slot that is not in use was read") }
        return buffer
    }

    /// Lets the body change a dirty block.
    @inline(__always)
    mutating func change<Result>(_ slot: Slot, _ body: (inout MutableRawSpan) -> Result) -> Result {
        if !isKnownUniquelyReferenced(&slots[slot].buffer) {
            let copy = pool.take(level: 0)
            copy.copyBytes(from: buffer(slot).bytes, at: 0)
            slots[slot].buffer = copy
        }
        let buffer = buffer(slot)
        var bytes = buffer.mutableBytes
        return body(&bytes)
    }

    /// The pointer by which a parent knows a block.
    func pointer(_ slot: Slot) -> BlockPointer {
        BlockPointer(address: BlockAddress(number: slots[slot].number, level: 0), hash: slots[slot].hash)
    }

    /// Takes over a block that was read.
    mutating func insert(_ pointer: BlockPointer, kind: BlockKind, owner: UInt32, buffer: AlignedBuffer) {
        let number = pointer.address.number
        if let old = byNumber[number] {
            // Somebody else read it as well; or what lies there belongs to an older commit.
            if slots[old].hash == pointer.hash || slots[old].isDirty { return }
            remove(old)
        }
        if kind == .node, let old = byNode[UInt64(owner)] {
            if slots[old].isDirty { return }
            remove(old)
        }
        makeRoom()
        let slot = takeSlot()
        slots[slot].buffer = buffer
        slots[slot].number = number
        slots[slot].hash = pointer.hash
        slots[slot].owner = owner
        slots[slot].kind = kind
        slots[slot].isReferenced = true
        byNumber.set(number, slot)
        if kind == .node { byNode.set(UInt64(owner), slot) }
    }

    /// A new dirty block of zeros.
    mutating func create(kind: BlockKind, owner: UInt32, parent: Slot, parentIndex: Int) -> Slot {
        let buffer = pool.take(level: 0)
        buffer.zero(0..<Limits.blockSize)
        virtualCounter &+= 1
        makeRoom()
        let slot = takeSlot()
        slots[slot].buffer = buffer
        slots[slot].number = BlockAddress.virtual(virtualCounter, level: 0).number
        slots[slot].hash = 0
        slots[slot].owner = owner
        slots[slot].kind = kind
        slots[slot].isReferenced = true
        byNumber.set(slots[slot].number, slot)
        if kind == .node { byNode.set(UInt64(owner), slot) }
        markDirty(slot, parent: parent, parentIndex: parentIndex)
        return slot
    }

    /// The address of something else that waits for its place: a record.
    mutating func nextVirtualAddress(level: Int) -> BlockAddress {
        virtualCounter &+= 1
        return .virtual(virtualCounter, level: level)
    }

    /// Makes a block dirty, if it isn't.
    mutating func markDirty(_ slot: Slot, parent: Slot, parentIndex: Int) {
        slots[slot].parent = parent
        slots[slot].parentIndex = Int32(truncatingIfNeeded: parentIndex)
        guard !slots[slot].isDirty else { return }
        nextOrder &+= 1
        slots[slot].isDirty = true
        slots[slot].dirtyOrder = nextOrder
        dirty[Int(slots[slot].kind.rawValue)].append(DirtyReference(slot: slot, order: nextOrder))
        dirtyCount &+= 1
    }

    /// Notes that a dirty block moved to another parent.
    mutating func setParent(_ slot: Slot, _ parent: Slot) { slots[slot].parent = parent }

    /// Notes that the plan of an operation has the block.
    mutating func setPlanStamp(_ slot: Slot, _ stamp: UInt32) { slots[slot].planStamp = stamp }

    /// Whether the reference is to a block that is still dirty since then.
    func isCurrent(_ reference: DirtyReference) -> Bool {
        slots[reference.slot].isDirty && slots[reference.slot].dirtyOrder == reference.order
    }

    /// Whether a dirty block still has its place there: it isn't free before that block has got another one.
    func isDirtyBlock(at number: UInt64) -> Bool { byNumber[number].map { slots[$0].isDirty } ?? false }

    /// A commit gave a block its place: it is clean from now on.
    mutating func place(_ slot: Slot, number: UInt64, hash: UInt64) {
        byNumber.remove(slots[slot].number)
        if let stale = byNumber[number] { remove(stale) }
        slots[slot].number = number
        slots[slot].hash = hash
        slots[slot].isDirty = false
        byNumber.set(number, slot)
        dirtyCount &-= 1
    }

    /// A commit is sealed: nothing is dirty.
    mutating func clearDirtyLists() {
        for rank in dirty.indices { dirty[rank].removeAll(keepingCapacity: true) }
    }

    /// Forgets a block.
    mutating func remove(_ slot: Slot) {
        if slots[slot].isDirty { dirtyCount &-= 1 }
        if byNumber[slots[slot].number] == slot { byNumber.remove(slots[slot].number) }
        if slots[slot].kind == .node, byNode[UInt64(slots[slot].owner)] == slot {
            byNode.remove(UInt64(slots[slot].owner))
        }
        slots[slot] = BlockSlot()
        vacant.append(slot)
    }

    private mutating func takeSlot() -> Slot {
        if let slot = vacant.popLast() { return slot }
        slots.append(BlockSlot())
        return slots.count &- 1
    }

    /// Removes a clean block that wasn't used for long, if there are too many.
    private mutating func makeRoom() {
        var steps = 0
        while count &- dirtyCount >= maximumCleanCount, steps < slots.count &* 2 {
            steps &+= 1
            hand = hand &+ 1 < slots.count ? hand &+ 1 : 0
            guard slots[hand].buffer != nil, !slots[hand].isDirty else { continue }
            if slots[hand].isReferenced {
                slots[hand].isReferenced = false
            } else {
                remove(hand)
            }
        }
    }
}
