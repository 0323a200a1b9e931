import DiskFormat
import Platform

extension FileSystem {
    /// How many bytes one step of a read covers at most: its records must be in memory together.
    private static let stepBytes = 1 << 20

    /// Reads a regular file.
    ///
    /// - Parameters:
    ///   - offset: in bytes.
    ///   - buffer: filled from its start.
    /// - Returns: how many bytes were read; fewer than the buffer has only at the end of the file.
    /// - Throws: `.isDirectory`, `.invalidArgument` for other nodes, `.corrupt`, `.device`.
    public func read(
        _ node: NodeID, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(FileSystemError) -> Int {
        try inspect { (state) throws(Fault) in try state.requireFile(node) }
        return try copy(node, at: offset, into: &buffer)
    }

    /// As `read(_:at:into:)`, and notes the access: as with the mount option relatime, atime changes if it isn't later than
    /// mtime and ctime, or is older than a day.
    public func read(
        _ node: NodeID, at offset: UInt64, into buffer: inout MutableRawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> Int {
        let count = try read(node, at: offset, into: &buffer)
        if !isReadOnly { try noteAccess(node, &context) }
        return count
    }

    /// Copies content of any node that has some.
    func copy(
        _ node: NodeID, at offset: UInt64, into buffer: inout MutableRawSpan
    ) throws(FileSystemError) -> Int {
        var done = 0
        let total = buffer.byteCount
        while done < total {
            let (position, overflow) = offset.addingReportingOverflow(UInt64(done))
            if overflow { break }
            let wanted = min(total - done, Self.stepBytes)
            let pieces = try inspect { (state) throws(Fault) in
                try state.read(node, at: position, length: wanted)
            }
            var step = 0
            for piece in pieces {
                var target = buffer._mutatingExtracting(done + step..<done + step + piece.count)
                if let source = piece.buffer {
                    target.copyBytes(from: source.bytes(piece.start..<piece.start + piece.count))
                } else {
                    target.zeroAll()
                }
                step += piece.count
            }
            done += step
            if step < wanted { break }
        }
        return done
    }

    /// The position of the next data or hole.
    ///
    /// - Throws: `.noData` if there is none, or `offset` isn't before the end.
    public func seek(_ node: NodeID, from offset: UInt64, _ target: SeekTarget) throws(FileSystemError) -> UInt64 {
        try inspect { (state) throws(Fault) in
            try state.requireFile(node)
            return try state.seek(node, from: offset, target)
        }
    }
}

extension EngineState {
    /// Makes sure that a node is a regular file.
    mutating func requireFile(_ id: NodeID) throws(Fault) {
        let buffer = try nodeBuffer(id)
        switch NodeBlock.kind(buffer.bytes) {
        case .file: return
        case .directory: throw .failed(.isDirectory)
        default: throw .failed(.invalidArgument("not a regular file"))
        }
    }

    /// The next data or hole of a file.
    mutating func seek(_ id: NodeID, from offset: UInt64, _ target: SeekTarget) throws(Fault) -> UInt64 {
        let slot = try node(id)
        let buffer = blocks.buffer(slot)
        let size = NodeBlock.size(buffer.bytes)
        guard offset < size else { throw .failed(.noData) }
        if NodeBlock.isInline(buffer.bytes) {
            let stored = min(size, UInt64(Limits.inlineCapacity))
            switch target {
            case .data:
                guard offset < stored else { throw .failed(.noData) }
                return offset
            case .hole:
                return offset < stored ? stored : offset
            }
        }
        let layout = try layout(slot)
        let count = layout.recordCount(size: size)
        var record = layout.record(at: offset)
        while record < count {
            let (pointer, next) = try pointerAndSpan(slot, record)
            let isData = !pointer.isNull
            if isData == (target == .data) { return max(offset, layout.start(of: record)) }
            record = next
        }
        if target == .hole { return size }
        throw .failed(.noData)
    }

    /// A record's pointer, and the next record that must be looked at: beyond a missing list if it is a hole.
    mutating func pointerAndSpan(_ nodeSlot: Slot, _ record: UInt64) throws(Fault) -> (BlockPointer, UInt64) {
        guard let path = RecordLayout.path(to: record) else { throw .failed(.fileTooLarge) }
        let owner = blocks.slots[nodeSlot].owner
        let first = RecordLayout.firstRecord(ofSlot: path.slot)
        var pointer = NodeBlock.pointer(blocks.buffer(nodeSlot).bytes, path.slot)
        for list in 0..<path.depth {
            if pointer.isNull {
                let span = RecordLayout.recordsPerPointer(depth: path.depth &- list)
                return (.null, first &+ ((record &- first) / span &+ 1) &* span)
            }
            let slot = try block(pointer, .list(levels: path.depth &- list), owner: owner)
            pointer = ListBlock.pointer(blocks.buffer(slot).bytes, path.index(inList: list))
        }
        return (pointer, record &+ 1)
    }
}
