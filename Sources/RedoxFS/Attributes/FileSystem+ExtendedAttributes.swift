import DiskFormat
import Platform

/// Whether an extended attribute may or must exist already, as setxattr(2) has it.
public enum AttributeSetMode: Hashable, Sendable {
    /// Set it in any case.
    case any
    /// Fail if it exists.
    case create
    /// Fail if it doesn't exist.
    case replace
}

extension FileSystem {
    /// The value of an extended attribute. POSIX ACLs are attributes as the kernel stores them: opaque here.
    ///
    /// - Throws: `.noAttribute`.
    public func extendedAttribute(_ node: NodeID, _ name: [UInt8]) throws(FileSystemError) -> [UInt8] {
        let value = try inspect { (state) throws(Fault) -> AttributeValue in
            if name == RecordSizeAttribute.name, let level = try state.fileRecordLevel(node) {
                return .inline(RecordSizeAttribute.value(level))
            }
            let set = try state.attributeSet(node)
            guard let index = set.index(of: name.rawBytes) else { throw .failed(.noAttribute) }
            return set.entries[index].value
        }
        switch value {
        case .inline(let bytes): return bytes
        case .fresh(let buffer, let length): return buffer.bytes(0..<length).copyToArray()
        case .stored(let pointer, let length):
            let buffer = try readBlock(pointer)
            guard length <= buffer.byteCount else {
                throw .corrupt(FormatError(.attributeTable, .length), block: pointer.address.number)
            }
            return buffer.bytes(0..<length).copyToArray()
        }
    }

    /// The names of all extended attributes, in the order in which they were set.
    public func listExtendedAttributes(_ node: NodeID) throws(FileSystemError) -> [[UInt8]] {
        try inspect { (state) throws(Fault) in try state.attributeSet(node).entries.map(\.name) }
    }

    /// Sets an extended attribute. `user.saltbridge.record_size` on a directory is the size of the records of files created
    /// below it; on a file that has none yet it is that file's.
    ///
    /// - Parameters:
    ///   - name: 1 to 255 bytes.
    ///   - value: up to 64 KiB.
    /// - Throws: `.attributeExists`, `.noAttribute`, `.attributeTooLarge`, `.invalidArgument`, `.noSpace`.
    public func setExtendedAttribute(
        _ node: NodeID, _ name: [UInt8], _ value: RawSpan, mode: AttributeSetMode = .any,
        _ context: inout RequestContext
    ) throws(FileSystemError) {
        guard !name.isEmpty, name.count <= AttributeTable.maximumNameLength, !name.contains(0) else {
            throw .invalidArgument("the attribute's name must have 1 to 255 bytes")
        }
        guard value.byteCount <= AttributeTable.maximumValueLength else { throw .attributeTooLarge }
        if name == RecordSizeAttribute.name {
            guard let level = RecordSizeAttribute.level(value) else {
                throw .invalidArgument("a record's size is 4096, 8192, 16384, 32768, 65536 or 131072")
            }
            let isFile = try change(&context) { (state, context) throws(Fault) in
                try state.setFileRecordLevel(node, level, &context)
            }
            if isFile { return }
        }
        let stored: AttributeValue
        if value.byteCount <= AttributeValue.maximumInline {
            stored = .inline(value.copyToArray())
        } else {
            let level = AttributeSet.level(for: value.byteCount)
            let buffer = AlignedBuffer(byteCount: Limits.blockSize << level)
            buffer.copyBytes(from: value, at: 0)
            stored = .fresh(buffer, length: value.byteCount)
        }
        try change(&context) { (state, context) throws(Fault) in
            try state.setAttribute(
                node, name, stored, mustExist: mode == .replace, mustNotExist: mode == .create, &context)
        }
    }

    /// Removes an extended attribute. Throws `.noAttribute` if there is none of this name.
    public func removeExtendedAttribute(
        _ node: NodeID, _ name: [UInt8], _ context: inout RequestContext
    ) throws(FileSystemError) {
        try change(&context) { (state, context) throws(Fault) in
            try state.setAttribute(node, name, nil, mustExist: true, mustNotExist: false, &context)
        }
    }

