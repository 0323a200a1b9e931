// Commits. At most one sealed commit is on its way to the disk; the next is sealed when that one is durable.
//
//   - whoever calls `commit` writes the sealed one if nobody does, and seals the next: several callers share one commit
//   - an operation that finds too much dirty seals before it begins, and the workers write: the place in the sequence of
//     operations depends on the operations alone
//   - what fails to be written stays as it is and is written again by the next commit

import BlockDevice
import DiskFormat
import Platform

extension FileSystem {
    private enum Step {
        case done(UInt64)
        case write(SealedCommit)
        case seal
    }

    /// Makes everything that was changed before durable: new blocks, flush, header, flush.
    ///
    /// - Returns: the generation that contains it.
    /// - Throws: `.device` when the disk fails; nothing is lost, and the next commit tries again.
    @discardableResult
    public func commit() throws(FileSystemError) -> Generation {
        let wanted = state.withLock { $0.changes }
        return Generation(try commit(changes: wanted, squash: false))
    }

    func commit(changes wanted: UInt64, squash: Bool) throws(FileSystemError) -> UInt64 {
        while true {
            let step = try state.wait(on: changed) { (state) throws(FileSystemError) -> Step? in
                if state.durableChanges >= wanted { return .done(state.durableGeneration) }
                if state.isWriting || state.isSealing || state.isReleasing { return nil }
                if let sealed = state.sealed {
                    state.isWriting = true
                    return .write(sealed)
                }
                guard !state.isClosed else { throw .closed }
                state.isSealing = true
                return .seal
            }
            switch step {
            case .done(let generation): return generation
            case .write(let commit): try write(commit)
            case .seal: try seal(thenWriting: false, squash: squash)
            }
        }
    }

    /// Puts a commit together. `isSealing` is set.
    func seal(thenWriting: Bool, squash: Bool) throws(FileSystemError) {
        var records = state.withLock { state in
            state.deleteDeparted()
            return state.gatherRecords()
        }
        prepare(&records)
        let result = state.withLock { state -> Result<SealedCommit, Fault> in
            defer { state.isSealing = false }
            do throws(Fault) {
                let commit = try state.seal(
                    records, template: header, options: options, workers: workers, pool: pool, squash: squash)
                state.sealed = commit
                state.isWriting = thenWriting
                return .success(commit)
            } catch {
                return .failure(error)
            }
        }
        changed.broadcast()
        if case .failure(let fault) = result {
            if case .failed(let error) = fault { throw error }
            throw .noSpace
        }
    }

    /// Makes the records ready that nobody has prepared yet.
    private func prepare(_ records: inout [SealedRecord]) {
        let open = records.indices.filter { records[$0].prepared == nil }
        guard !open.isEmpty else { return }
        let work = open.map { (buffer: records[$0].buffer, level: records[$0].level) }
        let results = Locked([PreparedRecord?](repeating: nil, count: open.count))
        let pool = pool
        workers.parallelFor(work.count) { index in
            let prepared = RecordPreparation.prepare(work[index].buffer, level: work[index].level, pool: pool)
            results.withLock { $0[index] = prepared }
        }
        let prepared = results.withLock { $0 }
        for (place, index) in open.enumerated() { records[index].prepared = prepared[place] }
    }

    /// Writes the sealed commit. `isWriting` is set.
    func write(_ commit: SealedCommit) throws(FileSystemError) {
        options.beforeDurable?(commit.sequence)
        do {
            try CommitWriter(source: source).write(commit)
        } catch {
            state.withLock { $0.isWriting = false }
            changed.broadcast()
            throw error
        }
        state.withLock { state in
            state.space.endCommit(commit.generation)
            // The ring holds 256 headers: older generations can't be opened any more.
            if commit.generation >= Limits.ringBlocks {
                state.space.forgetGenerations(before: commit.generation - Limits.ringBlocks + 1)
            }
            state.durableGeneration = commit.generation
            state.durableSequence = commit.sequence
            state.durableChanges = commit.changes
            state.sealed = nil
            state.isWriting = false
        }
        changed.broadcast()
    }

