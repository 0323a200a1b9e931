import DiskFormat
import Platform
import Synchronization

extension FileSystem {
    /// How many bytes one step of a write has at most: each step is atomic.
    private static let stepBytes = 4 << 20

    /// Writes to a regular file. Up to 4 MiB are atomic; what is longer is written in steps of that size.
    ///
    /// - Parameter offset: in bytes; beyond the end, a hole comes into being.
    /// - Returns: how many bytes were written: all, unless space ran out after a step.
    /// - Throws: `.fileTooLarge`, `.noSpace`, `.isDirectory`, `.invalidArgument` for other nodes.
    @discardableResult
    public func write(
        _ node: NodeID, at offset: UInt64, _ bytes: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> Int {
        var done = 0
        while done < bytes.byteCount {
            let count = min(bytes.byteCount - done, Self.stepBytes)
            let (position, overflow) = offset.addingReportingOverflow(UInt64(done))
            if overflow { throw .fileTooLarge }
            do {
                try writeStep(node, at: position, bytes.extracting(done..<done + count), &context)
            } catch {
                if done > 0, error == .noSpace || error == .fileTooLarge { return done }
                throw error
            }
            done += count
        }
        return done
    }

    /// Writes at the end of a file, wherever it is by then.
    ///
    /// - Returns: where the bytes were written, and how many.
    public func append(
        _ node: NodeID, _ bytes: RawSpan, _ context: inout RequestContext
    ) throws(FileSystemError) -> (offset: UInt64, count: Int) {
        while true {
            let attributes = try attributes(node)
            let count = min(bytes.byteCount, Self.stepBytes)
            // Somebody else may have been faster: then the size is another one, and this is tried again.
            if try writeStep(
                node, at: attributes.size, bytes.extracting(0..<count), &context, onlyAtEnd: true)
            {
                guard count < bytes.byteCount else { return (attributes.size, count) }
                let rest = try write(
                    node, at: attributes.size + UInt64(count), bytes.extracting(count..<bytes.byteCount), &context)
                return (attributes.size, count + rest)
            }
        }
    }

    @discardableResult
    private func writeStep(
        _ node: NodeID, at offset: UInt64, _ bytes: RawSpan, _ context: inout RequestContext,
        onlyAtEnd: Bool = false
    ) throws(FileSystemError) -> Bool {
        while true {
            let layout = try inspect { (state) throws(Fault) in
                try state.requireFile(node)
                let slot = try state.node(node)
                return try state.layout(slot)
            }
            let (end, overflow) = offset.addingReportingOverflow(UInt64(bytes.byteCount))
            guard !overflow, end <= layout.maximumSize else { throw .fileTooLarge }
            let pieces = cut(bytes, at: offset, layout)
            let outcome: WriteOutcome
            do throws(FileSystemError) {
                outcome = try attempt(node, at: offset, bytes, pieces, layout, onlyAtEnd: onlyAtEnd, &context)
            } catch {
                // No chunk is left for a record of this size, but there may be for smaller ones.
                guard error == .noSpace, try lowerRecordLevel(node, &context) else { throw error }
                continue
            }
            switch outcome {
            case .moved: return false
            case .otherLevel: continue
            case .written(let ready, let level):
                prepareEarly(ready)
                if let level { try adoptRecordLevel(node, level, &context) }
                return true
            }
        }
    }

    private func attempt(
        _ node: NodeID, at offset: UInt64, _ bytes: RawSpan, _ pieces: [WritePiece], _ layout: RecordLayout,
        onlyAtEnd: Bool, _ context: inout RequestContext
    ) throws(FileSystemError) -> WriteOutcome {
        try change(&context) { (state, context) throws(Fault) -> WriteOutcome in
            if onlyAtEnd {
                let buffer = try state.nodeBuffer(node)
                if NodeBlock.size(buffer.bytes) != offset { return .moved }
            }
            let buffer = try state.nodeBuffer(node)
            let size = NodeBlock.size(buffer.bytes)
            guard try state.write(node, at: offset, bytes, pieces, level: layout.level, &context) else {
                return .otherLevel
            }
            let level = state.noteWrite(node, at: offset, count: bytes.byteCount, size: size, layout)
            return .written(state.recordsToPrepare(node, pieces, layout), level)
        }
    }

    private enum WriteOutcome {
        case written([SealedRecord], UInt32?)
        case moved
        case otherLevel
    }

    /// Cuts a request at the borders of records. Payload of whole records is copied here, before any lock is taken.
    private func cut(_ bytes: RawSpan, at offset: UInt64, _ layout: RecordLayout) -> [WritePiece] {
        var pieces: [WritePiece] = []
        var source = 0
        while source < bytes.byteCount {
            let position = offset &+ UInt64(source)
            let start = layout.offset(of: position)
            let count = min(layout.recordSize - start, bytes.byteCount - source)
            var piece = WritePiece(record: layout.record(at: position), start: start, count: count, source: source)
            if start == 0, count == layout.recordSize {
                let buffer = pool.take(level: layout.level)
                buffer.copyBytes(from: bytes.extracting(source..<source + count), at: 0)
                piece.buffer = buffer
            }
            pieces.append(piece)
            source += count
        }
        return pieces
    }

    /// Compresses and hashes records that are complete, while others go on: the commit finds it done. When the workers have
    /// enough to do, whoever writes helps.
    private func prepareEarly(_ ready: [SealedRecord]) {
        let limit = workers.threadCount * 4
        for record in ready {
            guard preparationBacklog.load(ordering: .relaxed) < limit else {
                prepare(record)
                continue
            }
            preparationBacklog.add(1, ordering: .relaxed)
            workers.submit { [self] in
                prepare(record)
                preparationBacklog.subtract(1, ordering: .relaxed)
            }
        }
    }

    private func prepare(_ record: SealedRecord) {
        let prepared = RecordPreparation.prepare(record.buffer, level: record.level, pool: pool)
        state.withLock { $0.records.setPrepared(record.slot, version: record.version, prepared) }
    }

    /// Reserves, punches or zeroes a range of a regular file, as fallocate(2) does.
    ///
    /// - Throws: `.invalidArgument` for a length of 0, `.fileTooLarge`, `.noSpace`.
    public func allocate(
        _ node: NodeID, mode: AllocateMode, at offset: UInt64, length: UInt64, _ context: inout RequestContext
    ) throws(FileSystemError) {
        let (end, overflow) = offset.addingReportingOverflow(length)
        guard length > 0 else { throw .invalidArgument("a length of 0") }
        guard !overflow else { throw .fileTooLarge }
        switch mode {
        case .reserve(let keepsSize):
            let size = try attributes(node).size
            let needed = end > size ? (end - max(offset, size)) >> 12 : 0
            if needed > statistics().availableBlocks { throw .noSpace }
            try inspect { (state) throws(Fault) in
                try state.requireFile(node)
                let slot = try state.node(node)
                guard end <= (try state.layout(slot)).maximumSize else { throw .failed(.fileTooLarge) }
            }
            if !keepsSize, end > size { try setAttributes(node, AttributeChanges(size: end), &context) }
        case .punchHole: try punch(node, offset..<end, newSize: nil, &context)
        case .zeroRange(let keepsSize): try punch(node, offset..<end, newSize: keepsSize ? nil : end, &context)
        }
    }

    private func punch(
        _ node: NodeID, _ range: Range<UInt64>, newSize: UInt64?, _ context: inout RequestContext
    ) throws(FileSystemError) {
        var isDone = false
        while !isDone {
            isDone = try change(&context) { (state, context) throws(Fault) in
                try state.punch(node, range, newSize: newSize, &context)
            }
        }
    }
}

extension EngineState {
    /// The records that a write completed: nobody is going to change them soon.
    func recordsToPrepare(_ id: NodeID, _ pieces: [WritePiece], _ layout: RecordLayout) -> [SealedRecord] {
        var result: [SealedRecord] = []
        for piece in pieces where piece.start &+ piece.count == layout.recordSize && layout.level > 0 {
            guard let slot = records.peek(RecordKey(index: piece.record, node: id.rawValue)) else { continue }
            let record = records.slots[slot]
            guard record.isDirty, record.prepared == nil else { continue }
            result.append(
                SealedRecord(
                    slot: slot, key: record.key, version: record.version, buffer: records.buffer(slot),
                    level: Int(record.reservedLevel), prepared: nil))
        }
        return result
    }
}