    /// Reads a node's attribute tables and takes them over.
    func loadAttributes(_ node: NodeID, _ head: BlockPointer) throws(FileSystemError) {
        var set = AttributeSet()
        var pointer = head
        while !pointer.isNull {
            let number = pointer.address.number
            guard !set.tables.contains(pointer.address), set.tables.count < 4096 else {
                throw .corrupt(FormatError(.attributeTable, .order), block: number)
            }
            let epoch = state.withLock { $0.epoch }
            do throws(FileSystemError) {
                let buffer = try readBlock(pointer)
                let bytes = buffer.bytes(0..<min(pointer.address.byteCount, buffer.byteCount))
                do throws(FormatError) {
                    try Self.decode(bytes, node, source.blockCount, into: &set)
                } catch {
                    throw FileSystemError.corrupt(error, block: number)
                }
                set.tables.append(pointer.address)
                pointer = AttributeTable.next(bytes)
            } catch {
                // The node may have others by now: the operation finds out.
                if case .corrupt = error, state.withLock({ $0.epoch != epoch }) { return }
                throw error
            }
        }
        let loaded = set
        state.withLock { $0.take(node, head, loaded) }
    }

    private static func decode(
        _ table: RawSpan, _ node: NodeID, _ blockCount: UInt64, into set: inout AttributeSet
    ) throws(FormatError) {
        try AttributeTable.check(table)
        guard AttributeTable.owner(table) == node else {
            throw FormatError(.attributeTable, .value, at: 12, value: UInt64(AttributeTable.owner(table).rawValue))
        }
        let next = AttributeTable.next(table)
        guard next.isNull || next.address.isInside(blocks: blockCount),
            next.address.level <= AttributeTable.maximumLevel
        else { throw FormatError(.attributeTable, .outOfRange, at: 16, value: next.address.rawValue) }
        var offset = AttributeTable.headerSize
        while let entry = try AttributeTable.entry(table, at: offset) {
            offset = entry.end
            let name = table.extracting(entry.nameRange).copyToArray()
            if let pointer = entry.valuePointer {
                guard pointer.address.isInside(blocks: blockCount),
                    pointer.address.level <= AttributeTable.maximumValueLevel, !pointer.address.isCompressed,
                    entry.valueLength <= pointer.address.byteCount
                else {
                    throw FormatError(.attributeTable, .outOfRange, at: entry.offset, value: pointer.address.rawValue)
                }
                set.entries.append(
                    AttributeEntry(name: name, value: .stored(pointer, length: entry.valueLength)))
            } else {
                let value = table.extracting(entry.valueRange).copyToArray()
                set.entries.append(AttributeEntry(name: name, value: .inline(value)))
            }
        }
    }

    /// The plain bytes of a block that isn't kept in memory, on the disk or on its way there.
    private func readBlock(_ pointer: BlockPointer) throws(FileSystemError) -> AlignedBuffer {
        if let waiting = state.withLock({ $0.sealed?.plainBlock(pointer.address.number) }) { return waiting }
        return try source.read(pointer, as: .attributeTable)
    }
}

extension EngineState {
    /// The record level of a regular file; nil for other nodes.
    mutating func fileRecordLevel(_ id: NodeID) throws(Fault) -> UInt32? {
        let buffer = try nodeBuffer(id)
        return NodeBlock.kind(buffer.bytes) == .file ? NodeBlock.recordLevel(buffer.bytes) : nil
    }

    /// Sets the record level of a regular file that has no records yet; false for other nodes.
    mutating func setFileRecordLevel(
        _ id: NodeID, _ level: UInt32, _ context: inout RequestContext
    ) throws(Fault) -> Bool {
        guard let old = try fileRecordLevel(id) else { return false }
        if old == level { return true }
        let slot = try touchNode(id)
        guard NodeBlock.isInline(blocks.buffer(slot).bytes) else {
            throw .failed(.invalidArgument("the file has records already"))
        }
        try secure()
        applyPlan()
        blocks.change(slot) { NodeBlock.setRecordLevel(&$0, level) }
        setTimes(slot, change: context.time)
        noteChange(&context)
        return true
    }
}
