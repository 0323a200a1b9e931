import DiskFormat
import Platform

extension FileSystem {
    /// Reads what an operation misses and takes it over; several blocks by several threads.
    func load(_ loads: [Load]) throws(FileSystemError) {
        if loads.count == 1 {
            try load(loads[0])
        } else {
            try workers.parallelFor(loads.count) { (index) throws(FileSystemError) in try self.load(loads[index]) }
        }
    }

    private func load(_ load: Load) throws(FileSystemError) {
        let number = load.pointer.address.number
        let (waiting, epoch) = state.withLock { ($0.sealed?.plainBlock(number), $0.epoch) }
        do throws(FileSystemError) {
            let stored: AlignedBuffer
            if let waiting {
                // Part of a commit that is on its way to the disk.
                stored = waiting
            } else {
                stored = try source.read(load.pointer, as: load.kind.map(Self.structure(of:)) ?? .record)
            }
            if let kind = load.kind {
                try check(stored, kind, number)
                state.withLock { $0.blocks.insert(load.pointer, kind: kind, owner: load.owner, buffer: stored) }
            } else {
                let plain = try source.content(of: stored, load.pointer.address)
                let buffer = plain === waiting ? copy(plain) : plain
                state.withLock { $0.take(load, buffer) }
            }
        } catch {
            // The block may have been given up and used again since the operation looked at its pointer; the
            // operation finds out when it runs again.
            if case .corrupt = error, state.withLock({ $0.epoch != epoch }) { return }
            throw error
        }
    }

    private func check(_ buffer: AlignedBuffer, _ kind: BlockKind, _ number: UInt64) throws(FileSystemError) {
        do {
            try BlockCheck.check(buffer.bytes, kind, blockCount: source.blockCount)
        } catch {
            throw .corrupt(error, block: number)
        }
    }

    private func copy(_ buffer: AlignedBuffer) -> AlignedBuffer {
        let copy = pool.take(level: RecordCache.level(of: buffer.byteCount))
        copy.copyBytes(from: buffer.bytes, at: 0)
        return copy
    }

    private static func structure(of kind: BlockKind) -> FormatError.Structure {
        if kind.isTree { return .tree }
        if kind.isList { return .list }
        if kind.isHashTree { return .hashTree }
        return kind == .node ? .node : .directoryList
    }
}
