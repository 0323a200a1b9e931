import DiskFormat
import Platform

/// Where some bytes of a file come from. The buffers are shared: the bytes are copied after the lock is released.
struct ReadPiece: Sendable {
    /// The source; nil: zeros.
    var buffer: AlignedBuffer?
    /// The first byte in the source.
    var start: Int
    /// How many bytes.
    var count: Int
}

extension EngineState {
    /// How many records are read ahead at most.
    private static let maximumWindow = 8

    /// Where the bytes of a file from `offset` on are; fewer than `length` at the end of the file.
    mutating func read(_ id: NodeID, at offset: UInt64, length: Int) throws(Fault) -> [ReadPiece] {
        let nodeSlot = try node(id)
        let block = blocks.buffer(nodeSlot)
        let size = NodeBlock.size(block.bytes)
        guard offset < size, length > 0 else { return [] }
        let end = min(size, offset.addingReportingOverflow(UInt64(length)).overflow ? .max : offset &+ UInt64(length))
        if NodeBlock.isInline(block.bytes) { return readInline(block, offset, end) }
        let layout = try layout(nodeSlot)
        guard end <= layout.maximumSize else { throw .failed(.fileTooLarge) }

        var pieces: [ReadPiece] = []
        var loads: [Load] = []
        var position = offset
        while position < end {
            let record = layout.record(at: position)
            let start = layout.offset(of: position)
            let count = min(layout.recordSize &- start, Int(end &- position))
            if let slot = records.find(RecordKey(index: record, node: id.rawValue)) {
                let buffer = records.buffer(slot)
                let inside = min(max(0, buffer.byteCount &- start), count)
                if inside > 0 { pieces.append(ReadPiece(buffer: buffer, start: start, count: inside)) }
                if inside < count { pieces.append(ReadPiece(buffer: nil, start: 0, count: count &- inside)) }
            } else {
                let pointer = try recordPointer(nodeSlot, record)
                if pointer.isNull {
                    pieces.append(ReadPiece(buffer: nil, start: 0, count: count))
                } else {
                    loads.append(try recordLoad(id, record, pointer, layout))
                }
            }
            position &+= UInt64(count)
        }
        if !loads.isEmpty {
            readAhead(id, nodeSlot, layout, from: offset, end: end, size: size, &loads)
            throw .load(loads)
        }
        if var inode = inodes[UInt64(id.rawValue)], inode.opens > 0 {
            inode.readEnd = end
            inodes.set(UInt64(id.rawValue), inode)
        }
        return pieces
    }

    private func readInline(_ block: AlignedBuffer, _ offset: UInt64, _ end: UInt64) -> [ReadPiece] {
        var pieces: [ReadPiece] = []
        let capacity = UInt64(Limits.inlineCapacity)
        var position = offset
        if offset < capacity {
            let count = Int(min(end, capacity) &- offset)
            pieces.append(ReadPiece(buffer: block, start: NodeBlock.Offset.content &+ Int(offset), count: count))
            position &+= UInt64(count)
        }
        // A size beyond the inline area: the rest reads as zeros.
        while position < end {
            let count = Int(min(end &- position, 1 << 30))
            pieces.append(ReadPiece(buffer: nil, start: 0, count: count))
            position &+= UInt64(count)
        }
        return pieces
    }

    /// The load of a record whose pointer was read from disk: checked here.
    func recordLoad(
        _ id: NodeID, _ record: UInt64, _ pointer: BlockPointer, _ layout: RecordLayout
    ) throws(Fault) -> Load {
        do {
            try pointer.address.checkRecord(blocks: blockCount, recordLevel: UInt32(layout.level))
        } catch {
            throw .failed(.corrupt(error, block: pointer.address.number))
        }
        return Load(
            pointer: pointer, kind: nil, owner: id.rawValue, record: record, recordLevel: UInt32(layout.level))
    }

    /// Adds the next records to what must be read anyway, more and more as long as the reading is sequential.
    private mutating func readAhead(
        _ id: NodeID, _ nodeSlot: Slot, _ layout: RecordLayout, from offset: UInt64, end: UInt64, size: UInt64,
        _ loads: inout [Load]
    ) {
        guard var inode = inodes[UInt64(id.rawValue)], inode.opens > 0 else { return }
        let isSequential = inode.readEnd == offset || offset == 0
        inode.readWindow = isSequential ? UInt8(min(Self.maximumWindow, max(1, Int(inode.readWindow) &* 2))) : 0
        inodes.set(UInt64(id.rawValue), inode)
        guard isSequential else { return }
        let count = layout.recordCount(size: size)
        var record = layout.record(at: end &- 1) &+ 1
        var left = Int(inode.readWindow)
        while left > 0, record < count {
            left &-= 1
            defer { record &+= 1 }
            if records.contains(RecordKey(index: record, node: id.rawValue)) { continue }
            guard let pointer = try? recordPointer(nodeSlot, record), !pointer.isNull,
                let load = try? recordLoad(id, record, pointer, layout)
            else { return }
            loads.append(load)
        }
    }

    /// Whether a record that was read is still the one that the node has, if that can be said without reading.
    mutating func isCurrent(_ load: Load) -> Bool {
        guard let nodeSlot = blocks.findNode(load.owner), !NodeBlock.isInline(blocks.buffer(nodeSlot).bytes),
            NodeBlock.recordLevel(blocks.buffer(nodeSlot).bytes) == load.recordLevel,
            let pointer = try? recordPointer(nodeSlot, load.record)
        else { return false }
        return pointer == load.pointer
    }

    /// Takes over a record that was read. Bytes behind the end of the file are of no meaning: they become zeros.
    mutating func take(_ load: Load, _ buffer: AlignedBuffer) {
        let key = RecordKey(index: load.record, node: load.owner)
        guard !records.contains(key), isCurrent(load), let nodeSlot = blocks.findNode(load.owner),
            let layout = try? layout(nodeSlot)
        else { return }
        let size = NodeBlock.size(blocks.buffer(nodeSlot).bytes)
        let start = layout.start(of: load.record)
        var hasStaleTail = false
        if size < start &+ UInt64(buffer.byteCount) {
            let tail = size > start ? Int(size &- start) : 0
            if !buffer.bytes(tail..<buffer.byteCount).isAllZero() {
                hasStaleTail = true
                buffer.zero(tail..<buffer.byteCount)
            }
        }
        records.insert(key, pointer: load.pointer, buffer: buffer, hasStaleTail: hasStaleTail)
    }
}
