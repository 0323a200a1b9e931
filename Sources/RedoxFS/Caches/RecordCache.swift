// Records in memory: an arena of slots, found by node and record number. What is in it is always the record's newest
// content, padded with zeros to the buffer's size; behind a record's buffer are zeros too. Clean records go when there
// are too many bytes of them.
//
// Buffers are shared by reference: a reader copies from one outside the lock, a commit writes from one. Who changes a
// record that is shared copies it first.

import DiskFormat
import Platform

/// A record of a node.
struct RecordKey: FlatKey {
    var index: UInt64
    var node: UInt32

    static var vacant: RecordKey { RecordKey(index: .max, node: 0) }
    var scrambled: UInt64 { (index ^ UInt64(node) &<< 36 ^ UInt64(node) &>> 28).scrambled }
}

/// A record made ready for the disk: hashed, and compressed if that saves blocks.
struct PreparedRecord: Sendable {
    /// The bytes to write, a whole block of the stored level.
    var buffer: AlignedBuffer
    /// The level of the stored block.
    var level: Int
    /// The level after decompression, 0 if not compressed.
    var decompressedLevel: Int
    /// The hash of the stored bytes.
    var hash: UInt64
}

/// One record in memory.
struct RecordSlot: Sendable {
    /// The content; its size is a block's. Nil: the slot is not in use.
    var buffer: AlignedBuffer?
    var key = RecordKey.vacant
    /// What the parent's pointer says: where the last written form lies, or a virtual address.
    var pointer = BlockPointer.null
    /// While dirty: the slot of the block with the pointer, a node or a list.
    var parent: Slot = noSlot
    /// While dirty: the index of the pointer there.
    var parentIndex: Int32 = 0
    /// While dirty: the level of the block that is promised to it.
    var reservedLevel: Int8 = 0
    var isDirty = false
    var isReferenced = false
    /// The disk holds bytes behind the file's end that aren't zero; the buffer doesn't.
    var hasStaleTail = false
    var dirtyOrder: UInt64 = 0
    /// Changes with every change of the content.
    var version: UInt64 = 0
    /// The form for the disk of the present content, if it was made early.
    var prepared: PreparedRecord?
}

/// The arena of records.
struct RecordCache: Sendable {
    private(set) var slots: [RecordSlot] = []
    private var vacant: [Slot] = []
    private var byKey = FlatMap<RecordKey, Slot>(filler: noSlot)
    /// Dirty records in the order in which they became dirty; entries may be outdated.
    private(set) var dirty: [DirtyReference] = []
    private(set) var dirtyCount = 0
    private(set) var dirtyBytes = 0
    private(set) var bytes = 0
    private var nextOrder: UInt64 = 0
    private var nextVersion: UInt64 = 0
    private var hand = 0
    private let maximumCleanBytes: Int
    /// How many bytes of records an operation may need in memory at the same time.
    var workingSet: Int { maximumCleanBytes / 2 }
    private let pool: BufferPool

    /// - Parameter maximumCleanBytes: how many bytes of clean records are kept.
    init(maximumCleanBytes: Int, pool: BufferPool) {
        // One large read must fit, with what is read ahead.
        self.maximumCleanBytes = max(maximumCleanBytes, 8 << 20)
        self.pool = pool
    }

    /// The slot of a record, or nil if it isn't in memory.
    @inline(__always)
    mutating func find(_ key: RecordKey) -> Slot? {
        guard let slot = byKey[key] else { return nil }
        slots[slot].isReferenced = true
        return slot
    }

    /// The slot of a record, or nil; doesn't count as use.
    func peek(_ key: RecordKey) -> Slot? { byKey[key] }

    /// Whether a record is in memory; doesn't count as use.
    func contains(_ key: RecordKey) -> Bool { byKey[key] != nil }

    /// The content of a record.
    @inline(__always)
    func buffer(_ slot: Slot) -> AlignedBuffer {
        guard let buffer = slots[slot].buffer else { preconditionFailure("a slot that is not in use was read") }
        return buffer
    }

    /// Takes over a record that was read.
    mutating func insert(_ key: RecordKey, pointer: BlockPointer, buffer: AlignedBuffer, hasStaleTail: Bool) {
        guard byKey[key] == nil else { return }
        makeRoom(buffer.byteCount)
        let slot = takeSlot()
        nextVersion &+= 1
        slots[slot].buffer = buffer
        slots[slot].key = key
        slots[slot].pointer = pointer
        slots[slot].hasStaleTail = hasStaleTail
        slots[slot].isReferenced = true
        slots[slot].version = nextVersion
        byKey.set(key, slot)
        bytes &+= buffer.byteCount
    }