    /// Seals when too much is dirty, and lets the workers write.
    func sealIfNeeded() {
        let isMine = state.wait(on: changed) { state -> Bool? in
            guard state.dirtyBytes > options.dirtyBytes, !state.isClosed else { return false }
            if state.isSealing || state.isWriting || state.isReleasing { return nil }
            // The last one failed: it is tried again by the next operation that must wait for it.
            guard state.sealed == nil else { return false }
            state.isSealing = true
            return true
        }
        guard isMine, (try? seal(thenWriting: true, squash: false)) != nil else { return }
        workers.submit { [self] in
            guard let commit = state.withLock({ $0.sealed }) else { return }
            try? write(commit)
        }
    }

    /// Commits and closes; no operation is possible afterwards. The allocation log is rewritten if that makes it shorter.
    ///
    /// - Throws: `.device` when the disk fails; the file system stays open then.
    public func close() throws(FileSystemError) {
        guard !isReadOnly else {
            state.withLock { $0.isClosed = true }
            return
        }
        if state.withLock({ $0.isClosed }) { return }
        let (wanted, logBlocks) = state.withLock { ($0.changes, $0.log.blocks.count) }
        _ = try commit(changes: wanted, squash: logBlocks > 1)
        // What was changed may have made the log longer; a change of its own is worth it only then.
        let isLong = state.withLock { state -> Bool in
            guard state.log.blocks.count > 1 else { return false }
            state.changes &+= 1
            return true
        }
        if isLong {
            let wanted = state.withLock { $0.changes }
            _ = try commit(changes: wanted, squash: true)
        }
        state.withLock { $0.isClosed = true }
    }
}

/// Writes a commit to the device.
struct CommitWriter {
    /// Where it goes.
    let source: BlockSource
    /// How many bytes are written at once, about.
    private static let maximumRequest = 4 << 20

    /// New blocks, flush, header, flush.
    func write(_ commit: SealedCommit) throws(FileSystemError) {
        var header = commit.header
        let buffer = AlignedBuffer(byteCount: Limits.blockSize)
        do {
            try header.seal(with: source.cipher)
        } catch {
            throw .cipher("\(error)")
        }
        var bytes = buffer.mutableBytes
        header.encode(into: &bytes)
        do throws(BlockDeviceError) {
            let rest = try writeBlocks(commit.blocks)
            let block = Generation(commit.generation).ringBlock
            try source.device.write(rest, thenAfterFlush: source.start &+ block &<< 12, BufferSlice(buffer))
        } catch {
            throw .device(error)
        }
    }

    /// Writes blocks but for the last, which are left for the header's request. Neighbours go into one request.
    private func writeBlocks(_ blocks: [SealedCommit.Block]) throws(BlockDeviceError) -> [BlockExtent] {
        var extents: [BlockExtent] = []
        var current = BlockExtent(source.start, [])
        var end: UInt64 = 0
        var byteCount: UInt64 = 0
        for block in blocks {
            let offset = block.number &<< 12
            if offset != end || byteCount >= UInt64(Self.maximumRequest) {
                if !current.buffers.isEmpty { extents.append(current) }
                // What is encrypted takes memory until it is written.
                if byteCount >= UInt64(Self.maximumRequest) {
                    try source.device.write(extents)
                    extents.removeAll(keepingCapacity: true)
                    byteCount = 0
                }
                current = BlockExtent(source.start &+ offset, [])
                end = offset
            }
            current.buffers.append(try stored(block))
            end &+= UInt64(block.slice.byteCount)
            byteCount &+= UInt64(block.slice.byteCount)
        }
        if !current.buffers.isEmpty { extents.append(current) }
        return extents
    }

    /// The bytes as they are stored.
    private func stored(_ block: SealedCommit.Block) throws(BlockDeviceError) -> BufferSlice {
        guard let cipher = source.cipher else { return block.slice }
        let buffer = AlignedBuffer(uninitializedByteCount: block.slice.byteCount)
        var bytes = buffer.mutableBytes
        do {
            try cipher.encrypt(block.slice.bytes, into: &bytes, firstBlock: block.number)
        } catch {
            throw .io(.ioError, offset: block.number &<< 12, length: block.slice.byteCount, operation: .write)
        }
        return BufferSlice(buffer)
    }
}
