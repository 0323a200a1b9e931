// Puts a commit together from everything dirty. Protocol:
//
//   gather     what must be prepared, under the lock
//   prepare    compress and hash records, by all threads, without the lock; nothing changes meanwhile
//   allocate   a place for everything, in an order that depends on the requests alone: records by node and position,
//              then metadata by rank in the order in which it became dirty. Fails as a whole or not at all
//   -- point of no return --
//   patch      pointers, from the records up to the tree's top; then release list, log, header

import DiskFormat
import Platform

/// A record that becomes part of a commit.
struct SealedRecord: Sendable {
    var slot: Slot
    var key: RecordKey
    var version: UInt64
    var buffer: AlignedBuffer
    var level: Int
    var prepared: PreparedRecord?
}

/// What a seal collects.
struct SealBuilder {
    /// The dirty records, by node and position.
    var records: [SealedRecord] = []
    /// Dirty metadata by rank.
    var ranks: [[Slot]] = []
    /// Blocks to write.
    var writes: [SealedCommit.Block] = []
    /// What was allocated, in order.
    var taken: [BlockRun] = []

    /// Takes a block from the free space and notes it.
    mutating func take(_ space: inout Space, level: Int) -> BlockAddress? {
        guard let number = space.allocate(level: level) else { return nil }
        taken.append(BlockRun(start: number, count: 1 &<< UInt64(level)))
        return BlockAddress(number: number, level: level)
    }

    /// Notes a block to write.
    mutating func write(_ number: UInt64, _ buffer: AlignedBuffer, level: Int) {
        writes.append(
            SealedCommit.Block(number: number, slice: BufferSlice(buffer, 0..<Limits.blockSize &<< level)))
    }
}

extension EngineState {
    /// The dirty records in the order in which they get their places.
    func gatherRecords() -> [SealedRecord] {
        var result: [SealedRecord] = []
        result.reserveCapacity(records.dirtyCount)
        for reference in records.dirty where records.isCurrent(reference) {
            let slot = records.slots[reference.slot]
            result.append(
                SealedRecord(
                    slot: reference.slot, key: slot.key, version: slot.version, buffer: records.buffer(reference.slot),
                    level: Int(slot.reservedLevel), prepared: slot.prepared))
        }
        result.sort { ($0.key.node, $0.key.index) < ($1.key.node, $1.key.index) }
        return result
    }

    /// Puts the commit together; the records are prepared. On failure nothing has changed.
    mutating func seal(
        _ prepared: [SealedRecord], template: Header, options: OpenOptions, workers: WorkerPool, pool: BufferPool,
        squash: Bool
    ) throws(Fault) -> SealedCommit {
        var builder = SealBuilder()
        builder.records = prepared
        let ranks = blocks.dirty.map { references in references.filter { blocks.isCurrent($0) }.map(\.slot) }
        let attributes = attributeSets.encodeDirty(pool: pool)

        // Places for everything.
        var recordPlaces: [BlockAddress] = []
        var blockPlaces: [[BlockAddress]] = []
        var attributePlaces: [BlockAddress] = []
        var listPlaces: [BlockAddress] = []
        var logPlaces: [BlockAddress] = []
        var isComplete = true
        var occupied: UInt64?
        func place(_ level: Int, _ list: inout [BlockAddress]) {
            guard isComplete, let address = builder.take(&space, level: level) else {
                isComplete = false
                return
            }
            list.append(address)
            if occupied == nil { occupied = address.blocks.first { blocks.isDirtyBlock(at: $0) } }
        }
        for record in prepared { place(record.prepared?.level ?? record.level, &recordPlaces) }
        for level in attributes.levels { place(level, &attributePlaces) }
        for rank in ranks {
            var places: [BlockAddress] = []
            for _ in rank { place(0, &places) }
            blockPlaces.append(places)
        }
        for _ in 0..<release.newBlockCount { place(0, &listPlaces) }
        let logCount = space.logBlocks(extraObjects: 0)
        for _ in 0..<logCount { place(0, &logPlaces) }
        guard isComplete, occupied == nil else {
            for run in builder.taken { space.giveBack(run) }
            // A log that calls free what is in use: writing there would destroy what the commit is about to move.
            if let occupied { throw .corrupt(.allocationLog, .value, block: occupied) }
            throw .noSpace
        }
        builder.taken.removeLast(logPlaces.count)

        // Point of no return.
        for (record, address) in zip(prepared, recordPlaces) { patch(record, address, &builder) }
        patch(attributes, attributePlaces, &builder)
        for (rank, slots) in ranks.enumerated() where !slots.isEmpty {
            patch(BlockKind(rawValue: UInt8(rank)), slots, blockPlaces[rank], workers, &builder)
        }
        records.clearDirtyList()
        blocks.clearDirtyLists()
        patchReleaseList(listPlaces, pool, &builder)
        let isSquashing = squash || generation > 0 && generation % Limits.squashInterval == 0
        writeLog(logPlaces, isSquashing: isSquashing, pool, &builder)

        generation &+= 1
        epoch &+= 1
        sealedChanges = changes
        var header = template
        header.generation = Generation(generation)
        header.tree = root
        header.allocationLog = log.blocks.last ?? .null
        header.releaseList = release.head
        header.setHeaderExtension(
            HeaderExtension(
                mountID: options.mountID, sequence: sequence, commitTime: newestTime, nextNode: nextNode))
        return SealedCommit(
            generation: generation, blocks: builder.writes, header: header, sequence: sequence, changes: changes)
    }