    /// A record with new content, not dirty yet.
    mutating func create(_ key: RecordKey, pointer: BlockPointer, buffer: AlignedBuffer) -> Slot {
        if let old = byKey[key] { remove(old) }
        makeRoom(buffer.byteCount)
        let slot = takeSlot()
        nextVersion &+= 1
        slots[slot].buffer = buffer
        slots[slot].key = key
        slots[slot].pointer = pointer
        slots[slot].isReferenced = true
        slots[slot].version = nextVersion
        byKey.set(key, slot)
        bytes &+= buffer.byteCount
        return slot
    }

    /// Makes a record dirty, if it isn't.
    mutating func markDirty(_ slot: Slot, parent: Slot, parentIndex: Int, reservedLevel: Int) {
        slots[slot].parent = parent
        slots[slot].parentIndex = Int32(truncatingIfNeeded: parentIndex)
        slots[slot].reservedLevel = Int8(truncatingIfNeeded: reservedLevel)
        guard !slots[slot].isDirty else { return }
        nextOrder &+= 1
        slots[slot].isDirty = true
        slots[slot].dirtyOrder = nextOrder
        dirty.append(DirtyReference(slot: slot, order: nextOrder))
        dirtyCount &+= 1
        dirtyBytes &+= buffer(slot).byteCount
    }

    /// Lets the body change a record's content.
    mutating func change<Result>(_ slot: Slot, _ body: (inout MutableRawSpan) -> Result) -> Result {
        slots[slot].prepared = nil
        nextVersion &+= 1
        slots[slot].version = nextVersion
        slots[slot].hasStaleTail = false
        if !isKnownUniquelyReferenced(&slots[slot].buffer) {
            let old = buffer(slot)
            let copy = pool.take(level: Self.level(of: old.byteCount))
            copy.copyBytes(from: old.bytes, at: 0)
            slots[slot].buffer = copy
        }
        let buffer = buffer(slot)
        var bytes = buffer.mutableBytes
        return body(&bytes)
    }

    /// Stores the pointer by which the parent knows a record.
    mutating func setPointer(_ slot: Slot, _ pointer: BlockPointer) { slots[slot].pointer = pointer }

    /// Puts other content in place of the old one.
    mutating func replace(_ slot: Slot, with buffer: AlignedBuffer) {
        let difference = buffer.byteCount &- self.buffer(slot).byteCount
        bytes &+= difference
        if slots[slot].isDirty { dirtyBytes &+= difference }
        slots[slot].prepared = nil
        nextVersion &+= 1
        slots[slot].version = nextVersion
        slots[slot].hasStaleTail = false
        slots[slot].buffer = buffer
    }

    /// Gives a record a larger buffer, filled up with zeros.
    mutating func grow(_ slot: Slot, level: Int) {
        let old = buffer(slot)
        guard Limits.blockSize &<< level > old.byteCount else { return }
        let larger = pool.take(level: level)
        larger.copyBytes(from: old.bytes, at: 0)
        larger.zero(old.byteCount..<larger.byteCount)
        let isStale = slots[slot].hasStaleTail
        replace(slot, with: larger)
        slots[slot].hasStaleTail = isStale
    }

    /// Takes over what was prepared, unless the content changed since.
    mutating func setPrepared(_ slot: Slot, version: UInt64, _ prepared: PreparedRecord) {
        guard slot < slots.count, slots[slot].version == version, slots[slot].isDirty else { return }
        slots[slot].prepared = prepared
    }

    /// Whether the reference is to a record that is still dirty since then.
    func isCurrent(_ reference: DirtyReference) -> Bool {
        slots[reference.slot].isDirty && slots[reference.slot].dirtyOrder == reference.order
    }

    /// A commit gave a record its place: it is clean from now on.
    mutating func place(_ slot: Slot, _ pointer: BlockPointer) {
        slots[slot].pointer = pointer
        slots[slot].isDirty = false
        slots[slot].prepared = nil
        dirtyCount &-= 1
        dirtyBytes &-= buffer(slot).byteCount
    }

    /// A commit is sealed: nothing is dirty.
    mutating func clearDirtyList() { dirty.removeAll(keepingCapacity: true) }

    /// Forgets a record.
    mutating func remove(_ slot: Slot) {
        let size = buffer(slot).byteCount
        bytes &-= size
        if slots[slot].isDirty {
            dirtyCount &-= 1
            dirtyBytes &-= size
        }
        byKey.remove(slots[slot].key)
        slots[slot] = RecordSlot()
        vacant.append(slot)
    }

    /// The level of a buffer's size.
    static func level(of byteCount: Int) -> Int { max(0, byteCount.trailingZeroBitCount &- Limits.blockShift) }

    private mutating func takeSlot() -> Slot {
        if let slot = vacant.popLast() { return slot }
        slots.append(RecordSlot())
        return slots.count &- 1
    }

    /// Removes clean records that weren't used for long until there is room.
    mutating func makeRoom(_ wanted: Int) {
        var steps = 0
        while bytes &- dirtyBytes &+ wanted > maximumCleanBytes, steps < slots.count &* 2 {
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