    /// Gives a record its place.
    private mutating func patch(_ record: SealedRecord, _ address: BlockAddress, _ builder: inout SealBuilder) {
        guard let prepared = record.prepared else { return }
        let slot = records.slots[record.slot]
        space.free(slot.pointer.address)
        let stored = BlockAddress(
            number: address.number, level: prepared.level, decompressedLevel: prepared.decompressedLevel)
        let pointer = BlockPointer(address: stored, hash: prepared.hash)
        setChildPointer(slot.parent, Int(slot.parentIndex), pointer)
        if let node = blocks.findNode(record.key.node), prepared.level != Int(slot.reservedLevel) {
            addBlocks(node, 1 &<< prepared.level &- 1 &<< Int(slot.reservedLevel))
        }
        records.place(record.slot, pointer)
        builder.write(address.number, prepared.buffer, level: prepared.level)
    }

    /// Gives the metadata blocks of a rank their places.
    private mutating func patch(
        _ kind: BlockKind, _ slots: [Slot], _ places: [BlockAddress], _ workers: WorkerPool,
        _ builder: inout SealBuilder
    ) {
        let buffers = slots.map { blocks.buffer($0) }
        let hashes = BlockHashes.compute(buffers, workers)
        for (index, slot) in slots.enumerated() {
            let old = blocks.slots[slot]
            let pointer = BlockPointer(address: places[index], hash: hashes[index])
            space.free(BlockAddress(number: old.number, level: 0))
            if old.parent == noSlot {
                root = pointer
            } else {
                let parentKind = blocks.slots[old.parent].kind
                if parentKind.isTree {
                    blocks.change(old.parent) { TreeBlock.setPointer(&$0, Int(old.parentIndex), pointer) }
                } else if parentKind.isHashTree {
                    setHashTreePointer(old.parent, from: old.number, to: pointer)
                } else {
                    setChildPointer(old.parent, Int(old.parentIndex), pointer)
                }
            }
            blocks.place(slot, number: pointer.address.number, hash: pointer.hash)
            builder.write(pointer.address.number, buffers[index], level: 0)
        }
    }

    private mutating func setHashTreePointer(_ parent: Slot, from number: UInt64, to pointer: BlockPointer) {
        blocks.change(parent) { bytes in
            for index in 0..<HashTreeBlock.entryCount
            where HashTreeBlock.pointer(bytes.bytes, index).address.number == number {
                HashTreeBlock.setPointer(&bytes, index, pointer)
                return
            }
        }
    }

    /// Writes the release list anew if it changed.
    private mutating func patchReleaseList(
        _ places: [BlockAddress], _ pool: BufferPool, _ builder: inout SealBuilder
    ) {
        guard release.isChanged else { return }
        for address in release.blocks { space.free(address) }
        release.blocks = []
        release.isChanged = false
        var previous = BlockPointer.null
        for (index, address) in places.enumerated() {
            let buffer = pool.take(level: 0)
            buffer.zero(0..<Limits.blockSize)
            var bytes = buffer.mutableBytes
            ReleaseListBlock.setPrevious(&bytes, previous)
            let start = index &* ReleaseListBlock.nodeCount
            for (place, node) in release.nodes.dropFirst(start).prefix(ReleaseListBlock.nodeCount).enumerated() {
                ReleaseListBlock.setNode(&bytes, place, NodeID(node))
            }
            previous = BlockPointer(address: address, hash: SeaHash.hash(bytes.bytes))
            release.blocks.insert(address, at: 0)
            builder.write(address.number, buffer, level: 0)
        }
        release.head = previous
    }
}

extension ReleaseState {
    /// How many blocks the next commit needs for the list: one at most. The reference implementation loses what is in a
    /// second one. Nodes beyond the 1,020 of a block are deleted when they are closed like the others, but are left to a
    /// check if the system stops before that.
    var newBlockCount: Int { isChanged && !nodes.isEmpty ? 1 : 0 }
}

/// Hashes of many metadata blocks, by all threads.
enum BlockHashes {
    /// How many blocks one thread takes at a time.
    private static let batch = 64

    /// The hashes in the blocks' order.
    static func compute(_ buffers: [AlignedBuffer], _ workers: WorkerPool) -> [UInt64] {
        if buffers.count <= batch { return buffers.map { SeaHash.hash($0.bytes) } }
        let result = Locked([UInt64](repeating: 0, count: buffers.count))
        workers.parallelFor((buffers.count + batch - 1) / batch) { part in
            let start = part * batch
            let hashes = buffers[start..<min(start + batch, buffers.count)].map { SeaHash.hash($0.bytes) }
            result.withLock { $0.replaceSubrange(start..<start + hashes.count, with: hashes) }
        }
        return result.withLock { $0 }
    }
}
